"""Durations as text: 90d, 12h, 30m, 45s."""

import re
from typing import Final

PATTERN: Final = r"^[1-9][0-9]{0,7}[smhd]\Z"

_FORM: Final = re.compile(PATTERN)
_NANOSECONDS: Final = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


def nanoseconds(text: str) -> int:
    """Convert a duration into nanoseconds; raises ValueError for other text."""
    if not _FORM.match(text):
        raise ValueError("not a duration")
    return int(text[:-1]) * _NANOSECONDS[text[-1]]
