"""The entry of a profile with the last place in the order of creation, and the last changes.

It also has the number of keys if the profile has `max_keys`, and a tag if the profile is frozen.

On PostgreSQL, a transaction that replaces or removes entries logs the slots of their counters
(`store/connections/counters.py`) here, under a random mark. So a process that knows an earlier mark
finds which entries were changed since, even if all notices were lost. A slot is the place of a
counter, the same in every process.
"""

import secrets
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

_DIGITS: Final = 20

# Begins the number of keys. A log never begins with this byte, since no change has so many slots.
_KEYS: Final = b"k"
_MARK: Final = 8

# The tag of a frozen profile.
_FROZEN: Final = "frozen"

# The most bytes of a log, which has room for some hundred changes. PostgreSQL would store a row of
# over 2 KB in pieces elsewhere.
_MAX_LOG: Final = 1536


# The number of slots. Entries may share one: each of them then seems to change more often.
SLOTS: Final = 4096

# The category for the one counter of all entries of a profile, which every write in it increments.
CONTENTS: Final = "minikms.contents"


def slot_of(category: str, name: str) -> int:
    """The slot of an entry."""
    return zlib.crc32(f"{category}/{name}".encode()) % SLOTS


SEQ_TAG: Final = "~seq"
"""The tag with the place of a key or a token in the order of creation, as `seq_of` writes it."""


def seq_of(place: int) -> str:
    """Write a place in the order of creation as a string that sorts like the number."""
    return f"{place:020d}"


class Position(NamedTuple):
    """A moment in the life of a profile: its last place, and the mark of its last change."""

    place: int
    mark: bytes


class Sequence(NamedTuple):
    """The last place that was assigned, 0 before the first, and the log of the last changes.

    A change in the log is the number of its slots, the slots, and its mark; the newest change is
    last. `keys` is the number of keys, None if it is not counted. In a `frozen` profile, nothing
    changes: the tag makes each later transaction see it, whatever its process knows.
    """

    place: int = 0
    log: bytes = b""
    keys: int | None = None
    frozen: bool = False

    @classmethod
    def of(cls, stored: bytes, tags: Mapping[str, Any] | None = None) -> Self:
        """Decode an entry; before layout 3.0, it has only the place."""
        place, rest = int(stored[:_DIGITS]), stored[_DIGITS:]
        frozen = _FROZEN in (tags or ())
        if not rest.startswith(_KEYS):
            return cls(place, rest, frozen=frozen)
        rest = rest[len(_KEYS) :]
        return cls(place, rest[_DIGITS:], int(rest[:_DIGITS]), frozen)

    def to_bytes(self) -> bytes:
        """Encode the entry."""
        keys = b"" if self.keys is None else b"%b%0*d" % (_KEYS, _DIGITS, self.keys)
        return b"%0*d" % (_DIGITS, self.place) + keys + self.log

    @property
    def tags(self) -> dict[str, str] | None:
        """The tags of the entry."""
        return {_FROZEN: "true"} if self.frozen else None

    def with_change(self, slots: Collection[int]) -> Self:
        """Log a change, in place of the oldest changes if the log is full."""
        mark = secrets.token_bytes(_MARK)
        change = _packed(slots) + mark
        if len(change) > _MAX_LOG:
            return self._replace(log=_packed(()) + mark)
        excess = len(self.log) + len(change) - _MAX_LOG
        dropped = 0
        if excess > 0:
            dropped = next(end for end, _, _ in self._changes() if end >= excess)
        return self._replace(log=self.log[dropped:] + change)

    @property
    def position(self) -> Position:
        """The moment of this entry."""
        return Position(self.place, self.log[-_MARK:])

    def changes_since(self, earlier: Position) -> set[int] | None:
        """The slots that were changed since an earlier moment; None if the log does not show them.

        The log is then too short to have the earlier mark, or the place has gone back: the store
        was restored, or the profile was made again.
        """
        if self.place < earlier.place:
            return None
        if self.position.mark == earlier.mark:
            return set()
        changed: set[int] | None = None
        for _, slots, mark in self._changes():
            if changed is not None:
                changed.update(slots)
            elif mark == earlier.mark:
                changed = set()
        return changed

    def _changes(self) -> Iterator[tuple[int, tuple[int, ...], bytes]]:
        """Yield the end of each change in the log, its slots and its mark."""
        start = 0
        while start < len(self.log):
            (number,) = _NUMBER.unpack_from(self.log, start)
            slots = struct.unpack_from(f">{number}H", self.log, start + _NUMBER.size)
            start += _NUMBER.size * (1 + number) + _MARK
            yield start, slots, self.log[start - _MARK : start]


_NUMBER: Final = struct.Struct(">H")


def _packed(slots: Collection[int]) -> bytes:
    return struct.pack(f">H{len(slots)}H", len(slots), *slots)
