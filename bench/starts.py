"""Measures starts of Mini KMS in memory: processor time, instructions and memory.

`python bench/starts.py before=/path/to/python new` compares the Mini KMS of another Python with
this one, in turns. A start ends with the first signature, by a new key. Other load makes a start
take longer, so the smallest of many counts. With --instructions, valgrind counts the instructions
of its imports, which take most of a start. Other load does not change this figure.
"""

import asyncio
import re
import sys
import tempfile
from asyncio.subprocess import PIPE
from dataclasses import dataclass, field
from pathlib import Path

import click
from contender import Contender
from mini_kms import MiniKms
from server import started
from service import process

MESSAGE = b"hello"


# Run under valgrind.
COUNTED = ("import gc; gc.disable()", "import minikms.cli.main, minikms.serve.process")
VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


@dataclass
class Starts:
    """The figures of a Mini KMS, of each start: seconds of a processor, and resident MiB."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    instructions: float = float("nan")


@click.command(help=__doc__)
@click.argument("services", nargs=-1, required=True)
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1))
@click.option("--instructions", is_flag=True, help="Count instructions (needs valgrind).")
def main(services: tuple[str, ...], rounds: int, instructions: bool) -> None:
    """Measure, and print a row for each service."""
    pythons = {}
    for text in services:
        name, _, python = text.partition("=")
        pythons[name] = python or sys.executable
    found = asyncio.run(measure(pythons, rounds, instructions))
    print("| start, in memory | smallest, s | median, s | resident, MiB | million instructions |")
    print("| --- | --- | --- | --- | --- |")
    for name, starts in found.items():
        seconds = sorted(starts.seconds)
        middle = seconds[len(seconds) // 2]
        memory, count = min(starts.memory), starts.instructions / 1e6
        print(f"| {name} | {seconds[0]:.3f} | {middle:.3f} | {memory:.0f} | {count:,.0f} |")


async def measure(pythons: dict[str, str], rounds: int, instructions: bool) -> dict[str, Starts]:
    """Start each service in turn."""
    found = {name: Starts() for name in pythons}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for _ in range(rounds):
            for name, python in pythons.items():
                seconds, memory = await start(MiniKms(name, python=python), folder)
                found[name].seconds.append(seconds)
                found[name].memory.append(memory)
    if instructions:
        for name, python in pythons.items():
            found[name].instructions = await counted(python)
    return found


async def start(contender: Contender, folder: Path) -> tuple[float, float]:
    """Start a service and sign once; return its processor time and its memory."""
    async with started(contender, folder) as server:
        [key] = await server.keys("ed25519", 1)
        await server.call(contender.sign(key, MESSAGE))
        return server.used(), server.memory().total


async def counted(python: str) -> int:
    """Count the instructions of the imports of a start."""
    command = (*VALGRIND, python, "-P", "-c", "\n".join(COUNTED))
    async with process(*command, stderr=PIPE) as run:
        _, log = await run.communicate()
    [number] = re.findall(rb"I\s+refs:\s+([\d,]+)", log)
    return int(number.replace(b",", b""))


if __name__ == "__main__":
    main()
