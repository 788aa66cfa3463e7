"""The output of commands: progress on standard error, lines and tables on standard output."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, TextIO

import click

from minikms.basics.background import in_background

# Seconds between two progress lines if standard error is not a terminal.
PERIOD: Final = 10.0


class Progress(Protocol):
    """The progress of a command; `length` is set once it is known."""

    length: int | None

    def update(self, n_steps: int) -> None:
        """Count further steps as done."""


class ProgressLines:
    """Progress as a line every few seconds, for a pipe or a file.

    `Checking keys: 5120 of 20000, 512/s, 29 s left`. A command that ends before the first line is
    due writes none.
    """

    def __init__(self, label: str) -> None:
        self.length: int | None = None
        self._label = label
        self._done = 0
        self._began = 0.0  # the first step

    def update(self, n_steps: int) -> None:
        self._began = self._began or time.monotonic()
        self._done += n_steps

    async def write(self) -> None:
        """Write lines until cancelled, even if nothing was done since the last one."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                click.echo(f"{self._label}: {self._state()}", err=True)
            except OSError:  # the reader has gone
                return

    def _state(self) -> str:
        if self.length is None:
            return str(self._done)
        state = f"{self._done} of {self.length}"
        if not self._done:
            return state
        rate = self._done / max(time.monotonic() - self._began, 1e-3)
        return f"{state}, {rate:.0f}/s, {max(self.length - self._done, 0) / rate:.0f} s left"


@asynccontextmanager
async def progress(label: str, *, show_pos: bool = False) -> AsyncIterator[Progress]:
    """Show a progress bar if standard error is a terminal, or else write lines."""
    if not _is_terminal(sys.stderr):
        lines = ProgressLines(label)
        async with in_background(lines.write()):
            yield lines
        return
    empty = (None for _ in ())  # the length is not known yet

    def rate() -> str | None:
        seconds = bar.time_per_iteration
        return f"{1 / seconds:.0f}/s" if bar.pos and seconds else None

    bar = click.progressbar(
        empty, label=label, show_pos=show_pos, item_show_func=lambda _: rate(), file=sys.stderr
    )
    with bar:
        yield bar


def is_among_output() -> bool:
    """Tell whether a progress bar is on the same terminal as standard output."""
    return _is_terminal(sys.stderr) and _is_terminal(sys.stdout)


def tell(line: str) -> None:
    """Write a line to standard output; on the terminal of a bar, the line replaces it."""
    if is_among_output():
        click.echo("\r\033[K", nl=False, err=True)  # overwrite the bar
    click.echo(line)


def tell_fault(profile: str, kid: str, fault: str) -> None:
    """Write a fault in a store; profile and kid are empty if the fault has none."""
    tell(f"{profile or '-'} {kid or '-'} {fault}")


def echo_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Write rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal; a stream closed at the start is None."""
    return stream is not None and stream.isatty()
