"""The files of an audit log, checked one by one and against each other."""

from collections.abc import Iterator, Mapping, Sequence

from minikms.audit.chain import Head, chain_ends
from minikms.audit.file import file_name
from minikms.audit.gaps import Gap, gaps
from minikms.audit.reader import LogFile
from minikms.audit.verify_file import FileChecker, Report, Tally


def verify(
    files: Sequence[LogFile],
    heads: Sequence[Head],
    keys: Mapping[str, bytes] | None,
    report_fault: Report,
    report_note: Report,
    *,
    partial: bool = False,
) -> Tally:
    """Check files, given in any order, by heads whose signatures are good.

    `keys` has the key of the first line of each chain that the store knows; None without a store.
    `report_fault` takes each fault, `report_note` what no head vouches for. The files are the
    whole log; with `partial`, older and newer files may be elsewhere. Raises AuditError for a
    file that cannot be read.
    """
    checker = FileChecker(heads, keys, report_fault, report_note)
    for file in files:
        checker.check(file)
    _check_links(checker)
    _check_gaps(checker, set(_replaced(checker, files)), partial=partial)
    return checker.tally


def _check_links(checker: FileChecker) -> None:
    """Check that a chain which follows one in another file follows the line that it names."""
    for chain in checker.chains.values():
        opening = chain.opening
        before = checker.chains.get(opening.follows or "")
        if before and not opening.continues and not before.may_have(opening.after, chain.prev):
            what = f"line {opening.after} of the chain {opening.follows}"
            checker.fault(chain.begin, f"{what} is not the one that it followed")


def _replaced(checker: FileChecker, files: Sequence[LogFile]) -> Iterator[str]:
    """Check that each file has the chain that was written to it last; the chains that are not."""
    for file in files:
        last = chain_ends(
            [head for head in checker.last_heads() if head.file == file_name(file.path)]
        )
        if last and not any(head.chain in checker.chains for head in last):
            chain = last[0].chain
            checker.fault(file.path, f"the chain {chain}, the last one there, is not in it")
            yield chain


def _check_gaps(checker: FileChecker, reported: set[str], *, partial: bool) -> None:
    """Check that the chains before, between and behind the found ones are there."""
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
    """Where a chain is missing, and how that shows."""
    if gap.next:
        what = f"it follows the chain {gap.chain}, which is in none of these files"
        return checker.chains[gap.next].begin, what
    if gap.previous:
        where = checker.chains[gap.previous].where
        if gap.head and gap.head.continues:
            return where, f"the chain {gap.chain}, behind it in its file, is missing"
        what = f"the chain {gap.chain}, which follows its own, is in none of these files"
        return where, what
    return gap.head.file if gap.head else "", f"the chain {gap.chain} is in none of these files"
