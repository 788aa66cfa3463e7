"""Verification of one audit log file: its lines, their keys and the heads."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

from minikms.audit.chain import LONGEST, START, Head, Line, Opening, next_key
from minikms.startup_errors import AuditError

# Called with a place (a file, usually with a line number) and the finding at that place.
Report = Callable[[str, str], None]

# A line number this far ahead is impossible.
_FARTHEST: Final = 1_000_000

_TORN: Final = "it was cut short: its writer ended while it wrote"


class LogFile:
    """A file as it is when opened; lines written later are ignored."""

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
        """Open all files or none; raises AuditError."""
        with ExitStack() as stack:
            files = []
            for path in paths:
                files.append(file := cls(path))
                stack.callback(file.close)
            stack.pop_all()
            return files

    def close(self) -> None:
        self._opened.close()

    def parts(self) -> Iterator[bytes]:
        """Yield its lines with their newlines; a line over the limit comes in parts."""
        with self._opened as opened:
            place = opened.seek(0)
            while place < self._size and (part := opened.readline(LONGEST)):
                yield part
                place += len(part)


class ChainKeys:
    """The keys of a chain's lines, derived from the key of its first line."""

    def __init__(self, first: bytes) -> None:
        self._first = first
        self._n, self._key = 1, first

    def of(self, n: int) -> bytes | None:
        """Derive the key of line `n`; None if `n` is impossibly large."""
        if n < self._n:
            self._n, self._key = 1, self._first
        if n - self._n > _FARTHEST:
            return None
        while self._n < n:
            self._n, self._key = self._n + 1, next_key(self._key)
        return self._key


@dataclass
class FoundChain:
    """A chain as read so far; `n`, `hash` and the place `where` are of its last line."""

    id: str
    opening: Opening
    begin: str
    where: str
    keys: ChainKeys | None
    heads: dict[int, Head]
    n: int = 0
    hash: str | None = None
    prev: str = ""

    def may_have(self, n: int, hash_: str) -> bool:
        """Tell whether line `n` may have this hash, given the lines and heads that were read."""
        if n > self.n:
            return False
        if n == self.n:
            return self.hash in (None, hash_)
        # Hashes between two heads are not kept: another chain follows this one at its end or at a
        # head.
        return n not in self.heads or self.heads[n].hash == hash_


@dataclass
class Tally:
    """The numbers of checked files, chains and lines, and of faults."""

    files: int = 0
    chains: int = 0
    lines: int = 0
    faults: int = 0


class FileChecker:
    """Checks files one by one, and collects the chains in them.

    The signatures of `heads` are already verified. `keys` has the first line's key of each chain in
    the store; None without a store.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        keys: Mapping[str, bytes] | None,
        report_fault: Report,
        report_note: Report,
    ) -> None:
        self.tally = Tally()
        self.chains: dict[str, FoundChain] = {}
        self._heads: dict[str, dict[int, Head]] = defaultdict(dict)
        for head in heads:
            before = self._heads[head.chain].get(head.count)
            if before is None or head.closed:
                self._heads[head.chain][head.count] = head
        self._keys = keys
        self._report_fault = report_fault
        self.note = report_note

    def fault(self, where: str, what: str) -> None:
        """Report a fault, and count it."""
        self.tally.faults += 1
        self._report_fault(where, what)

    def last_heads(self) -> Iterator[Head]:
        """Return the last head of each chain that has one."""
        for heads in self._heads.values():
            if heads:
                yield heads[max(heads)]

    def check(self, file: LogFile) -> None:
        path = file.path
        self.tally.files += 1
        chain: FoundChain | None = None
        unreadable: list[tuple[str, bytes]] = []
        number, whole, lost = 0, 0, False
        for number, part in enumerate(file.parts(), 1):
            where = f"{path}:{number}"
            self.tally.lines += 1
            line = Line.parse(part)
            if line is None:
                unreadable.append((where, part))
                continue
            whole += 1
            opening = Opening.of(line) if line.n == 1 else None
            if opening and sum(len(part) for _, part in unreadable) == opening.torn:
                for torn, _ in unreadable:
                    self.note(torn, _TORN)
            else:
                self._refuse(unreadable)
            unreadable = []
            if opening:
                self._end(chain)
                chain = self._begin(line, opening, where, chain)
                lost = chain is None
            if chain is None or line.chain != chain.id:
                if not lost:
                    self.fault(where, f"the beginning of its chain {line.chain} is not before it")
                lost = True
                continue
            self._step(chain, line, where)
        if len(unreadable) == 1 and _is_torn(unreadable[0][1]):
            self.note(unreadable[0][0], _TORN)
            if not whole:
                self.fault(path, "it has no whole line")
        else:
            self._refuse(unreadable)
        if not number:
            self.fault(path, "it is empty")
        self._end(chain)

    def _refuse(self, unreadable: Iterable[tuple[str, bytes]]) -> None:
        for where, _ in unreadable:
            self.fault(where, "it is not a line of an audit log")

    def _begin(
        self, line: Line, opening: Opening, where: str, before: FoundChain | None
    ) -> FoundChain | None:
        """Begin the chain that a line opens; None if the line cannot open one."""
        if line.chain in self.chains:
            self.fault(where, f"the chain {line.chain} begins a second time")
            return None
        self.tally.chains += 1
        first = None if self._keys is None else self._keys.get(line.chain)
        if self._keys is not None and first is None:
            self.fault(where, f"the store does not know the chain {line.chain}")
        if opening.continues and (
            before is None
            or (before.id, before.n) != (opening.follows, opening.after)
            or before.hash not in (None, line.prev)
        ):
            what = f"line {opening.after} of the chain {opening.follows}"
            self.fault(where, f"{what}, which it follows, is missing or was changed")
        found = FoundChain(
            line.chain,
            opening,
            where,
            where,
            None if first is None else ChainKeys(first),
            self._heads.get(line.chain, {}),
            prev=line.prev,
        )
        self.chains[line.chain] = found
        return found

    def _step(self, chain: FoundChain, line: Line, where: str) -> None:
        """Check a line against its key, the line before, and the head that names it."""
        if chain.keys and not ((key := chain.keys.of(line.n)) and line.is_genuine(key)):
            self.fault(where, "it was changed after it was written")
            if line.n == chain.n + 1:
                chain.n, chain.hash, chain.where = line.n, None, where
            return
        if line.n <= chain.n:
            self.fault(where, f"line {line.n} of its chain is out of place, or there twice")
            return
        if line.n > chain.n + 1:
            missing = _lines(chain.n + 1, line.n - 1)
            self.fault(where, f"{missing} of its chain, before it, is missing")
        elif chain.n and chain.hash not in (None, line.prev):
            self.fault(where, "it does not continue the line before it")
        chain.n, chain.hash, chain.where = line.n, line.hash, where
        head = chain.heads.get(line.n)
        if head and head.hash != line.hash:
            self.fault(where, "it or an earlier line does not match the head")

    def _end(self, chain: FoundChain | None) -> None:
        """Check the end of a chain against its last head."""
        if chain is None:
            return
        head = chain.heads[max(chain.heads)] if chain.heads else None
        count = head.count if head else 0
        if chain.n < count:
            missing = _lines(chain.n + 1, count)
            self.fault(chain.where, f"{missing} of its chain, after it, is missing")
        elif head and head.closed and chain.n > count:
            self.fault(chain.where, f"its chain had ended with line {count}")
        elif head is None and self._keys is None:
            self.fault(chain.where, f"its chain {chain.id} has no head")
        elif head is None or not head.closed:
            self.note(chain.where, self._unknown(chain, count))

    def _unknown(self, chain: FoundChain, count: int) -> str:
        """Describe the part of an open chain that no head covers."""
        after = "its chain may have had lines after this one"
        if chain.n == count:
            return after
        later = "are not proven" if chain.keys is None else "are also genuine"
        return f"{after}; the last head is of line {count}, the lines after that {later}"


def _is_torn(part: bytes) -> bool:
    """Tell whether this may be the beginning of a line that was cut short."""
    return START.startswith(part[: len(START)]) and not part.endswith(b"\n")


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"
