"""The form of an entry with the last uses of 256 keys at neighbouring places."""

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

# The number of keys in an entry. Each time is a number of four bytes, in seconds.
KEYS_TOGETHER: Final = 256
_SIZE: Final = 4
LATEST: Final = 2 ** (8 * _SIZE) - 1

# Seconds by which a stored time may be too early. It saves writes of several processes that use the
# same keys.
_CLOSE: Final = 60


class UseGroup(NamedTuple):
    """The keys at 256 places of an Askar profile; one entry has their times."""

    askar_profile: str
    number: int

    @property
    def entry(self) -> str:
        """The name of the entry."""
        return f"{self.askar_profile}/{self.number}"


def places_of(number: int) -> range:
    """The places whose keys share an entry."""
    return range(max(number * KEYS_TOGETHER, 1), (number + 1) * KEYS_TOGETHER)


def groups_of(last: int) -> list[range]:
    """All places up to `last`, divided by entry, the newest first."""
    return [places_of(number) for number in range(last // KEYS_TOGETHER, -1, -1)]


def time_at(value: bytes, place: int) -> int:
    """The time of a key in an entry, in seconds."""
    start = place * _SIZE
    return int.from_bytes(value[start : start + _SIZE])


def latest(value: bytes) -> int:
    """The latest time in an entry, in seconds."""
    return max((time for (time,) in struct.iter_unpack(">I", value)), default=0)


def merged(value: bytes, times: Mapping[int, int]) -> bytes:
    """Merge times into an entry; return it unchanged if no time is much later."""
    length = max(len(value), (max(times) + 1) * _SIZE)
    merged = bytearray(value.ljust(length, b"\0"))
    changed = False
    for place, at in times.items():
        before = time_at(value, place)
        if at > before:
            struct.pack_into(">I", merged, place * _SIZE, at)
            changed = changed or at - before >= _CLOSE
    return bytes(merged) if changed else value
