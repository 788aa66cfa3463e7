"""Rate limits: sliding windows, counted in memory that processes share.

A window counts the calls since its beginning. Calls of the previous window count in proportion to
the part of it that the sliding window still covers, as if they had been spread evenly. So after a
rest the whole rate may be used at once, and over a longer time calls do not exceed the rate. Each
rate has a slot in a table. A lock guards each bucket, so that the processes of a service count
together.
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

from minikms.basics.clocks import now_ns
from minikms.basics.system_calls import allocate, memory_file

SECOND: Final = 10**9
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 3600 * SECOND

# The table is a key, then buckets of slots. A rate's name, hashed under the key, selects its
# bucket: callers cannot choose names that fill one bucket.
_KEY_BYTES: Final = 32
_HEAD: Final = 4096
_BUCKETS: Final = 4096
_SLOTS: Final = 12
# A slot: the hash of a name, 0 if free; its expiry and its last use, by the clock below; and three
# numbers.
_SLOT: Final = struct.Struct("=QQQQQQ")
_BUCKET: Final = _SLOTS * _SLOT.size

# The size of a table in bytes.
_TABLE: Final = _HEAD + _BUCKETS * _BUCKET


class Window(NamedTuple):
    """A window: its beginning in nanoseconds, the calls of the window before, and its own."""

    start: int = 0
    before: int = 0
    calls: int = 0

    def at(self, now: int, length: int) -> "Window":
        """Return the window at a time, if windows are `length` long."""
        elapsed = now - self.start
        if elapsed < 0:  # the clock was set back: counted calls still count
            return self._replace(start=now)
        if elapsed < length:
            return self
        if elapsed < 2 * length:
            return Window(self.start + length, self.calls)
        return Window(now)

    def room(self, now: int, length: int, most: int) -> int:
        """Return how many more calls the window admits, if `most` are allowed.

        The window must be the one at `now`.
        """
        return most - self.calls - self.before * (self.start + length - now - 1) // length

    def wait(self, now: int, length: int, most: int, number: int) -> int:
        """Return the nanoseconds until it admits `number` more calls."""
        left = self.start + length - now
        if number > most:
            return length
        if self.calls + number > most:  # only the next window admits them
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
        """Count calls if the window admits them; `most` are allowed per `length`.

        Returns 0, or the nanoseconds until the window admits them.
        """
        now = now_ns()
        with self._slot(name, now) as slot:
            window = Window(*slot.numbers).at(now, length)
            if window.room(now, length, most) < number:
                return window.wait(now, length, most, number) or 1
            slot.numbers = window._replace(calls=window.calls + number)
            slot.until = window.start + 2 * length
            return 0

    def wait(self, name: tuple[str, ...], length: int, most: int, number: int) -> int:
        """Return as `take`, but count nothing."""
        now = now_ns()
        with self._slot(name, now) as slot:
            window = Window(*slot.numbers).at(now, length)
            if window.room(now, length, most) < number:
                return window.wait(now, length, most, number) or 1
            return 0

    def take_leased(self, name: tuple[str, ...], number: int) -> tuple[int, int]:
        """Take calls from a lease, all or none.

        Returns the number of missing calls, 0 if all were taken; and the nanoseconds until that
        number can be leased, 0 if unknown.
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
        """Add calls to a lease, which then lasts for `duration` or longer."""
        now = now_ns()
        with self._slot(name, now) as slot:
            left, closed, least = slot.numbers
            slot.numbers = (left + number, closed, least)
            slot.until = max(slot.until, now + duration)

    def close_lease(self, name: tuple[str, ...], least: int, wait: int) -> None:
        """Note that `least` calls or more cannot be leased for the time `wait`."""
        now = now_ns()
        with self._slot(name, now) as slot:
            slot.numbers = (slot.numbers[0], now + wait, least)
            slot.until = max(slot.until, now + wait)

    @contextmanager
    def _slot(self, name: tuple[str, ...], now: int) -> "Iterator[_Slot]":
        """Yield the slot of a rate under the lock of its bucket, and store it at the end."""
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
        """Find the slot of a rate in its bucket, else a free or expired slot to replace.

        If there is none, it is the least recently used slot.
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
    """A slot: its offset, its expiry (0 for a new slot), and its numbers."""

    __slots__ = ("numbers", "place", "until")

    def __init__(
        self, place: int, until: int = 0, numbers: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        self.place = place
        self.until = until
        self.numbers = numbers


@contextmanager
def new_table() -> Iterator[int]:
    """Yield the descriptor of an unnamed file for a table; raises OSError."""
    with memory_file("minikms-rates") as file:
        allocate(file.fileno(), _TABLE)
        os.pwrite(file.fileno(), secrets.token_bytes(_KEY_BYTES), 0)
        yield file.fileno()
