"""The versions of an alias: the keys that it has named, by number."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import orjson

from minikms.errors import TooLargeRecord

# The versions of all aliases of one key together, since one rotation writes them all.
MAX_VERSIONS: Final = 1000
# Each alias keeps as many, even if that exceeds MAX_VERSIONS.
MIN_VERSIONS: Final = 17

# The largest number of predecessors that are tried in place of a key.
MAX_PREDECESSORS: Final = MIN_VERSIONS - 1


@dataclass(frozen=True, slots=True)
class KeyVersions:
    """The versions of an alias, and the settings that the Vault door keeps for them.

    Each rotation, and each move of the alias to another key, is the next version. `kids` has the
    key of each version by number, in order and without gaps: the last one is the key that the alias
    names now. A key may have been deleted, and may have several versions. `moved` is the last
    version that a move made, 1 if none did: rotations made those after it. `min_available_version`
    is 0 as long as no version was dropped. `kept` says that the Vault door has changed the name: a
    rotation or move that would drop its oldest version is refused.
    """

    kids: dict[int, str]
    moved: int = 1
    min_decryption_version: int = 1
    min_encryption_version: int = 0
    min_available_version: int = 0
    deletion_allowed: bool = False
    soft_deleted: bool = False
    kept: bool = False

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Parse the entry of an alias; raises ValueError, TypeError or LookupError for another."""
        data: dict[str, Any] = orjson.loads(value)
        data["kids"] = {int(number): kid for number, kid in data["kids"].items()}
        return cls(**data)

    def to_bytes(self) -> bytes:
        """The entry of the alias: JSON, with the settings that are not the default ones."""
        members = {
            each.name: value
            for each in fields(self)
            if (value := getattr(self, each.name)) != each.default
        }
        return orjson.dumps(members, option=orjson.OPT_NON_STR_KEYS)

    @property
    def first(self) -> int:
        """The number of the oldest version."""
        return next(iter(self.kids))

    @property
    def latest(self) -> int:
        """The number of the newest version."""
        return next(reversed(self.kids))

    @property
    def latest_kid(self) -> str:
        """The key that the alias names now."""
        return self.kids[self.latest]

    @property
    def shown(self) -> range:
        """The numbers of versions that may verify and decrypt."""
        return range(max(self.first, self.min_decryption_version), self.latest + 1)

    def kid_of(self, version: int) -> str | None:
        """The key of a version; None if there is no such version, or it was dropped."""
        return self.kids.get(version)

    def of_kid(self, kid: str) -> int | None:
        """The number of the newest version that has this key, or None."""
        return max((number for number, each in self.kids.items() if each == kid), default=None)

    def before(self, kid: str) -> Sequence[str]:
        """The keys that rotations replaced by this key under this alias, newest first."""
        number = self.of_kid(kid)
        if number is None:
            return ()
        oldest = max(self.first, self.moved, number - MAX_PREDECESSORS)
        return [self.kids[each] for each in range(number - 1, oldest - 1, -1)]

    def followed_by(self, kid: str, aliases: int = 1) -> Self:
        """Append the next version, and drop the oldest ones if there are too many.

        `aliases` is the number of aliases of the key. Raises TooLargeRecord instead of dropping
        versions that are `kept`.
        """
        self.require_room(aliases)
        first = self.latest + 2 - most_versions(aliases)
        return replace(self, kids={**self.kids, self.latest + 1: kid}).trimmed(first)

    def moved_to(self, kid: str) -> Self:
        """Append the next version, as `followed_by` does, after a move of the alias."""
        return replace(self.followed_by(kid), moved=self.latest + 1)

    def as_of(self, kid: str) -> Self:
        """The versions when the alias last named a key; the key alone if it never did."""
        number = self.of_kid(kid)
        if number is None:
            return type(self)({1: kid})
        kids = {each: self.kids[each] for each in range(self.first, number + 1)}
        return replace(self, kids=kids, moved=min(self.moved, number))

    def require_room(self, aliases: int) -> None:
        """Raise TooLargeRecord if the versions are `kept` and one more would drop the oldest."""
        most = most_versions(aliases)
        if self.kept and len(self.kids) >= most:
            raise TooLargeRecord(
                f"An alias of the key has {len(self.kids):,} versions, and may have {most:,} at "
                "most: trim them at the Vault door."
            )

    def trimmed(self, first: int) -> Self:
        """Drop the versions before `first`."""
        if first <= self.first:
            return self
        return replace(
            self,
            kids={number: self.kids[number] for number in range(first, self.latest + 1)},
            min_available_version=first,
            min_decryption_version=max(self.min_decryption_version, first),
        )


def most_versions(aliases: int) -> int:
    """Return how many versions each alias of a key may have, if it has `aliases` aliases."""
    return max(MAX_VERSIONS // max(aliases, 1), MIN_VERSIONS)
