"""A progress bar on standard error, for commands that take long."""

import sys
from contextlib import AbstractContextManager
from typing import Any

import click


def progress(label: str, *, show_pos: bool = False) -> AbstractContextManager[Any]:
    """A progress bar of a length that is not known yet, where standard error is a terminal."""
    return click.progressbar(
        (None for _ in ()),
        label=label,
        show_pos=show_pos,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    )


def is_among_output(bar: Any) -> bool:
    """Whether the bar is on the terminal that lines on standard output go to."""
    return not bar.hidden and sys.stdout.isatty()
