"""The charts in docs/performance.md."""

from collections.abc import Mapping, Sequence

import pygal
from pygal.style import CleanStyle
from report import Run, median
from rows import Row


def of(run: Run, title: str, rows: Mapping[str, Row], names: Sequence[str]) -> bytes:
    """An SVG with a bar for each row and contender that was measured."""
    shown = [name for name in names if name in run.contenders][::-1]  # drawn from the bottom up
    drawn = pygal.HorizontalBar(
        style=CleanStyle,
        js=(),
        width=800,
        height=480,
        title=title,
        x_labels=[run.contenders[name].title for name in shown],
        legend_at_bottom=True,
        truncate_label=-1,
        x_value_formatter=lambda value: f"{value:,.0f}",
    )
    for label, row in rows.items():
        bars = (run.rows.get(row, {}).get(name, "") for name in shown)
        drawn.add(label, [None if isinstance(bar, str) else median(bar, "rate") for bar in bars])
    return bytes(drawn.render())
