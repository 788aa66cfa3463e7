"""The versions of an alias: the keys that it has named, by number."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import orjson

from minikms.errors import TooLargeRecord

# The most versions of an alias that are found by their numbers. A key with several aliases has so
# many together, and MIN_VERSIONS of each at least, since one rotation writes them all.
MAX_VERSIONS: Final = 1000
MIN_VERSIONS: Final = 17

# Separates the kid from the versions in the entry of an alias.
_SEPARATOR: Final = b"\n"


@dataclass(frozen=True, slots=True)
class KeyVersions:
    """The versions of an alias, and the settings that the Vault door keeps for them.

    Each rotation, and each move of the alias to another key, is the next version. `kids` are the
    keys of the versions from `first` on, without gaps: the last one is the key that the alias names
    now. A key may be deleted since, and may be the key of several versions. `min_available_version`
    is 0 as long as no version was dropped. `kept` says that the Vault door has changed the name: a
    rotation or move that would drop its oldest version is refused.
    """

    kids: tuple[str, ...]
    first: int = 1
    min_decryption_version: int = 1
    min_encryption_version: int = 0
    min_available_version: int = 0
    deletion_allowed: bool = False
    soft_deleted: bool = False
    kept: bool = False

    @classmethod
    def known(cls, kid: str, predecessors: Sequence[str]) -> Self:
        """The versions of an alias that has no stored ones; `predecessors` are newest first."""
        return cls((*reversed(predecessors), kid))

    @classmethod
    def stored(cls, value: bytes) -> Self | None:
        """The versions in the entry of an alias; None if it has only a kid."""
        _, _, versions = value.partition(_SEPARATOR)
        if not versions:
            return None
        data: dict[str, Any] = orjson.loads(versions)
        return cls(**{**data, "kids": tuple(data["kids"])})

    def to_bytes(self) -> bytes:
        """The entry of the alias: its kid, then all of this as JSON."""
        return self.latest_kid.encode() + _SEPARATOR + orjson.dumps(self)

    @property
    def latest(self) -> int:
        """The number of the newest version."""
        return self.first + len(self.kids) - 1

    @property
    def latest_kid(self) -> str:
        """The key that the alias names now."""
        return self.kids[-1]

    @property
    def shown(self) -> range:
        """The numbers of the versions that may be used to verify and decrypt."""
        return range(max(self.first, self.min_decryption_version), self.latest + 1)

    def kid_of(self, version: int) -> str | None:
        """The key of a version; None if there is no such version, or not any more."""
        return self.kids[version - self.first] if self.first <= version <= self.latest else None

    def of_kid(self, kid: str) -> int | None:
        """The number of the newest version that has this key, or None."""
        for place in range(len(self.kids) - 1, -1, -1):
            if self.kids[place] == kid:
                return self.first + place
        return None

    def followed_by(self, kid: str, aliases: int = 1) -> Self:
        """These versions and the next one, without the oldest if there are too many.

        `aliases` is the number of aliases of the key. Raises TooLargeRecord if they are `kept`.
        """
        self.require_room(aliases)
        first = self.latest + 2 - most_versions(aliases)
        return replace(self, kids=(*self.kids, kid)).trimmed(first)

    def require_room(self, aliases: int) -> None:
        """Raise TooLargeRecord if they are `kept`, and one more would drop the oldest."""
        most = most_versions(aliases)
        if self.kept and len(self.kids) >= most:
            raise TooLargeRecord(
                f"An alias of the key has {len(self.kids):,} versions, and may have {most:,} at "
                "most: trim them at the Vault door."
            )

    def trimmed(self, first: int) -> Self:
        """The versions from `first` on."""
        if first <= self.first:
            return self
        return replace(
            self,
            kids=self.kids[first - self.first :],
            first=first,
            min_available_version=first,
            min_decryption_version=max(self.min_decryption_version, first),
        )


def has_versions(value: bytes) -> bool:
    """Tell whether the entry of an alias has versions."""
    return _SEPARATOR in value


def kid_in(value: bytes) -> str:
    """The kid in the entry of an alias."""
    return value.partition(_SEPARATOR)[0].decode()


def value_as_of(value: bytes, kid: str) -> bytes:
    """The entry of an alias as it was when the alias last named a key; the kid alone if never."""
    versions = KeyVersions.stored(value)
    number = None if versions is None else versions.of_kid(kid)
    if versions is None or number is None:
        return kid.encode()
    return replace(versions, kids=versions.kids[: number + 1 - versions.first]).to_bytes()


def most_versions(aliases: int) -> int:
    """The most versions of each alias of a key that has so many aliases."""
    return max(MAX_VERSIONS // max(aliases, 1), MIN_VERSIONS)
