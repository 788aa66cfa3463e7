"""Encodes a JWK Set as JSON, and filters its members (RFC 7517 section 5)."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import orjson


class MemberKind(NamedTuple):
    """The properties by which members are filtered: key type, use and JOSE names.

    Members `on_request` are left out unless the caller filters, since a library that does not know
    them may refuse the whole set.
    """

    kty: str
    use: str
    algs: tuple[str, ...]
    on_request: bool = False


class _Run(NamedTuple):
    """The bytes of consecutive members of one kind."""

    kind: MemberKind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class JwkFilter:
    """The filters of a caller. A member must match one value of each filter that is not empty."""

    kty: frozenset[str] = frozenset()
    use: frozenset[str] = frozenset()
    alg: frozenset[str] = frozenset()

    def matches(self, kind: MemberKind) -> bool:
        """Tell whether members of this kind match."""
        if kind.on_request and not (self.kty or self.use or self.alg):
            return False
        return (
            (not self.kty or kind.kty in self.kty)
            and (not self.use or kind.use in self.use)
            and (not self.alg or not self.alg.isdisjoint(kind.algs))
        )


class JwkSet(NamedTuple):
    """A JWK Set (RFC 7517 section 5) as JSON, with its entity tag without quotation marks."""

    body: bytes
    etag: str
    runs: tuple[_Run, ...] = ()
    kinds: frozenset[MemberKind] = frozenset()
    """The kinds of its members."""
    until: int | None = None
    """The time from which it has a member too many, in nanoseconds; None for never."""

    @classmethod
    def of(cls, members: Iterable[tuple[MemberKind, bytes]], until: int | None = None) -> Self:
        """Make a set of runs; each has the JSON of members of one kind, separated by commas."""
        parts, runs = [_BEGIN], []
        end = len(_BEGIN)
        for number, (kind, text) in enumerate(members):
            if number:
                parts.append(b",")
                end += 1
            parts.append(text)
            runs.append(_Run(kind, end, end + len(text)))
            end += len(text)
        body = b"".join([*parts, _END])
        kinds = frozenset(run.kind for run in runs)
        return cls(body, hashlib.sha256(body).hexdigest()[:32], tuple(runs), kinds, until)

    def only(self, kinds: frozenset[MemberKind]) -> Self:
        """Make the set of its members of these kinds, in the same order."""
        return type(self).of(
            (run.kind, self.body[run.start : run.end]) for run in self.runs if run.kind in kinds
        )


def written(members: Iterable[Mapping[str, Any]]) -> bytes:
    """Encode members as JSON, separated by commas."""
    return orjson.dumps(list(members))[1:-1]


_BEGIN, _END = b'{"keys":[', b"]}\n"
