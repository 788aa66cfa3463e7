"""Roles: the permissions of callers whose identity an issuer or a certificate states."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from minikms.access.callers import Grant
from minikms.access.jwt import EVERY_PROFILE, LEEWAY
from minikms.access.key_source import KeySource
from minikms.profile_settings import PROFILE_PATTERN

_NOTHING: Final = object()

_PROFILE: Final = re.compile(PROFILE_PATTERN)


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer of JWTs: its name in the file, its `iss`, the accepted `aud`, and its keys."""

    name: str
    url: str
    audience: str
    source: KeySource


@dataclass(frozen=True, slots=True)
class Role:
    """A role: the callers that have it, and its scopes and profiles.

    A JWT of `issuer` has the role if each of `claims` has one of the allowed values, and if it was
    issued at most `max_age` seconds ago. A client certificate has a role with `certificate` if each
    of these kinds of names has one of the allowed values. A name in `profiles` may be the place of
    a claim, in braces, which names the profile.
    """

    name: str
    scopes: frozenset[str]
    profiles: tuple[str, ...]
    issuer: str = ""
    claims: Mapping[str, Sequence[str]] = field(default_factory=dict)
    certificate: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_age: int | None = None

    def refusal(self, claims: Mapping[str, Any], now: float) -> str | None:
        """Return why a JWT does not have this role, None if it has; for operators alone.

        `claims` are those of its issuer. The sentence names claims, but not their values.
        """
        for place, allowed in self.claims.items():
            found = claim_at(claims, place)
            values = found if isinstance(found, list) else [found]
            if found is _NOTHING:
                return f"The token has no claim {place}."
            if not any(_fits(value, allowed) for value in values):
                return f"The role does not allow the value of {place}."
        if self.max_age is not None:
            end = self.end_of(claims)
            if end is None:
                return "The role has max_age, and the token has no iat."
            if now > end:
                return f"The token is older than {self.max_age} seconds."
        if self._profiles_in(claims) == frozenset():
            return "No claim names a profile."
        return None

    def end_of(self, claims: Mapping[str, Any]) -> float | None:
        """Return when `max_age` ends the role of a JWT, in seconds since the epoch, or None."""
        issued = claims.get("iat")
        if self.max_age is None or isinstance(issued, bool) or not isinstance(issued, int | float):
            return None
        return issued + self.max_age + LEEWAY

    def grant_to(self, claims: Mapping[str, Any]) -> Grant:
        """Return what the role permits to a JWT with these claims."""
        return Grant(self.scopes, self._profiles_in(claims))

    def _profiles_in(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        if EVERY_PROFILE in self.profiles:
            return None
        return frozenset(_named(self.profiles, claims))

    def fits_certificate(self, names: Mapping[str, Sequence[str]]) -> str | None:
        """Return the certificate's first name that fits this role; None if the role does not fit.

        `names` are its subject alternative names by kind.
        """
        fitting = []
        for kind, allowed in self.certificate.items():
            found = [name for name in names.get(kind, ()) if _fits(name, allowed)]
            if not found:
                return None
            fitting.append(found[0])
        return fitting[0] if fitting else None


@dataclass(frozen=True, slots=True)
class Roles:
    """The issuers and the roles of a file."""

    issuers: tuple[Issuer, ...] = ()
    roles: tuple[Role, ...] = ()

    def only(self, name: str | None) -> Self:
        """Return the issuers with the role of this name alone; with all roles for None."""
        if name is None:
            return self
        return replace(self, roles=tuple(role for role in self.roles if role.name == name))


def claim_at(claims: Mapping[str, Any], place: str) -> Any:
    """Return the claim with a name or at a JSON Pointer (RFC 6901); a special object if missing."""
    if not place.startswith("/"):
        return claims.get(place, _NOTHING)
    found: Any = claims
    for part in place[1:].split("/"):
        member = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(member, _NOTHING)
        elif isinstance(found, list) and member.isdecimal() and int(member) < len(found):
            found = found[int(member)]
        else:
            return _NOTHING
    return found


def claim_of_profile(name: str) -> str | None:
    """Return the place of the claim that names a profile, `{place}` in a role; else None."""
    return name[1:-1] if name.startswith("{") and name.endswith("}") else None


def _named(profiles: Sequence[str], claims: Mapping[str, Any]) -> Iterator[str]:
    for name in profiles:
        place = claim_of_profile(name)
        found = name if place is None else claim_at(claims, place)
        if isinstance(found, str) and _PROFILE.match(found):
            yield found


def _fits(value: Any, allowed: Sequence[str]) -> bool:
    """Tell whether a string is allowed; `*` at the end of an allowed one stands for any rest."""
    return isinstance(value, str) and any(
        value.startswith(each[:-1]) if each.endswith("*") else value == each for each in allowed
    )
