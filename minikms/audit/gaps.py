"""Chains of audit logs that must be somewhere, and are in none of the files that were read."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from minikms.audit.chain import Head, Opening


class Gap(NamedTuple):
    """A chain that is in no file, and what tells so.

    That is `next`, a chain that was found and follows it; or its head, which says that it follows
    `previous`, one that was found, or that it is of a log that others were found of. `inner` is
    for one that comes between two chains that were found.
    """

    chain: str
    next: str | None
    previous: str | None
    head: Head | None
    inner: bool


def gaps(found: Mapping[str, Opening], heads: Mapping[str, Head]) -> Iterator[Gap]:
    """The chains that are missing among those that were `found`; of several in a row, the ends.

    A chain that goes on in the file of the one before says itself where that one is not there.
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
    """The chains that some of `found` come behind, as far as `follows` tells."""
    before: set[str] = set()
    for chain in found:
        link = follows.get(chain)
        while link and link not in before:
            before.add(link)
            link = follows.get(link)
    return before


def _behind(found: Container[str], follows: Mapping[str, str | None]) -> dict[str, None]:
    """The chains that come behind some of `found`, in the order of `follows`."""
    behind: dict[str, bool] = {}
    for chain in follows:
        row: list[str] = []
        link: str | None = chain
        while link and link not in behind:
            behind[link] = False  # so that links in a circle, which are made up, come to an end
            row.append(link)
            link = follows.get(link)
            if link in found:
                break
        reached = link in found or behind.get(link or "", False)
        behind |= dict.fromkeys(row, reached)
    return {chain: None for chain, reached in behind.items() if reached}
