"""The charts in docs/performance.md."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pygal
from pygal.style import CleanStyle
from report import Run, median
from rows import Row

FORM: Final[dict[str, Any]] = {
    "style": CleanStyle,
    "js": (),
    "width": 800,
    "height": 480,
    "legend_at_bottom": True,
    "truncate_label": -1,
    "truncate_legend": -1,
}


def rates(run: Run, title: str, rows: Mapping[str, Row], names: Sequence[str]) -> bytes:
    """Draw an SVG with a bar for each measured row and contender."""
    shown = [name for name in names if name in run.contenders][::-1]  # drawn from the bottom up
    drawn = pygal.HorizontalBar(
        title=title,
        x_labels=[run.contenders[name].title for name in shown],
        x_value_formatter=lambda value: f"{value:,.0f}",
        **FORM,
    )
    for label, row in rows.items():
        bars = (run.rows.get(row, {}).get(name, "") for name in shown)
        drawn.add(label, [None if isinstance(bar, str) else median(bar, "rate") for bar in bars])
    return bytes(drawn.render())


def curves(title: str, labels: Sequence[str], found: Mapping[str, Sequence[float | None]]) -> bytes:
    """Draw an SVG with a curve for each call."""
    drawn = pygal.Line(title=title, x_labels=labels, logarithmic=True, margin_right=50, **FORM)
    for call, figures in found.items():
        drawn.add(call, figures)
    return bytes(drawn.render())
