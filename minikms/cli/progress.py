"""How far a command has come, on standard error, for commands that take long."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol, TextIO

import click

from minikms.background import in_background

# Seconds between two lines where standard error is no terminal.
PERIOD: Final = 10.0


class Progress(Protocol):
    """How far a command has come; `length` is set once it is known."""

    length: int | None

    def update(self, n_steps: int) -> None:
        """Count so many more as done."""


class ProgressLines:
    """A line every few seconds, for a pipe or a file: `Checking keys: 512 of 20000`.

    A command that has ended before the first is due writes none.
    """

    def __init__(self, label: str) -> None:
        self.length: int | None = None
        self._label = label
        self._done = 0

    def update(self, n_steps: int) -> None:
        """Count so many more as done."""
        self._done += n_steps

    async def write(self) -> None:
        """Write lines until cancelled, also where nothing is done between two of them."""
        while True:
            await asyncio.sleep(PERIOD)
            of = "" if self.length is None else f" of {self.length}"
            try:
                click.echo(f"{self._label}: {self._done}{of}", err=True)
            except OSError:  # nobody reads it any more
                return


@asynccontextmanager
async def progress(label: str, *, show_pos: bool = False) -> AsyncIterator[Progress]:
    """A progress bar where standard error is a terminal, lines where it is not."""
    if not _is_terminal(sys.stderr):
        lines = ProgressLines(label)
        async with in_background(lines.write()):
            yield lines
        return
    empty = (None for _ in ())  # the length is not known yet
    with click.progressbar(empty, label=label, show_pos=show_pos, file=sys.stderr) as bar:
        yield bar


def is_among_output() -> bool:
    """Whether a bar is on the terminal that lines on standard output go to."""
    return _is_terminal(sys.stderr) and _is_terminal(sys.stdout)


def tell(line: str) -> None:
    """Write a line on standard output, which replaces the bar where both are on one terminal."""
    if is_among_output():
        click.echo("\r\033[K", nl=False, err=True)  # begin a line where the bar is
    click.echo(line)


def tell_fault(profile: str, kid: str, what: str) -> None:
    """Write what is wrong with a key, or with what has no kid or no profile: these are empty."""
    tell(f"{profile or '-'} {kid or '-'} {what}")


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream of this process is a terminal; one that was closed at its start is None."""
    return stream is not None and stream.isatty()
