"""Services under one load in turns: processor time and requests a second, and their ratios.

`python bench/turns.py old=/path/to/python new` has the Mini KMS of another Python beside this one,
`python bench/turns.py memory openbao` two contenders of contenders.py, and `python bench/turns.py
role token` a cached JWT beside a token, with an audit log. Needs wrk. On a busy machine
the least processor time of many rounds distinguishes two services; a single rate does not.
"""

import asyncio
import contextlib
import re
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from contender import Contender
from contenders import CONTENDERS
from mini_kms import MiniKms
from roles import MiniKmsWithRole
from rows import Row, contenders_of_rows, requests_of
from server import Measurement, Server, started

HERE: Final = "new"

# Services that one kind of caller calls.
CALLERS: Final = {
    "token": MiniKms("a token", audit=True),
    "role": MiniKmsWithRole("a JWT with a role", audit=True),
}


@click.command(help=__doc__)
@click.argument("services", nargs=-1, required=True)
@click.option("--rounds", default=16, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1), help="Of a round.")
@click.option("--rows", default="", help="Only rows that this expression is found in.")
@click.option("--connections", default="8", show_default=True)
def main(services: tuple[str, ...], rounds: int, seconds: int, rows: str, connections: str) -> None:
    """Measure, and print a line for each row."""
    contenders = dict(contender(text) for text in services)
    found = {
        replace(row, connections=int(number)): None
        for number in connections.split(",")
        for row in contenders_of_rows()
        if not row.once
    }
    chosen = [row for row in found if re.search(rows, str(row))]
    asyncio.run(measure(contenders, chosen, rounds, seconds))


def contender(text: str) -> tuple[str, Contender]:
    """The contender that an argument names, or Mini KMS in memory by another Python."""
    name, _, python = text.partition("=")
    if python or name == HERE:
        return name, replace(MiniKms(name), python=python or sys.executable)
    return name, {**CONTENDERS, **CALLERS}[name]


async def measure(
    contenders: dict[str, Contender], rows: list[Row], rounds: int, seconds: int
) -> None:
    """Load one after the other, in alternating order."""
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            servers: dict[str, Server] = {}
            for name, each in contenders.items():
                path = Path(folder, name)
                path.mkdir()
                await each.prepare(path)
                servers[name] = await stack.enter_async_context(started(each, path))
            for row in rows:
                able = {
                    name: server
                    for name, server in servers.items()
                    if server.contender.can(row.operation, row.alg)
                }
                requests = {name: await requests_of(server, row) for name, server in able.items()}
                loads: dict[str, list[Measurement]] = {name: [] for name in able}
                for number in range(rounds + 1):
                    for name in sorted(able, reverse=bool(number % 2)):
                        load = await able[name].load(requests[name], row.connections, seconds)
                        if number:  # the first round warms up
                            loads[name].append(load)
                print(line(row, loads), flush=True)


def line(row: Row, loads: dict[str, list[Measurement]]) -> str:
    """The figures of a row; the ratios are the last service's gain on each other."""
    cpu = {name: min(load.cpu for load in found) for name, found in loads.items()}
    rate = {name: statistics.median(load.rate for load in found) for name, found in loads.items()}
    *others, last = loads
    cells = [f"{name} {cpu[name]:.1f} µs {rate[name]:,.0f}/s" for name in loads]
    ratios = [
        f"{last}/{name}: by processor {cpu[name] / cpu[last]:.3f}, by rate "
        f"{rate[last] / rate[name]:.3f}"
        for name in others
    ]
    return f"{row!s:40} {', '.join(cells)}; {'; '.join(ratios)}"


if __name__ == "__main__":
    main()
