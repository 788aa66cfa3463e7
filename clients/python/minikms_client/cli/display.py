"""What people see on a terminal: tables, and a bar of progress."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

ItemT = TypeVar("ItemT")


def show_members(members: Mapping[str, Any]) -> None:
    """Print the members of an answer that have something to say."""
    table = Table(show_header=False, box=None)
    for name, value in members.items():
        if value not in (None, [], {}):
            table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    Console().print(table)


def show_rows(rows: Iterable[ItemT], columns: Mapping[str, Callable[[ItemT], str]]) -> None:
    """Print rows under the names of their columns."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(column(row) for column in columns.values()))
    Console().print(table)


def progress(items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
    """The items, with a bar on standard error."""
    return track(items, description=what, console=Console(stderr=True), transient=True)
