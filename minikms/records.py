"""What is known of a key without opening it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import orjson


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key as a caller names it: by `kid` or by `alias`, exactly one of them."""

    kid: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What the caller asks of a new key.

    `aliases` name it from the start; `operations` narrows what it may be used for, None leaves all
    that its algorithm can; `exportable` lets its private part be read.
    """

    aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exportable: bool = False
    operations: tuple[str, ...] | None = None


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
    keeps the rest: as an Askar key, as bytes, or nowhere, for a public key alone. `created` is in
    nanoseconds since the epoch; `seq` orders a listing and is set by the store.
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
    state: Literal["enabled"] = "enabled"
    seq: str = ""

    def with_alias(self, alias: str) -> Self:
        """The record once `alias` names its key."""
        return replace(self, aliases=(*self.aliases, alias))

    def without_alias(self, alias: str) -> Self:
        """The record once `alias` names its key no longer."""
        return replace(self, aliases=tuple(name for name in self.aliases if name != alias))

    def to_bytes(self) -> bytes:
        """The record as the store keeps it."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """The record that `to_bytes` made `value` from."""
        data: dict[str, Any] = orjson.loads(value)
        lists = {name: tuple(data[name]) for name in ("aliases", "operations")}
        return cls(**{**data, **lists})
