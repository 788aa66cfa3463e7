"""Callers, and the scopes that routes need."""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Self

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
    "approvals",
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


CERTIFICATE: Final = "certificate"
"""Stands in place of the issuer in the names of callers with a client certificate."""


class Grant(NamedTuple):
    """Scopes in profiles; `profiles` None means all profiles."""

    scopes: frozenset[str]
    profiles: frozenset[str] | None

    def has(self, scope: str) -> bool:
        """Tell whether it permits the calls of this scope."""
        return scope in self.scopes or _ALSO.get(scope) in self.scopes

    def covers(self, profiles: Collection[str] | None) -> bool:
        """Tell whether it is valid in all these profiles."""
        return self.profiles is None or (
            profiles is not None and self.profiles.issuperset(profiles)
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller and its permissions; `profiles` None means all profiles.

    `token` is the id of its token in the store, or empty. `created` and `expires` are the times of
    its token in nanoseconds since the epoch, None if it has none. `ids` has the ids of its profiles
    by name (store/profiles/tenancy.py), as far as its token has them.

    A caller with `roles` is the `subject` of an `issuer`. If its roles have different scopes in
    different profiles, `grants` has them: then it does not have all its scopes in all its profiles.
    """

    name: str
    scopes: frozenset[str]
    profiles: frozenset[str] | None = None
    token: str = ""
    created: int | None = None
    expires: int | None = None
    ids: Mapping[str, str] = field(default_factory=dict)
    issuer: str = ""
    subject: str = ""
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.expires <= time.time_ns()

    def may(self, scope: str) -> bool:
        """Tell whether the caller may make the calls of this scope."""
        return Grant(self.scopes, self.profiles).has(scope)

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
        return Grant(self.scopes, self.profiles).covers(profiles)

    @property
    def has_no_role(self) -> bool:
        """True for a caller of an issuer to whom no role fits."""
        return bool(self.issuer) and not self.roles

    def with_scopes(self, scopes: Iterable[str]) -> Self:
        """Return the caller in the profiles in which it has all these scopes; raises Forbidden."""
        if self.has_no_role:
            raise Forbidden(detail="No role fits the caller.")
        caller = self
        for scope in scopes:
            caller.require(scope)
            if caller.grants:
                caller = caller._granted([grant for grant in caller.grants if grant.has(scope)])
        return caller

    def in_profile(self, profile: str) -> Self:
        """Return the caller with its scopes in a profile; raises ProfileNotFound."""
        self.permit(profile)
        if not self.grants:
            return self
        return self._granted([grant for grant in self.grants if grant.covers((profile,))])

    def _granted(self, grants: list[Grant]) -> Self:
        return replace(self, **granted(grants))


def granted(grants: Collection[Grant]) -> dict[str, Any]:
    """Return the members of a caller with these grants."""
    profiles = [grant.profiles for grant in grants if grant.profiles is not None]
    all_scopes = frozenset[str]().union(*(grant.scopes for grant in grants))
    in_all = len(profiles) < len(grants)
    all_profiles = None if in_all else frozenset[str]().union(*profiles)
    differ = any(grant != Grant(all_scopes, all_profiles) for grant in grants)
    return {
        "scopes": all_scopes,
        "profiles": all_profiles,
        "grants": tuple(grants) if differ else (),
    }


ANYBODY: Final = Caller("", frozenset(SCOPES))
"""The caller of a service that needs no token."""
