"""How often something may be done: sliding windows, counted in memory that processes share.

A window counts the calls since its beginning. The calls of the window before still count for the
part of it that the sliding window covers, as if they had been spread evenly. So from rest, as many
calls as the rate allows pass at once, and over a longer time no more than the rate. Each rate takes
a slot of a table, which a lock guards, so that the processes of a service count together.
"""

import fcntl
import hashlib
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from minikms.clocks import now_ns
from minikms.system_calls import allocate, memory_file

SECOND: Final = 10**9
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 3600 * SECOND

# The table has a key in its head, and buckets of slots. The hash of a rate's name, under the key,
# gives its bucket; so callers cannot choose names that fill one.
_KEY_BYTES: Final = 32
_HEAD: Final = 4096
_BUCKETS: Final = 4096
_SLOTS: Final = 12
# The hash of a name, 0 for a free slot; the end of its time and its last use, by the clock below;
# and three numbers.
_SLOT: Final = struct.Struct("=QQQQQQ")
_BUCKET: Final = _SLOTS * _SLOT.size

# The size of a table.
_TABLE: Final = _HEAD + _BUCKETS * _BUCKET


class Window(NamedTuple):
    """A window: its beginning in nanoseconds, the calls before it, and the calls since."""

    start: int = 0
    before: int = 0
    calls: int = 0

    def at(self, now: int, length: int) -> "Window":
        """The window at a moment, `length` being its length."""
        elapsed = now - self.start
        if elapsed < 0:  # the clock was set back: what was counted stays
            return self._replace(start=now)
        if elapsed < length:
            return self
        if elapsed < 2 * length:
            return Window(self.start + length, self.calls)
        return Window(now)

    def room(self, now: int, length: int, most: int) -> int:
        """The number of calls that it has room for, if `most` are allowed; it is the one at now."""
        return most - self.calls - self.before * (self.start + length - now - 1) // length

    def wait(self, now: int, length: int, most: int, number: int) -> int:
        """Nanoseconds until it has room for `number` more calls."""
        left = self.start + length - now
        if number > most:
            return length
        if self.calls + number > most:  # only the next window has room
            later = Window(self.start + length, self.calls)
            return left + later.wait(later.start, length, most, number)
        room = most - number - self.calls
        covered = ((room + 1) * length - 1) // self.before if self.before else length
        return max(left - covered - 1, 0)


class RateTable:
    """The rates of a service: in memory of this process, or in a `file` that its processes share.

    `file` is the descriptor of a file that `new_table` has made.
    """

    def __init__(self, file: int = -1) -> None:
        self._file = file
        self._memory = mmap.mmap(file, _TABLE)
        if file < 0:
            self._memory[:_KEY_BYTES] = secrets.token_bytes(_KEY_BYTES)
        self._key = self._memory[:_KEY_BYTES]

    def take(self, name: tuple[str, ...], length: int, most: int, number: int = 1) -> int:
        """Count calls if a window of this length has room for them, which has `most` at most.

        Returns 0, or the nanoseconds until it has room.
        """
        now = now_ns()
        with self._slot(name, now) as slot:
            window = Window(*slot.numbers).at(now, length)
            if window.room(now, length, most) < number:
                return window.wait(now, length, most, number) or 1
            slot.numbers = window._replace(calls=window.calls + number)
            slot.until = window.start + 2 * length
            return 0

    def take_leased(self, name: tuple[str, ...], number: int) -> tuple[int, int]:
        """Take calls of a lease, all or none.

        The number of calls that it lacks, 0 if they were taken, and the nanoseconds until so many
        can be leased, 0 if that is not known.
        """
        now = now_ns()
        with self._slot(name, now) as slot:
            left, closed, least = slot.numbers
            if number <= left:
                slot.numbers = (left - number, closed, least)
                return 0, 0
            lacking = number - left
            return lacking, closed - now if closed > now and lacking >= least else 0

    def lease(self, name: tuple[str, ...], number: int, duration: int) -> None:
        """Add calls to a lease, which ends after `duration`."""
        now = now_ns()
        with self._slot(name, now) as slot:
            left, closed, least = slot.numbers
            slot.numbers = (left + number, closed, least)
            slot.until = now + duration

    def close_lease(self, name: tuple[str, ...], least: int, wait: int) -> None:
        """Note that so many calls, or more, cannot be leased for `wait`."""
        now = now_ns()
        with self._slot(name, now) as slot:
            slot.numbers = (slot.numbers[0], now + wait, least)
            slot.until = max(slot.until, now + wait)

    @contextmanager
    def _slot(self, name: tuple[str, ...], now: int) -> "Iterator[_Slot]":
        """The slot of a rate, which is stored at the end; nobody else changes its bucket."""
        digest = hashlib.blake2b("\0".join(name).encode(), digest_size=10, key=self._key).digest()
        mark = int.from_bytes(digest[:8], "big") or 1
        start = _HEAD + int.from_bytes(digest[8:], "big") % _BUCKETS * _BUCKET
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _BUCKET, start)
        try:
            slot = self._find(mark, start, now)
            yield slot
            if slot.until:
                _SLOT.pack_into(self._memory, slot.place, mark, slot.until, now, *slot.numbers)
        finally:
            if self._file >= 0:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _BUCKET, start)

    def _find(self, mark: int, start: int, now: int) -> "_Slot":
        """The slot of a rate in its bucket, or a slot whose time is over, in its place.

        Without one, the slot that was not used for longest: the others are in use.
        """
        used = []
        for place in range(start, start + _BUCKET, _SLOT.size):
            found, until, last, *numbers = _SLOT.unpack_from(self._memory, place)
            if found == mark and until > now:
                return _Slot(place, until, (numbers[0], numbers[1], numbers[2]))
            used.append((last if until > now else 0, place))
        return _Slot(min(used)[1])

    def close(self) -> None:
        """Unmap the memory; the file stays open."""
        self._memory.close()


class _Slot:
    """A slot: its place, the end of its time, 0 if it is new, and its numbers."""

    __slots__ = ("numbers", "place", "until")

    def __init__(
        self, place: int, until: int = 0, numbers: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        self.place = place
        self.until = until
        self.numbers = numbers


@contextmanager
def new_table() -> Iterator[int]:
    """Make a file without a name for a table, and yield its descriptor; raises OSError."""
    with memory_file("minikms-rates") as file:
        allocate(file.fileno(), _TABLE)
        os.pwrite(file.fileno(), secrets.token_bytes(_KEY_BYTES), 0)
        yield file.fileno()
