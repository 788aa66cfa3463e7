"""Callers, and the scopes that routes need."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from minikms.errors import Forbidden, ProfileNotFound
from minikms.profile_settings import DELETE_SCOPE

SCOPES: Final = (
    "keys:read",
    "keys:write",
    "keys:export",
    DELETE_SCOPE,
    "sign",
    "verify",
    "encrypt",
    "decrypt",
    "wrap",
    "derive",
    "mac",
    "random",
    "profiles",
    "audit",
    "admin",
)
"""The permissions of callers; each route needs one of them."""

# For a scope, a wider scope that also allows its calls.
_ALSO: Final = {DELETE_SCOPE: "keys:write"}

OPEN: Final = "open"
"""Stands in place of a scope on routes that need no token."""

ANY_TOKEN: Final = "any-token"  # noqa: S105 - not a token
"""Stands in place of a scope on routes that need a token, with any scopes."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller and its permissions; `profiles` None means all profiles.

    `token` is the id of its token in the store, or empty. `created` and `expires` are the times of
    its token in nanoseconds since the epoch, None if it has none. `ids` has the ids of its profiles
    by name (store/profiles/tenancy.py), as far as its token has them.
    """

    name: str
    scopes: frozenset[str]
    profiles: frozenset[str] | None = None
    token: str = ""
    created: int | None = None
    expires: int | None = None
    ids: Mapping[str, str] = field(default_factory=dict)

    def may(self, scope: str) -> bool:
        """Tell whether the caller may make the calls of this scope."""
        return scope in self.scopes or _ALSO.get(scope) in self.scopes

    @property
    def may_delete(self) -> bool:
        """True if the caller may delete keys in every profile."""
        return DELETE_SCOPE in self.scopes

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the caller may make the calls of this scope."""
        if not self.may(scope):
            raise Forbidden(scope)

    def permit(self, profile: str) -> None:
        """Raise ProfileNotFound for a profile that is not the caller's, as if it did not exist."""
        if self.profiles is not None and profile not in self.profiles:
            raise ProfileNotFound()

    def covers(self, profiles: Collection[str] | None) -> bool:
        """Tell whether the caller may use all these profiles."""
        return self.profiles is None or (
            profiles is not None and self.profiles.issuperset(profiles)
        )


ANYBODY: Final = Caller("", frozenset(SCOPES))
"""The caller of a service that needs no token."""
