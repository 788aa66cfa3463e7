"""Audit logs checked: every line against those around it, its key, and the heads."""

import os
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

from minikms.audit.chain import LONGEST, START, Head, Line, Opening, next_key, tips
from minikms.audit.file import place
from minikms.audit.gaps import gaps
from minikms.startup_errors import AuditError

Tell = Callable[[str, str], None]

# The number of a line that is this far ahead is none that was written.
_FARTHEST: Final = 1_000_000

_TORN: Final = "it was cut short: its writer ended while it wrote"


class Keys:
    """The keys of the lines of a chain, out of that of its first."""

    def __init__(self, first: bytes) -> None:
        self._first = first
        self._n, self._key = 1, first

    def of(self, n: int) -> bytes | None:
        """The key of line `n`; None for one that cannot have been written."""
        if n < self._n:
            self._n, self._key = 1, self._first
        if n - self._n > _FARTHEST:
            return None
        while self._n < n:
            self._n, self._key = self._n + 1, next_key(self._key)
        return self._key


@dataclass
class _Found:
    """A chain as far as it has been read: `n` and `hash` are its last line's, at `where`."""

    id: str
    opening: Opening
    begin: str
    where: str
    keys: Keys | None
    heads: dict[int, Head]
    n: int = 0
    hash: str | None = None
    prev: str = ""

    @property
    def last_head(self) -> Head | None:
        return self.heads[max(self.heads)] if self.heads else None


@dataclass
class Tally:
    """How much has been checked, and how much of it is wrong."""

    files: int = 0
    chains: int = 0
    lines: int = 0
    faults: int = 0


class LogFile:
    """A file as it is at this moment: what is written later is left out."""

    def __init__(self, path: str) -> None:
        """Open it; raises AuditError."""
        self.path = path
        try:
            self._opened = open(path, "rb")  # noqa: SIM115  # until its lines are read
            self._size = self._opened.seek(0, os.SEEK_END)
        except OSError as exc:
            raise AuditError(f"The audit log {path} cannot be read: {exc.strerror}.") from None

    @classmethod
    def all_of(cls, paths: Iterable[str]) -> list[Self]:
        """Open files, all or none; raises AuditError."""
        with ExitStack() as stack:
            files = []
            for path in paths:
                files.append(file := cls(path))
                stack.callback(file.close)
            stack.pop_all()
            return files

    def close(self) -> None:
        """Read no more of it."""
        self._opened.close()

    def parts(self) -> Iterator[bytes]:
        """Its lines; one that is longer than any may be, in parts."""
        with self._opened as opened:
            place = opened.seek(0)
            while place < self._size and (part := opened.readline(LONGEST)):
                yield part
                place += len(part)


def verify(
    files: Sequence[LogFile],
    heads: Sequence[Head],
    keys: Mapping[str, bytes] | None,
    tell: Tell,
    note: Tell,
    *,
    partial: bool = False,
) -> Tally:
    """Check files, given in any order, by heads whose signatures are good.

    `keys` has the key of the first line of each chain that the store knows; None where there is
    no store. `tell` is told where something is wrong, and what; `note` what nothing vouches for.
    The files are all that there is of a log; with `partial` there may be older and newer ones.
    Raises AuditError for a file that cannot be read.
    """
    check = _Check(heads, keys, tell, note, partial=partial)
    for file in files:
        check.file(file)
    check.between_files(files)
    return check.tally


class _Check:
    def __init__(
        self,
        heads: Sequence[Head],
        keys: Mapping[str, bytes] | None,
        tell: Tell,
        note: Tell,
        *,
        partial: bool,
    ) -> None:
        self.tally = Tally()
        self._partial = partial
        self._heads: dict[str, dict[int, Head]] = defaultdict(dict)
        for head in heads:
            before = self._heads[head.chain].get(head.count)
            if before is None or head.closed:
                self._heads[head.chain][head.count] = head
        self._keys = keys
        self._tell = tell
        self._note = note
        self._found: dict[str, _Found] = {}

    def _fault(self, where: str, what: str) -> None:
        self.tally.faults += 1
        self._tell(where, what)

    # Within a file

    def file(self, file: LogFile) -> None:
        """Check the lines of a file."""
        path = file.path
        self.tally.files += 1
        chain: _Found | None = None
        strange: list[tuple[str, bytes]] = []
        number, whole, lost = 0, 0, False
        for number, part in enumerate(file.parts(), 1):
            where = f"{path}:{number}"
            self.tally.lines += 1
            line = Line.parse(part)
            if line is None:
                strange.append((where, part))
                continue
            whole += 1
            opening = Opening.of(line) if line.n == 1 else None
            if opening and sum(len(part) for _, part in strange) == opening.torn:
                for torn, _ in strange:
                    self._note(torn, _TORN)
            else:
                self._refuse(strange)
            strange = []
            if opening:
                self._end(chain)
                chain = self._begin(line, opening, where, chain)
                lost = chain is None
            if chain is None or line.chain != chain.id:
                if not lost:
                    self._fault(where, f"the beginning of its chain {line.chain} is not before it")
                lost = True
                continue
            self._step(chain, line, where)
        if len(strange) == 1 and _is_torn(strange[0][1]):
            self._note(strange[0][0], _TORN)
            if not whole:
                self._fault(path, "it has not one whole line")
        else:
            self._refuse(strange)
        if not number:
            self._fault(path, "it is empty")
        self._end(chain)

    def _refuse(self, strange: Iterable[tuple[str, bytes]]) -> None:
        for where, _ in strange:
            self._fault(where, "it is no line of an audit log")

    def _begin(
        self, line: Line, opening: Opening, where: str, before: _Found | None
    ) -> _Found | None:
        """The chain that a line opens, None where that cannot be."""
        if line.chain in self._found:
            self._fault(where, f"the chain {line.chain} begins a second time")
            return None
        self.tally.chains += 1
        first = None if self._keys is None else self._keys.get(line.chain)
        if self._keys is not None and first is None:
            self._fault(where, f"the store knows no chain {line.chain}")
        if opening.continues and (
            before is None
            or (before.id, before.n) != (opening.follows, opening.after)
            or before.hash not in (None, line.prev)
        ):
            what = f"line {opening.after} of the chain {opening.follows}"
            self._fault(where, f"{what}, which was before it, is not there, or was changed")
        found = _Found(
            line.chain,
            opening,
            where,
            where,
            None if first is None else Keys(first),
            self._heads.get(line.chain, {}),
            prev=line.prev,
        )
        self._found[line.chain] = found
        return found

    def _step(self, chain: _Found, line: Line, where: str) -> None:
        """Check a line against its key, the line before, and the head that names it."""
        if chain.keys and not ((key := chain.keys.of(line.n)) and line.is_genuine(key)):
            self._fault(where, "it is not as it was written")
            if line.n == chain.n + 1:
                chain.n, chain.hash, chain.where = line.n, None, where
            return
        if line.n <= chain.n:
            self._fault(where, f"line {line.n} of its chain is not in its place, or there twice")
            return
        if line.n > chain.n + 1:
            missing = _lines(chain.n + 1, line.n - 1)
            self._fault(where, f"{missing} of its chain, before it, is missing")
        elif chain.n and chain.hash not in (None, line.prev):
            self._fault(where, "the line before is not the one that it followed")
        chain.n, chain.hash, chain.where = line.n, line.hash, where
        head = chain.heads.get(line.n)
        if head and head.hash != line.hash:
            self._fault(where, "it, or one before, is not what the head vouches for")

    def _end(self, chain: _Found | None) -> None:
        """Say how far something vouches for a chain that has no more lines."""
        if chain is None:
            return
        head = chain.last_head
        count = head.count if head else 0
        if chain.n < count:
            missing = _lines(chain.n + 1, count)
            self._fault(chain.where, f"{missing} of its chain, behind it, is missing")
        elif head and head.closed and chain.n > count:
            self._fault(chain.where, f"its chain had ended with line {count}")
        elif head is None and self._keys is None:
            self._fault(chain.where, f"no head is of its chain {chain.id}")
        elif head is None or not head.closed:
            self._note(chain.where, self._unknown(chain, count))

    def _unknown(self, chain: _Found, count: int) -> str:
        """What nothing vouches for, of a chain that did not end or has not yet."""
        after = "nothing tells whether its chain had lines after this one"
        if chain.n == count:
            return after
        vouched = "nothing vouches for" if chain.keys is None else "genuine is also"
        return f"{after}; the last head is of line {count}, {vouched} what stands behind that"

    # Between files

    def between_files(self, files: Sequence[LogFile]) -> None:
        """Check that chains follow each other, and that none is missing that must be there."""
        for chain in self._found.values():
            opening = chain.opening
            before = self._found.get(opening.follows or "")
            if before and not opening.continues and not _fits(before, opening.after, chain.prev):
                what = f"line {opening.after} of the chain {opening.follows}"
                self._fault(chain.begin, f"{what} is not the one that it followed")
        self._check_gaps(set(self._replaced(files)))

    def _replaced(self, files: Sequence[LogFile]) -> Iterator[str]:
        """Check that what is where a log is written is what was written there last."""
        for file in files:
            last = tips([head for head in self._last_heads() if head.file == place(file.path)])
            if last and not any(head.chain in self._found for head in last):
                chain = last[0].chain
                self._fault(file.path, f"the chain {chain}, the last one there, is not in it")
                yield chain

    def _check_gaps(self, known: Container[str]) -> None:
        """Check that the chains before, between and behind these are there."""
        heads = {head.chain: head for head in self._last_heads()}
        for gap in gaps({chain.id: chain.opening for chain in self._found.values()}, heads):
            if gap.chain in known:
                continue
            elsewhere = self._partial and not gap.inner
            if gap.next:
                where = self._found[gap.next].begin
                what = f"it follows the chain {gap.chain}, which is in none of these files"
            elif gap.previous:
                where = self._found[gap.previous].where
                what = f"the chain {gap.chain}, which follows its own, is in none of these files"
                if gap.head and gap.head.continues:
                    what = f"the chain {gap.chain}, behind it in its file, is missing"
                    elsewhere = False
            else:
                where = gap.head.file if gap.head else ""
                what = f"the chain {gap.chain} is in none of these files"
            if elsewhere:
                self._note(where, what)
            else:
                self._fault(where, what)

    def _last_heads(self) -> Iterator[Head]:
        for heads in self._heads.values():
            if heads:
                yield heads[max(heads)]


def _fits(chain: _Found, n: int, prev: str) -> bool:
    """Whether a line of a chain may be the one whose hash another line has."""
    if n > chain.n:
        return False
    if n == chain.n:
        return chain.hash in (None, prev)
    # What is between two heads nobody remembers, but a chain is followed at its end or at a head.
    return n not in chain.heads or chain.heads[n].hash == prev


def _is_torn(part: bytes) -> bool:
    """Whether this may be the beginning of a line."""
    return START.startswith(part[: len(START)]) and not part.endswith(b"\n")


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"
