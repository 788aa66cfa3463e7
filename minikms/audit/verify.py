"""Verification of the files of an audit log, each by itself and against each other."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from minikms.audit.chain import Head, Opening, chain_ends
from minikms.audit.file import file_name
from minikms.audit.verify_file import FileChecker, LogFile, Report, Tally


class Gap(NamedTuple):
    """A missing chain, and the evidence that it existed.

    The evidence is `next`, a chain in the files that follows it, or its own head in the store. A
    head shows that the chain follows `previous`, a chain in the files, or that it belongs to the
    same log as chains in the files. An `inner` chain lies between two chains in the files.
    """

    chain: str
    next: str | None
    previous: str | None
    head: Head | None
    inner: bool


def verify(
    files: Sequence[LogFile],
    heads: Sequence[Head],
    keys: Mapping[str, bytes] | None,
    report_fault: Report,
    report_note: Report,
    *,
    partial: bool = False,
) -> Tally:
    """Check files, in any order, against heads with verified signatures.

    `keys` has the first line's key of each chain in the store; None without a store. `report_fault`
    gets each fault, `report_note` each part that no head covers. The files must be the complete
    log; with `partial`, older and newer files may be missing. Raises AuditError for a file that
    cannot be read.
    """
    checker = FileChecker(heads, keys, report_fault, report_note)
    for file in files:
        checker.check(file)
    _check_links(checker)
    _check_gaps(checker, set(_replaced(checker, files)), partial=partial)
    return checker.tally


def _check_links(checker: FileChecker) -> None:
    """Check the line that a chain follows, if another file has it, by its number and its hash."""
    for chain in checker.chains.values():
        opening = chain.opening
        before = checker.chains.get(opening.follows or "")
        if before and not opening.continues and not before.may_have(opening.after, chain.prev):
            what = f"line {opening.after} of the chain {opening.follows}"
            checker.fault(chain.begin, f"{what} is not the line that it names")


def _replaced(checker: FileChecker, files: Sequence[LogFile]) -> Iterator[str]:
    """Check that each file contains its latest chain; yield the missing chains."""
    for file in files:
        last = chain_ends(
            [head for head in checker.last_heads() if head.file == file_name(file.path)]
        )
        if last and not any(head.chain in checker.chains for head in last):
            chain = last[0].chain
            checker.fault(file.path, f"the chain {chain}, the last one of this file, is not in it")
            yield chain


def _check_gaps(checker: FileChecker, reported: set[str], *, partial: bool) -> None:
    """Check that no chain is missing before, between or after the chains in the files."""
    heads = {head.chain: head for head in checker.last_heads()}
    for gap in gaps({chain.id: chain.opening for chain in checker.chains.values()}, heads):
        if gap.chain in reported:
            continue
        where, what = _place_of(checker, gap)
        in_its_file = gap.next is None and gap.previous and gap.head and gap.head.continues
        if partial and not gap.inner and not in_its_file:
            checker.note(where, what)
        else:
            checker.fault(where, what)


def _place_of(checker: FileChecker, gap: Gap) -> tuple[str, str]:
    """Describe the place of a missing chain, and the evidence for it."""
    if gap.next:
        what = f"it follows the chain {gap.chain}, which is in none of these files"
        return checker.chains[gap.next].begin, what
    if gap.previous:
        where = checker.chains[gap.previous].where
        if gap.head and gap.head.continues:
            return where, f"the chain {gap.chain}, after it in its file, is missing"
        what = f"the chain {gap.chain}, which follows its chain, is in none of these files"
        return where, what
    return gap.head.file if gap.head else "", f"the chain {gap.chain} is in none of these files"


def gaps(found: Mapping[str, Opening], heads: Mapping[str, Head]) -> Iterator[Gap]:
    """Find chains missing from `found`; of several in a row, only the first and the last.

    A chain that continues a file is left out: it is checked against the lines before it.
    """
    follows = {chain: head.follows for chain, head in heads.items()}
    follows |= {chain: opening.follows for chain, opening in found.items()}
    nexts = {
        opening.follows: chain
        for chain, opening in found.items()
        if opening.follows and not opening.continues
    }
    older, newer = _before(found, follows), _behind(found, follows)
    places = {opening.file for opening in found.values()}
    of_these = (chain for chain, head in heads.items() if head.file in places)
    for chain in dict.fromkeys([*nexts, *newer, *of_these]):
        if chain in found:
            continue
        head = heads.get(chain)
        previous = head.follows if head and head.follows in found else None
        apart = chain not in older and chain not in newer
        if chain in nexts or previous or apart:
            inner = chain in older and chain in newer
            yield Gap(chain, nexts.get(chain), previous, head, inner)


def _before(found: Iterable[str], follows: Mapping[str, str | None]) -> set[str]:
    """Find the chains before chains of `found`, by the links in `follows`."""
    before: set[str] = set()
    for chain in found:
        link = follows.get(chain)
        while link and link not in before:
            before.add(link)
            link = follows.get(link)
    return before


def _behind(found: Container[str], follows: Mapping[str, str | None]) -> dict[str, None]:
    """Find the chains after chains of `found`, by the links in `follows`."""
    behind: dict[str, bool] = {}
    for chain in follows:
        row: list[str] = []
        link: str | None = chain
        while link and link not in behind:
            behind[link] = False  # stops if forged links form a circle
            row.append(link)
            link = follows.get(link)
            if link in found:
                break
        reached = link in found or behind.get(link or "", False)
        behind |= dict.fromkeys(row, reached)
    return {chain: None for chain, reached in behind.items() if reached}
