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
class KeyRecord:
    """One key of one profile: everything but its material.

    `jwk` is the public JWK and `b58` the base58 of the public key's bytes; both are None for a
    symmetric key. `material` says where the store keeps the rest: as an Askar key or as bytes.
    `created` is in nanoseconds since the epoch; `seq` orders a listing and is set by the store.
    """

    kid: str
    alg: str
    kty: str
    jwk: Mapping[str, str] | None
    b58: str | None
    material: Literal["askar", "bytes"]
    created: int
    aliases: tuple[str, ...] = ()
    state: Literal["enabled"] = "enabled"
    labels: Mapping[str, str] = field(default_factory=dict)
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
        return cls(**{**data, "aliases": tuple(data["aliases"])})
