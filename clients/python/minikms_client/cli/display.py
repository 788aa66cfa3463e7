"""Output on a terminal: tables, a progress bar, and text that cannot control it."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from minikms_client.cli.tables import fitting, print_table
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


def tell(text: str) -> None:
    """Print a message, ours or a service's, to standard error; on a terminal, keep words whole."""
    shown = visible(text)
    click.echo(fitting(shown) if sys.stderr.isatty() else shown, err=True)


def shown_time(time: datetime) -> str:
    """Return a time as people are shown it: in UTC, to the second."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def last_use(item: Key | Token) -> str:
    """The time of the last use of a key or a token, empty if none is known."""
    return "" if item.last_used is None else shown_time(item.last_used)


def show_members(members: Mapping[str, Any]) -> None:
    """Print the members of an answer that are not empty."""
    print_table(
        [
            (visible(name), visible(_text(value)))
            for name, value in members.items()
            if value not in (None, [], {})
        ]
    )


def show_rows(rows: Iterable[ItemT], columns: Mapping[str, Callable[[ItemT], str]]) -> None:
    """Print rows under the names of their columns."""
    cells = ([visible(column(row)) for column in columns.values()] for row in rows)
    print_table([tuple(columns), *cells])


def _text(value: Any) -> str:
    """Return text as it is, a list of texts in words, and other values as JSON."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def progress(items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
    """Yield the items, with a bar on standard error if only that is a terminal."""
    if len(items) < 2 or sys.stdout.isatty() or not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(items, label=what, file=sys.stderr) as bar:
        yield from bar
