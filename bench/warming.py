"""How long `--warm` holds up the event loop, in milliseconds of processor time.

Run it with the Python that Mini KMS is installed in: `python bench/warming.py`. It fills an SQLite
file with keys, serves it in this process, and measures each turn of the loop until all keys are
read. Other work on the machine does not lengthen a turn's processor time.
"""

import asyncio
import logging
import tempfile
import time
from pathlib import Path

import click
import uvloop
from stored import create, fill

from minikms.config import Config
from minikms.keys import warming
from minikms.maintenance.write import StoreWriter
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.serve.garbage import spare
from minikms.store.keys.key_store import KeyStore
from minikms.web.app import create_runner


class _End(logging.Handler):
    """Waits for the line of the log that says that all keys are read."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "were read ahead" in text:
            self.text = text


@click.command(help=__doc__)
@click.option("--keys", default=20_000, show_default=True, type=click.IntRange(1))
def main(keys: int) -> None:
    """Measure, and print the turns."""
    with tempfile.TemporaryDirectory() as folder:
        text, turns = uvloop.run(measure(Path(folder), keys))
    turns.sort()
    click.echo(text)
    click.echo(f"all turns: {sum(turns):.0f} ms")
    click.echo("the longest: " + ", ".join(f"{turn:.1f}" for turn in turns[:-10:-1]) + " ms")
    for limit in (1, 2, 4, 8):
        click.echo(f"over {limit} ms: {sum(turn > limit for turn in turns)}")


async def measure(folder: Path, keys: int) -> tuple[str, list[float]]:
    """Return the last line of the log, and milliseconds of each turn."""
    url, key_file = f"sqlite://{folder}/keys.db", f"{folder}/key"
    location, key = await create(url, key_file)
    async with KeyStore.open(location, key) as store:
        await fill(StoreWriter(store.database), DEFAULT_PROFILE, 0, keys)
    end, turns = _End(), []
    warming.LOGGER.setLevel(logging.INFO)
    warming.LOGGER.addHandler(end)
    config = Config(store=url, store_key_file=key_file, auth="none", warm=True)
    runner = create_runner(create_service(config))
    spare()  # as after the start of a service
    await runner.setup()
    then = time.thread_time()
    while not end.text:
        await asyncio.sleep(0)
        now = time.thread_time()
        turns.append((now - then) * 1000)
        then = now
    await runner.cleanup()
    return end.text, turns


if __name__ == "__main__":
    main()
