"""Counts instructions of calls with one key, for this Mini KMS and others, and their ratios.

`python bench/instructions.py before=/path/to/python new` compares the Mini KMS of another Python
with this one, in memory, for each row of run.py. Needs valgrind. A busy machine does not change the
figures. They are without the kernel's instructions, and do not tell how long one takes.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path

import click
from contender import BESIDE, NUMBER, Request
from mini_kms import MiniKms
from rows import Row, contenders_of_rows, requests_of
from server import Refused, Server, started

CALLS = 100  # of a round
WARM = 50  # calls before counting: the interpreter specialises repeated code

_NUMBERS = numbers(time.time_ns() // 1000)  # unique, so that no two calls make the same key


@dataclass(frozen=True)
class Watched(MiniKms):
    """`minikms serve` under valgrind."""

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        tool = ("valgrind", "--tool=callgrind", "--instr-atstart=no")
        return (*tool, f"--callgrind-out-file={folder}/counts", *super().command(folder, port))


@click.command(help=__doc__)
@click.argument("services", nargs=-1, required=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--rows", default="", help="Only rows that this expression is found in.")
def main(services: tuple[str, ...], rounds: int, rows: str) -> None:
    """Count, and print a line for each row."""
    contenders = {}
    for text in services:
        name, _, python = text.partition("=")
        contenders[name] = Watched(name, python=python or sys.executable)
    chosen = {
        row.title: row
        for row, names in contenders_of_rows().items()
        if "memory" in names and row.operation != BESIDE and not row.once
    }
    asyncio.run(
        compare(contenders, [row for row in chosen.values() if re.search(rows, row.title)], rounds)
    )


async def compare(contenders: dict[str, Watched], rows: list[Row], rounds: int) -> None:
    """Print the figures of each row, and the ratios of the last service to each other one."""
    found: dict[str, dict[Row, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, contender in contenders.items():
            path = Path(folder, name)
            path.mkdir()
            async with started(contender, path) as server:
                found[name] = {row: await least(server, path, row, rounds) for row in rows}
    *others, last = found
    print(f"| thousand instructions | {' | '.join([*found, *(f'{last}/{o}' for o in others)])} |")
    print(f"|{' --- |' * (1 + len(found) + len(others))}")
    for row in rows:
        cells = [f"{found[name][row] / 1000:,.0f}" for name in found]
        ratios = [f"{found[last][row] / found[name][row]:.2f}" for name in others]
        print(f"| {row.title} | {' | '.join([*cells, *ratios])} |")


async def least(server: Server, folder: Path, row: Row, rounds: int) -> float:
    """Return the fewest instructions of a call in all rounds; NaN if the service refuses it."""
    try:
        requests = await requests_of(server, row)
    except Refused:
        return float("nan")
    await call(server, requests, WARM)
    return min([await count(server, folder, requests) for _ in range(rounds)])


async def count(server: Server, folder: Path, requests: Sequence[Request]) -> float:
    """Count the instructions of a call in one round."""
    before = set(folder.glob("counts*"))
    control(server, "--instr=on")
    await call(server, requests, CALLS)
    control(server, "--instr=off")
    control(server, "--dump")
    [file] = set(folder.glob("counts*")) - before
    [total] = re.findall(r"^totals: (\d+)$", file.read_text(), re.MULTILINE)
    return int(total) / CALLS


async def call(server: Server, requests: Sequence[Request], number: int) -> None:
    """Make calls one after the other."""
    for place in range(number):
        request = requests[place % len(requests)]
        body = request.body.replace(NUMBER.encode(), b"%016d" % next(_NUMBERS))
        await server.call(request._replace(body=body))


def control(server: Server, option: str) -> None:
    """Tell valgrind what to do next."""
    command = ["callgrind_control", option, str(server.processes()[0].pid)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


if __name__ == "__main__":
    main()
