"""Lengths of time as people write them: 90d, 12h, 30m, 45s."""

import re
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM: Final = re.compile(r"([0-9]{1,9})([smhd])\Z")

PATTERN: Final = r"^[0-9]{1,9}[smhd]\Z"
NANOSECONDS: Final = 1_000_000_000


def seconds(text: str) -> int:
    """The seconds that `text` stands for; raises ValueError for what is not of its form."""
    found = _FORM.match(text)
    if found is None:
        raise ValueError("not a length of time")
    return int(found[1]) * _UNITS[found[2]]
