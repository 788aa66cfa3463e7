"""Tables and sentences for people, as wide as their terminal."""

import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import click

# Spaces between columns, and the indentation of a row's further lines.
_GAP: Final = "  "
# The smallest width of a column with wrapped cells.
_NARROW: Final = 24


def print_table(table: Sequence[Sequence[str]]) -> None:
    """Print rows of cells in columns; columns that do not fit go below the first ones, indented.

    Lines break only between columns and words, so words stay whole, however long.
    """
    lines = _arranged(list(zip(*table, strict=True)), shutil.get_terminal_size().columns)
    for row in table:
        for number, line in enumerate(lines):
            cells = [_wrapped(row[index], width) for index, width in line]
            for parts in zip_longest(*cells, fillvalue=""):
                padded = (part.ljust(width) for part, (_, width) in zip(parts, line, strict=True))
                text = _GAP.join(padded).rstrip()
                if text or not number:
                    click.echo(f"{_GAP if number else ''}{text}")


def fitting(text: str) -> str:
    """Break a text between words, so that it fits the terminal."""
    return "\n".join(_wrapped(text, shutil.get_terminal_size().columns))


def _arranged(columns: Sequence[Sequence[str]], most: int) -> list[list[tuple[int, int]]]:
    """Arrange columns, each by index and width, in lines of at most `most` characters."""
    lines: list[list[tuple[int, int]]] = [[]]
    free, below = most, most - len(_GAP)
    for index, cells in enumerate(columns):
        full = max(map(len, cells))
        words = (len(word) for cell in cells for word in cell.split(" "))
        least = max((length for length in words if length <= below), default=0)
        may_wrap = full > below or index == len(columns) - 1
        if full > free and not (may_wrap and free >= max(least, _NARROW)):
            lines.append([])
            free = below
        width = min(full, free)
        lines[-1].append((index, width))
        free -= width + len(_GAP)
    return lines


def _wrapped(cell: str, width: int) -> list[str]:
    """Break a cell between words."""
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, max(width, 1), break_long_words=False, break_on_hyphens=False)
