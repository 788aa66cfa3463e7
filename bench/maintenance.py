"""Time and memory of `minikms store verify`, `copy` and `upgrade`.

Run it with the Python that Mini KMS is installed in: `python bench/maintenance.py`. With
`--beside CHECKOUT` the code of another checkout is measured in turn, so that the ratio holds on a
busy machine. The store is an SQLite file of Ed25519 keys with an alias each. `upgrade` has a store
of layout 1, and runs with this checkout alone.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import click
from stored import create, fill

from minikms.maintenance.write import StoreWriter
from minikms.records import DEFAULT_PROFILE
from minikms.store.calls import LONG_TIMEOUT
from minikms.store.database import Database
from minikms.store.layout import STORE
from minikms.store.sessions import Transaction

HERE: Final = Path(__file__).parents[1]


class Run(NamedTuple):
    """One run of a command: seconds, seconds of processor time, and the most MiB in memory."""

    seconds: float
    cpu: float
    memory: float


def measured(checkout: Path, *arguments: str) -> Run:
    """Run a command with the code of a checkout, and measure it."""
    command = [sys.executable, "-m", "minikms", "store", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    begin = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - the options of this script
        command, env=environment, cwd=checkout, stdout=subprocess.DEVNULL
    ) as run:
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0, f"store {arguments[0]} ended with {run.returncode}"
    seconds = time.perf_counter() - begin
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


async def filled(url: str, key_file: str, keys: int, *, older: bool = False) -> None:
    """Make a store with so many keys, with `older` one of layout 1."""
    location, key = await create(url, key_file)

    async def set_layout(session: Transaction) -> None:
        await session.replace(STORE, "layout", "1")  # as 0.1.0 has it

    async with Database.open(location, key, timeout=LONG_TIMEOUT) as database:
        writer = StoreWriter(database)
        await fill(writer, DEFAULT_PROFILE, 0, keys, aliases=True, older=older)
        if older:
            await database.run_own(set_layout, write=True)


@click.command(help=__doc__)
@click.option("--keys", default=20_000, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1))
@click.option("--beside", type=click.Path(exists=True, path_type=Path), help="Another checkout.")
def main(keys: int, rounds: int, beside: Path | None) -> None:
    """Fill a store, run the commands in turn, and print the medians."""
    checkouts = [HERE] if beside is None else [beside.resolve(), HERE]
    runs: dict[tuple[str, Path], list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        url, key_file = f"sqlite://{folder}/keys.db", f"{folder}/store.key"
        asyncio.run(filled(url, key_file, keys))
        options = ("--store", url, "--store-key-file", key_file)
        old = f"{folder}/old.db", f"{folder}/old.key"
        asyncio.run(filled(f"sqlite://{old[0]}", old[1], keys, older=True))
        for number in range(rounds):
            for checkout in checkouts:
                target = f"sqlite://{folder}/copy-{number}-{checkouts.index(checkout)}.db"
                for verb, *more in (("verify",), ("copy", "--to", target)):
                    run = measured(checkout, verb, *options, *more)
                    runs.setdefault((verb, checkout), []).append(run)
            upgraded = shutil.copy(old[0], f"{folder}/upgraded-{number}.db")
            place = ("--store", f"sqlite://{upgraded}", "--store-key-file", old[1])
            runs.setdefault(("upgrade", HERE), []).append(measured(HERE, "upgrade", *place))
    print(f"{keys:,} keys, medians of {rounds}: seconds, of a processor, MiB")
    for (verb, checkout), found in sorted(runs.items()):
        seconds, cpu, memory = map(statistics.median, zip(*found, strict=True))
        print(f"{verb:8} {seconds:8.1f} {cpu:8.1f} {memory:8.0f}  {checkout}")


if __name__ == "__main__":
    main()
