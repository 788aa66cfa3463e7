"""The processor time of calls to a store, by thread, and in the kernel.

`python bench/where.py` loads Mini KMS with 8 connections, and prints a line for each call: of the
round with the least processor time, in microseconds of a call. Needs wrk and Linux.
"""

import asyncio
import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

import click
from contender import Contender, Request
from contenders import contenders
from keys_in_use import COLD
from report import CONNECTIONS
from rows import Row, requests_of
from server import Measurement, Order, Server, started
from service import postgres_databases

KEYS: Final = 10_000  # each used once after a start
CALLS: Final = (
    ("sqlite-2", Row("sign", "ed25519", CONNECTIONS)),
    ("sqlite-2", Row("sign", "ed25519", CONNECTIONS, KEYS, COLD)),
    ("postgres-2", Row("sign", "ed25519", CONNECTIONS, KEYS, COLD)),
    *(("sqlite", Row(name, "ed25519", CONNECTIONS)) for name in ("generate", "rotate", "delete")),
)
# The beginning of a thread's name in Linux; the first thread of a process has the event loop.
THREADS: Final = {"tokio": "Askar", "sqlx-sqlite": "SQLite"}
LOOP: Final = "event loop"
OTHER: Final = "other"
KERNEL: Final = "of it in the kernel"
SWITCHES: Final = "switches"
TICK: Final = 10**9 // os.sysconf("SC_CLK_TCK")  # nanoseconds


class Line(NamedTuple):
    """A round of load, and the time and the switches of a call, by thread."""

    load: Measurement
    spent: dict[str, float]


@click.command(help=__doc__)
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(1))
def main(rounds: int) -> None:
    """Measure, and print."""
    columns = (LOOP, *THREADS.values(), OTHER, KERNEL, SWITCHES)
    click.echo(f"|  | all | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 2)}")
    with postgres_databases() as database, tempfile.TemporaryDirectory() as folder:
        found = contenders({name for name, _ in CALLS}, database)
        for number, (name, row) in enumerate(CALLS):
            path = Path(folder, str(number))
            path.mkdir()
            line = asyncio.run(measure(found[name], row, rounds, path))
            cells = (line.load.cpu, *(line.spent.get(each, 0.0) for each in columns))
            title = f"{row.title}, {found[name].title}"
            click.echo(f"| {title} | {' | '.join(f'{cell:.0f}' for cell in cells)} |")


async def measure(contender: Contender, row: Row, rounds: int, folder: Path) -> Line:
    """The round of a row with the least processor time; the first one warms up."""
    await contender.prepare(folder)
    lines = []
    if row.state == COLD:
        async with started(contender, folder) as server:
            requests = await requests_of(server, row)
        for _ in range(rounds):
            random.shuffle(requests)
            async with started(contender, folder) as server:
                lines.append(await loaded(server, requests, "once"))
    else:
        async with started(contender, folder) as server:
            requests = await requests_of(server, row)
            for _ in range(rounds + 1):
                if row.once:
                    requests = await requests_of(server, row)
                lines.append(await loaded(server, requests, "once" if row.once else "turn"))
            del lines[0]
    return min(lines, key=lambda line: line.load.cpu)


async def loaded(server: Server, requests: list[Request], order: Order) -> Line:
    """Load a service for a second, or until each request was sent once."""
    before = spent(server)
    load = await server.load(requests, CONNECTIONS, 1, order)
    after = spent(server)
    after.subtract(before)
    every = sum(after[each] for each in (LOOP, OTHER, *THREADS.values()))
    spent_by = {name: load.cpu * number / every for name, number in after.items()}
    return Line(load, {**spent_by, SWITCHES: load.cpu * after[SWITCHES] * 1000 / every})


def spent(server: Server) -> Counter[str]:
    """Read the processor time in nanoseconds, and the switches, of all threads of a service."""
    found = Counter[str]()
    for process in server.processes():
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            name, _, facts = (task / "stat").read_text().rpartition(")")
            kind = LOOP if task.name == str(process.pid) else OTHER
            for beginning, known in THREADS.items():
                if f"({beginning}" in name:
                    kind = known
            nanoseconds, _, switches = (task / "schedstat").read_text().split()
            found[kind] += int(nanoseconds)
            found[SWITCHES] += int(switches)
            found[KERNEL] += int(facts.split()[12]) * TICK
    return found


if __name__ == "__main__":
    main()
