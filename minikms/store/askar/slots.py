"""Slots: the counters of changes that an entry has, the same in every process.

A slot is the place of a counter (`store/connections/counters.py`), which each change of the entry
increments. Entries may share a slot: each of them then seems to change more often.
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
