"""Slots: the places of the counters of changes, the same in every process.

Each change of an entry increments the counter in its slot (`store/connections/counters.py`).
Entries may share a slot: each of them then seems to change more often.
"""

import zlib
from typing import Final

SLOTS: Final = 4096
"""The number of slots."""

# The category for the one counter of all entries of a profile, which every write in it increments.
CONTENTS: Final = "minikms.contents"


def slot_of(category: str, name: str) -> int:
    """The slot of an entry."""
    return zlib.crc32(f"{category}/{name}".encode()) % SLOTS
