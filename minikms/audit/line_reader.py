"""Reads a file of an audit log backwards, and finds the lines that match a search.

A block is searched for the bytes of one member before its lines are parsed, so a search for a rare
kid costs little more than reading.
"""

import math
import os
import re
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from minikms.audit.chain import LONGEST, START
from minikms.audit.query import LineFilter, Needle
from minikms.audit.searched_files import OPEN_FLAGS, TIME, MovedError, SearchedFile, identity_of

# Bytes of a block, which is read without the interpreter's lock. A search of it for plain bytes
# holds the lock for half a millisecond.
BLOCK: Final = 4 * 1024 * 1024
# Bytes that a regular expression searches at once, while it holds the lock.
_STEP: Final = 512 * 1024

# Lines parsed before other threads get the interpreter's lock.
_IN_A_ROW: Final = 32

_NEXT_TIME: Final = re.compile(b"\n" + TIME.pattern)


class Found(NamedTuple):
    """A matching line, and its members."""

    line: bytes
    members: dict[str, Any]


class OutOfTimeError(Exception):
    """The time of a search has run out."""


class Clock:
    """The time limit of a search.

    It applies once the search has `moved`, so that every page makes progress.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = time.monotonic() + seconds
        self.moved = False

    def check(self) -> None:
        """Raise OutOfTimeError once the time has run out."""
        if self.moved and time.monotonic() > self._end:
            raise OutOfTimeError

    def advance(self) -> None:
        """Note that the search has moved, and check the time."""
        self.moved = True
        self.check()


class LineReader:
    """Reads a file backwards from the offset `end`; `head` is the next matching line.

    If `is_begun`, the cursor has an offset for the file.
    """

    def __init__(self, file: SearchedFile, wanted: LineFilter, end: int, *, is_begun: bool) -> None:
        self.file = file
        self.end = end
        self.head: Found | None = None
        self.is_begun = is_begun
        self._wanted = wanted
        self._descriptor: int | None = None
        self._needle: Needle | None = None
        self._block = b""
        self._start, self._next = 0, end
        self._lines: Iterator[tuple[int, int]] = iter(())

    @property
    def time(self) -> str:
        """Return the time of `head`."""
        written: str = self.head.members["time"] if self.head else ""
        return written

    def take(self) -> Found:
        """Return `head`, which must exist, and remove it."""
        if self.head is None:
            raise ValueError("There is no line to take.")
        head, self.head = self.head, None
        self.end -= len(head.line)
        return head

    def advance(self, clock: Clock) -> None:
        """Find the next matching line, None at the beginning of the file.

        Raises OSError, MovedError and OutOfTimeError.
        """
        parsed = 0
        while True:
            for start, end in self._lines:
                self.end = self._start + end
                line = self._block[start:end]
                members = self._wanted.members(line)
                if members is not None:
                    self.head = Found(line, members)
                    return
                parsed += 1
                if not parsed % _IN_A_ROW:
                    time.sleep(0)
            if self._next < self.end:
                self.end = self._next
                clock.moved = True
            if self.end <= 0:
                self.close()
                return
            clock.check()
            self._read()

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self) -> None:
        """Read the block before `end`, and find the lines in it that may match."""
        if self._descriptor is None:
            self._descriptor = self._open()
            self.end = self._end_by_time(self._descriptor)
        self._start = max(0, self.end - BLOCK)
        self._block = os.pread(self._descriptor, self.end - self._start, self._start)
        # The last bytes may be the beginning of a line that is being written.
        end = self._block.rfind(b"\n") + 1
        begin = self._block.find(b"\n") + 1 if self._start else 0
        self._next = self._start + begin
        if begin >= end:  # no whole line is as long as a block
            self._next = self._start
            return
        first = TIME.match(self._block, begin)
        if first and first[1].decode() < self._wanted.since:
            self._next = 0
        if self._needle is None:
            self._needle = self._rarest(begin, end)
        self._lines = _lines(self._needle, self._block, begin, end)

    def _open(self) -> int:
        try:
            descriptor = os.open(self.file.path, OPEN_FLAGS)
        except FileNotFoundError:
            raise MovedError from None
        if identity_of(os.fstat(descriptor)) != self.file.identity:
            os.close(descriptor)
            raise MovedError
        return descriptor

    def _end_by_time(self, descriptor: int) -> int:
        """Find an offset shortly after the last line before `until`."""
        if self.file.last < self._wanted.until:
            return self.end
        low, high = 0, self.end
        while high - low > BLOCK:
            middle = (low + high) // 2
            found = _NEXT_TIME.search(os.pread(descriptor, 2 * LONGEST, middle))
            if found and found[1].decode() < self._wanted.until:
                low = middle
            else:
                high = middle
        return min(self.end, high + 2 * LONGEST)

    def _rarest(self, begin: int, end: int) -> Needle:
        """Choose the needle that occurs in the fewest lines at the end of the block."""
        needles = self._wanted.needles or [START]
        if len(needles) == 1:
            return needles[0]

        def number(needle: Needle) -> int:
            return sum(1 for _ in _lines(needle, self._block, max(begin, end - _STEP), end))

        return min(needles, key=number)


def _lines(needle: Needle, block: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each matching line in a part of a block, the last line first."""
    if isinstance(needle, bytes):
        while (place := block.rfind(needle, begin, end)) >= 0:
            start = block.rfind(b"\n", 0, place) + 1
            yield start, block.index(b"\n", place) + 1
            end = start
        return
    while end > begin:
        start = block.rfind(b"\n", begin, max(begin, end - _STEP)) + 1 or begin
        found, place = [], start
        while match := needle.search(block, place, end):
            place = block.index(b"\n", match.start()) + 1
            found.append((block.rfind(b"\n", 0, match.start()) + 1, place))
        yield from reversed(found)
        end = start
        time.sleep(0)
