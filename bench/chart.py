"""The chart in docs/performance.md."""

from collections.abc import Sequence

import pygal
from pygal.style import CleanStyle
from report import CONNECTIONS, Run, median
from rows import Row


def of(run: Run, rows: Sequence[Row]) -> bytes:
    """An SVG with a bar for each of these rows and contender; what cannot do it has none."""
    names = list(run.contenders)[::-1]  # bars are drawn from the bottom up
    drawn = pygal.HorizontalBar(
        style=CleanStyle,
        js=(),
        width=800,
        height=480,
        title=f"Signatures a second, {CONNECTIONS} connections",
        x_labels=[run.contenders[name].title for name in names],
        legend_at_bottom=True,
        truncate_label=-1,
        x_value_formatter=lambda value: f"{value:,.0f}",
    )
    for row in rows:
        bars = (run.rows[row][name] for name in names)
        drawn.add(row.alg, [None if isinstance(bar, str) else median(bar, "rate") for bar in bars])
    return bytes(drawn.render())
