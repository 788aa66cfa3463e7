"""Output on a terminal: tables, a progress bar, and text that cannot control it."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from minikms_client.models import Key, Token

ItemT = TypeVar("ItemT")


def visible(text: str, keep: str = "") -> str:
    r"""Escape each character without a glyph, such as `\x1b`, except `keep`.

    An answer thus neither controls the terminal nor changes the order in which text is read.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def last_use(item: Key | Token) -> str:
    """The time of the last use of a key or a token, empty if none is known."""
    return "" if item.last_used is None else item.last_used.isoformat(timespec="minutes")


def show_members(members: Mapping[str, Any]) -> None:
    """Print the members of an answer that are not empty."""
    _print_table(
        [
            (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for name, value in members.items()
            if value not in (None, [], {})
        ]
    )


def show_rows(rows: Iterable[ItemT], columns: Mapping[str, Callable[[ItemT], str]]) -> None:
    """Print rows under the names of their columns."""
    _print_table([tuple(columns), *([column(row) for column in columns.values()] for row in rows)])


def _print_table(table: Sequence[Sequence[str]]) -> None:
    """Print cells in columns, none of which is cut: a terminal wraps long lines."""
    shown = [[visible(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def progress(items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
    """Yield the items, with a bar on standard error if only that is a terminal."""
    if len(items) < 2 or sys.stdout.isatty() or not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(items, label=what, file=sys.stderr) as bar:
        yield from bar
