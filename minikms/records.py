"""What is known of a key without opening it."""

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self, TypeAlias

import orjson

from minikms.errors import KeyNotFound, KeyNotUsable, TooManyAliases

State: TypeAlias = Literal["enabled", "disabled", "verify-only"]

# What a key that is `verify-only` does no more: it only checks and opens what was made with it.
_MAKING: Final = frozenset({"sign", "mac", "encrypt", "wrap"})

# A record lists its aliases, and is read and written as a whole.
MAX_ALIASES: Final = 1000

# How many keys that an alias named before are remembered.
_PREDECESSORS: Final = 16


class KeyRef(NamedTuple):
    """A key as a caller names it: by `kid` or by `alias`, exactly one of them."""

    kid: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What the caller asks of a new key.

    `aliases` name it from the start; `operations` narrows what it may be used for, None leaves all
    that its algorithm can; `exportable` lets its private part be read; `expires` is in nanoseconds
    since the epoch, None for never.
    """

    aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exportable: bool = False
    operations: tuple[str, ...] | None = None
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class KeySource:
    """What an imported key is made from: `jwk`, `secret`, `seed` or `wrapped`, exactly one of them.

    `alg` names its algorithm, which a JWK may tell itself; `unwrap_kid` is the key that unwraps.
    """

    alg: str | None = None
    jwk: Mapping[str, Any] | None = field(default=None, repr=False)
    secret: bytes | None = field(default=None, repr=False)
    seed: bytes | None = field(default=None, repr=False)
    wrapped: bytes | None = field(default=None, repr=False)
    unwrap_kid: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key of one profile: everything but its material.

    `jwk` is the public JWK, `b58` and `multikey` the public key's bytes as text, `did` its
    did:key; None where a key has no such form, as a symmetric one has none. `operations` are
    those that it may be used for, out of what its algorithm can. `material` says where the store
    keeps the rest: as an Askar key, as bytes, or nowhere, for a public key alone. `seq` orders a
    listing and is set by the store.

    `created`, `expires` and `deletes` are in nanoseconds since the epoch: made, `verify-only` from
    then on, and gone from then on. `state` is what the key was given, which is not all that counts:
    see `state_at`. `predecessors` has, by alias, the kids of the keys that a rotation took it from,
    the newest first.
    """

    kid: str
    alg: str
    kty: str
    jwk: Mapping[str, str] | None
    b58: str | None
    multikey: str | None
    did: str | None
    operations: tuple[str, ...]
    material: Literal["askar", "bytes", "none"]
    created: int
    exportable: bool = False
    aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    state: State = "enabled"
    seq: str = ""
    expires: int | None = None
    deletes: int | None = None
    predecessors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def state_at(self, now: int) -> State:
        """The state as its end and its scheduled deletion make it; `now` is in nanoseconds."""
        if self.deletes is not None:
            return "disabled"
        if self.state == "enabled" and self.expires is not None and self.expires <= now:
            return "verify-only"
        return self.state

    @property
    def current_state(self) -> State:
        """The state that counts now."""
        return self.state_at(time.time_ns())

    def fits(self, alg: str | None, labels: Iterable[tuple[str, str]]) -> bool:
        """Whether the key is of this algorithm, None for any, and has all of these labels."""
        return alg in (None, self.alg) and all(
            self.labels.get(name) == value for name, value in labels
        )

    @property
    def is_gone(self) -> bool:
        """Whether its deletion is due, so that nobody sees it any more."""
        return self.deletes is not None and self.deletes <= time.time_ns()

    def require_usable(self, operation: str, now: int) -> None:
        """Raise KeyNotUsable where its state at `now` excludes the operation.

        KeyNotFound where the key is gone by then.
        """
        if self.deletes is not None and self.deletes <= now:
            raise KeyNotFound()
        state = self.state_at(now)
        if state == "disabled" or (state == "verify-only" and operation in _MAKING):
            raise self.not_usable(now)

    def not_usable(self, now: int) -> KeyNotUsable:
        """The refusal that tells its state at `now`."""
        state, why = self.state_at(now), ""
        if self.deletes is not None:
            why = ": it is scheduled for deletion"
        elif state != self.state:
            why = ": it has expired"
        return KeyNotUsable(f"The key is {state}{why}.")

    def succeeding(self, old: "KeyRecord") -> Self:
        """The record once its key replaces `old`, with its aliases and labels.

        Raises TooManyAliases, which a key of an older version may have.
        """
        _require_room(len(old.aliases))
        before = {
            alias: (old.kid, *old.predecessors.get(alias, ()))[:_PREDECESSORS]
            for alias in old.aliases
        }
        return replace(self, aliases=old.aliases, labels=old.labels, predecessors=before)

    def succeeded(self) -> Self:
        """The record once another key has its place."""
        return replace(self, state="verify-only", aliases=(), predecessors={})

    def with_alias(self, alias: str) -> Self:
        """The record once `alias` names its key; raises TooManyAliases."""
        _require_room(len(self.aliases) + 1)
        return replace(self, aliases=(*self.aliases, alias))

    def without_alias(self, alias: str) -> Self:
        """The record once `alias` names its key no longer."""
        return replace(
            self,
            aliases=tuple(name for name in self.aliases if name != alias),
            predecessors={name: k for name, k in self.predecessors.items() if name != alias},
        )

    def to_bytes(self) -> bytes:
        """The record as the store keeps it."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """The record that `to_bytes` made `value` from, in this version or an older one."""
        data: dict[str, Any] = orjson.loads(value)
        # One text for all keys of a kind, since many records stay in memory.
        for name in ("alg", "kty", "material", "state"):
            data[name] = sys.intern(data[name])
        data["operations"] = tuple(map(sys.intern, data["operations"]))
        data["aliases"] = tuple(data["aliases"])
        before = data.get("predecessors", {})
        data["predecessors"] = {alias: tuple(kids) for alias, kids in before.items()}
        return cls(**data)


@dataclass(frozen=True, slots=True)
class OrphanRecord(KeyRecord):
    """The record of a key whose algorithm is not installed, which its answers say."""

    installed: ClassVar[bool] = False

    @classmethod
    def of(cls, record: KeyRecord) -> Self:
        """The same record, as one of these."""
        return cls(**{each.name: getattr(record, each.name) for each in fields(record)})


def _require_room(aliases: int) -> None:
    """Raise TooManyAliases where a key is to get more than it may have."""
    if aliases > MAX_ALIASES:
        raise TooManyAliases(f"A key has at most {MAX_ALIASES:,} aliases.")
