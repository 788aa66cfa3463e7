"""Requests of callers: references to keys, and the settings and the source of a new key."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

from minikms.errors import TooLargeRecord, ValidationFailed
from minikms.key_bounds import (
    ALIAS_PATTERN,
    MAX_ALIAS,
    MAX_BATCH_BYTES,
    bytes_of_labels,
    require_room,
    require_small_labels,
)
from minikms.rules import Rules

# If an alias already names another key: move it, or refuse the call.
AliasTaken: TypeAlias = Literal["move", "refuse"]

# How an alias is bound. Besides the callers' choices: "leave" leaves an alias with another key,
# "create" refuses an existing alias, even of the same key, and "update" refuses a new one.
AliasBinding: TypeAlias = AliasTaken | Literal["leave", "create", "update"]

_ALIAS: Final = re.compile(ALIAS_PATTERN)
# A thumbprint, or a random kid of the same length (keys/making.py).
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def require_own_aliases(reserved: Iterable[str], *aliases: str | None) -> None:
    """Raise ValidationFailed for an alias with a `reserved` prefix, or an invalid one."""
    for alias in aliases:
        if alias is None:
            continue
        what = None
        if len(alias) > MAX_ALIAS or not _ALIAS.match(alias):
            what = f"An alias has 1 to {MAX_ALIAS:,} characters, and no control characters."
        for prefix in reserved:
            if alias.startswith(prefix):
                what = f"An alias that begins with {prefix!r} belongs to another protocol."
        if what is not None:
            raise ValidationFailed(what, errors=[("#/alias", what)])


class KeyRef(NamedTuple):
    """A reference to a key, by exactly one of `kid` and `alias`."""

    kid: str | None = None
    alias: str | None = None


class AnyKey(NamedTuple):
    """References to keys; the first usable one is used."""

    refs: tuple[KeyRef, ...]

    @classmethod
    def named(cls, text: str) -> "KeyRef | Self":
        """Refer to the key that a string names: by its kid, or else by its alias.

        Only a string that looks like a kid is looked up as one, which saves a read for most
        aliases.
        """
        by_alias = KeyRef(alias=text)
        return cls((KeyRef(kid=text), by_alias)) if _KID.match(text) else by_alias


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """The settings of a new key, from its caller.

    `alias_taken` applies if an alias names another key. `operations` are the allowed operations;
    None allows all but the opt-in ones. `exportable` allows the export of the private part.
    `expires` is in nanoseconds since the epoch, None for never. `rules` are None for none.
    `rotate_every` is the number of seconds between scheduled rotations, None without them. With
    `keep_versions`, rotations leave earlier keys of new aliases enabled (versions.py).
    `provider` is the provider that makes and keeps the key, None for the service itself.
    `delete_after` is the number of seconds after which the key is deleted, None for never.
    `publish_ahead` and `retire_after` are as those of KeyRecord.
    """

    aliases: tuple[str, ...] = ()
    alias_taken: AliasTaken = "move"
    labels: Mapping[str, str] = field(default_factory=dict)
    exportable: bool = False
    operations: tuple[str, ...] | None = None
    expires: int | None = None
    rules: Rules | None = None
    rotate_every: int | None = None
    provider: str | None = None
    keep_versions: bool = False
    delete_after: int | None = None
    publish_ahead: int | None = None
    retire_after: int | None = None

    def require_bounded(self, count: int = 1) -> None:
        """Raise TooManyAliases or TooLargeRecord if the settings are too large for `count` keys."""
        if self.aliases:
            require_room(self.aliases)
        if not self.labels and self.rules is None:
            return
        size = bytes_of_labels(self.labels)
        require_small_labels(size)
        if self.rules is not None:
            size += self.rules.size
        if size * count > MAX_BATCH_BYTES:
            raise TooLargeRecord(
                f"The labels and rules of all keys have at most {MAX_BATCH_BYTES:,} bytes together."
            )


@dataclass(frozen=True, slots=True)
class KeySource:
    """The material of an imported key: exactly one of `jwk`, `secret`, `seed` and `wrapped`.

    `alg` names its algorithm, unless the JWK does; `unwrap_kid` is the key that unwraps.
    """

    alg: str | None = None
    jwk: Mapping[str, Any] | None = field(default=None, repr=False)
    secret: bytes | None = field(default=None, repr=False)
    seed: bytes | None = field(default=None, repr=False)
    wrapped: bytes | None = field(default=None, repr=False)
    unwrap_kid: str | None = None
