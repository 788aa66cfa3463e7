"""The settings of a profile, which bound its keys, its calls and their deletion."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

import orjson

# The profile of calls that do not name one.
DEFAULT_PROFILE: Final = "default"

# The names that callers may give to profiles.
PROFILE_PATTERN: Final = r"^[!-~]{1,128}\Z"

DELETE_SCOPE: Final = "keys:delete"
"""The scope to delete keys. `keys:write` also allows it, unless the settings require this scope."""

MAX_KEYS: Final = 1_000_000_000
MAX_CALLS: Final = 1_000_000
MAX_DELETION_DELAY: Final = 365 * 24 * 3600  # seconds, like `after` of a deletion
MAX_JWKS_AGE: Final = 90 * 24 * 3600  # seconds, like the longest `publish_ahead` of a key

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class ProfileSettings(NamedTuple):
    """The settings of a profile; None means no bound.

    `max_keys` limits the number of its keys, `calls_per_second` the rate of its calls. A deletion
    of a key is delayed by `min_deletion_delay` seconds or more. With `delete_scope`, callers need
    the scope `keys:delete` to delete a key. In a profile that is `frozen`, nothing changes but this
    setting. Readers may keep its JWK Set for `jwks_max_age` seconds; None requires them to ask each
    time. `unknown` keeps members that this version does not know.
    """

    max_keys: int | None = None
    min_deletion_delay: int | None = None
    calls_per_second: int | None = None
    delete_scope: bool = False
    frozen: bool = False
    jwks_max_age: int | None = None
    unknown: Mapping[str, Any] = _NOTHING

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Parse the result of `to_bytes`; empty bytes mean no settings."""
        if not value:
            return cls()
        members: dict[str, Any] = orjson.loads(value)
        known = {name: members.pop(name) for name in _NAMES if name in members}
        return cls(**known, unknown=members or _NOTHING)

    def to_bytes(self) -> bytes:
        """Encode the settings for the store: JSON, without members that have their default."""
        members = {name: value for name, value in self.shown().items() if value}
        if self.max_keys is not None:  # 0 is a bound
            members["max_keys"] = self.max_keys
        members |= self.unknown
        return orjson.dumps(members) if members else b""

    def shown(self) -> dict[str, Any]:
        """Return the members by name, as callers see them."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES: Final = tuple(name for name in ProfileSettings._fields if name != "unknown")

NO_SETTINGS: Final = ProfileSettings()
