"""Chains of an audit log that are known to exist, but are in none of the files read."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from minikms.audit.chain import Head, Opening


class Gap(NamedTuple):
    """A missing chain, and how it is known to exist.

    Either `next`, a chain that was found, follows it; or its head says that it follows `previous`,
    a chain that was found, or that it is of a log whose other chains were found. `inner` chains
    come between two that were found.
    """

    chain: str
    next: str | None
    previous: str | None
    head: Head | None
    inner: bool


def gaps(found: Mapping[str, Opening], heads: Mapping[str, Head]) -> Iterator[Gap]:
    """The chains missing among those `found`; of several in a row, the first and the last.

    A chain that continues a file is not counted here: it is checked against the lines before it.
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
    """The chains before some of `found`, by the links in `follows`."""
    before: set[str] = set()
    for chain in found:
        link = follows.get(chain)
        while link and link not in before:
            before.add(link)
            link = follows.get(link)
    return before


def _behind(found: Container[str], follows: Mapping[str, str | None]) -> dict[str, None]:
    """The chains after some of `found`, in the order of `follows`."""
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
