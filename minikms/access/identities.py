"""Callers that issuers of JWTs and authorities of client certificates vouch for."""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Self

from cryptography import x509

from minikms.access.callers import CERTIFICATE, SCOPES, Caller, granted
from minikms.access.issuer_keys import IssuerKeys
from minikms.access.jwt import JwtVerifier, expiry_of, issuer_of, permissions_in
from minikms.access.key_source import KeySource
from minikms.access.logins import Logins
from minikms.access.roles import Issuer, Role, Roles
from minikms.access.roles_file import read_roles
from minikms.basics import clocks
from minikms.errors import Unauthenticated
from minikms.key_bounds import SECOND
from minikms.startup_errors import AccessError, JwtError

LOGGER = logging.getLogger(__name__)

# A JWT has three parts with dots between them; the name of a role has no dot.
_DOTS_WITH_ROLE: Final = 3

# The number of client certificates whose callers are kept.
_MOST_CERTIFICATES: Final = 1000


class Identity(NamedTuple):
    """A caller, and a function that tells whether its issuer and roles are unchanged."""

    caller: Caller
    is_current: Callable[[], bool]


class _Known(NamedTuple):
    """An issuer of the file; None is the one of `--jwt-issuer`, whose tokens have scopes."""

    issuer: Issuer | None
    verifier: JwtVerifier


class Identities:
    """The issuers of JWTs with their keys, and the roles.

    `own` verifies the tokens of `--jwt-issuer`, whose `iss` is `own_url`.
    """

    def __init__(
        self,
        roles: Roles,
        own: JwtVerifier | None = None,
        own_url: str = "",
        *,
        clock: Callable[[], float] = clocks.now,
    ) -> None:
        """Read the files of keys; raises AccessError and JwtError."""
        self._own = {own_url: _Known(None, own)} if own else {}
        self._clock = clock
        self._by_url: dict[str, _Known] = {}
        self.logins = Logins()
        self._use(roles, self._known(roles))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Read the keys of all issuers before the block; end reads after it."""
        try:
            if reading := list(filter(None, (each.start() for each in self._keys()))):
                await asyncio.wait(reading)
            yield self
        finally:
            await asyncio.gather(*(each.stop() for each in self._keys()))

    async def renew(self, file: str) -> None:
        """Use the roles in a file from now on; if it is wrong, log why, and keep the roles.

        An unchanged issuer keeps its keys.
        """
        try:
            roles = read_roles(file)
            by_url = self._known(roles)
        except (AccessError, JwtError) as exc:
            LOGGER.error("%s The roles stay as they were.", exc)
            return
        LOGGER.info("the roles in %s were read", file)
        before = self._by_url
        self._use(roles, by_url)
        added = [known for known in by_url.values() if known not in before.values()]
        ended = [known for known in before.values() if known not in by_url.values()]
        for known in added:
            known.verifier.keys.start()
        await asyncio.gather(*(known.verifier.keys.stop() for known in ended))

    async def identify(self, token: str, address: str = "") -> Identity:
        """Verify a JWT from an address, by the keys of its issuer; raises Unauthenticated.

        The caller has no scopes if no role fits. The token of `in_role` is verified like its JWT.
        """
        try:
            identity = await self._identify(token, address)
        except Unauthenticated:
            self.logins.count(None)
            raise
        self.logins.count(identity.caller)
        return identity

    async def _identify(self, token: str, address: str) -> Identity:
        role, jwt = _parts_of(token)
        known = self._by_url.get(issuer_of(jwt))
        if known is None or (role is not None and known.issuer is None):
            raise Unauthenticated("The token is not valid.", invalid_token=True)
        roles, keys = self._roles, known.verifier.keys
        generation = keys.generation
        claims = await known.verifier.verify(jwt, address)
        if known.issuer is None:
            caller = _own_caller(claims)
        else:
            caller = _caller_of_claims(roles.only(role), known.issuer, claims)
        return Identity(caller, lambda: self._roles is roles and keys.are_still(generation))

    def in_role(self, jwt: str, role: str) -> str:
        """Return a token that carries a JWT and a role: its caller has this role alone.

        A JWT of `--jwt-issuer`, to which roles do not apply, is returned as it is.
        """
        try:
            known = self._by_url.get(issuer_of(jwt))
        except Unauthenticated:
            known = None
        return jwt if known and known.issuer is None else f"{role}.{jwt}"

    def of_certificate(self, certificate: bytes, role: str | None = None) -> Caller | None:
        """Return the caller of a verified client certificate in DER, None if it has no role.

        With the name of a role, the caller has this role alone.
        """
        caller = self._of_certificate(certificate, role)
        return None if caller is None or caller.expired else caller

    def _keys(self) -> list[IssuerKeys]:
        return [known.verifier.keys for known in self._by_url.values()]

    def _use(self, roles: Roles, by_url: dict[str, _Known]) -> None:
        self._roles, self._by_url = roles, by_url
        self.logins.begin(role.name for role in roles.roles)

        @functools.lru_cache(_MOST_CERTIFICATES)
        def of_certificate(certificate: bytes, role: str | None) -> Caller | None:
            caller = _caller_of_certificate(roles, certificate, role)
            self.logins.count(caller)
            return caller

        self._of_certificate = of_certificate

    def _known(self, roles: Roles) -> dict[str, _Known]:
        before = {known.issuer: known for known in self._by_url.values()}
        by_url = dict(self._own)
        for issuer in roles.issuers:
            if issuer.url in by_url:
                raise AccessError(f"--roles: The issuer {issuer.name} is the one of --jwt-issuer.")
            by_url[issuer.url] = before.get(issuer) or _Known(
                issuer,
                JwtVerifier(
                    issuer.url, issuer.audience, IssuerKeys(issuer.source, clock=self._clock)
                ),
            )
        return by_url


def _parts_of(token: str) -> tuple[str | None, str]:
    """Return the role and the JWT of a token; the role is None for a JWT alone."""
    if token.count(".") < _DOTS_WITH_ROLE:
        return None, token
    role, _, jwt = token.partition(".")
    return role, jwt


def _own_caller(claims: dict[str, Any]) -> Caller:
    found = permissions_in(claims)
    scopes = found.scopes & frozenset(SCOPES)
    return Caller(found.subject, scopes, found.profiles, expires=found.expires)


def _caller_of_claims(roles: Roles, issuer: Issuer, claims: dict[str, Any]) -> Caller:
    fitting = []
    for role in roles.roles:
        if role.issuer == issuer.name:
            refusal = role.refusal(claims, time.time())
            if refusal is None:
                fitting.append(role)
            else:
                LOGGER.debug("%s: %s", role.name, refusal)
    ends = [end for role in fitting if (end := role.end_of(claims)) is not None]
    expires = min([expiry_of(claims), *(int(end * SECOND) for end in ends)])
    return _with_roles(issuer.name, claims["sub"], fitting, claims, expires)


def _with_roles(
    issuer: str, subject: str, roles: list[Role], claims: dict[str, Any], expires: int
) -> Caller:
    return Caller(
        f"{issuer}:{subject}",
        expires=expires,
        issuer=issuer,
        subject=subject,
        roles=tuple(role.name for role in roles),
        **granted([role.grant_to(claims) for role in roles]),
    )


def _caller_of_certificate(roles: Roles, certificate: bytes, only: str | None) -> Caller | None:
    """Return the caller of a client certificate in DER, None if it has no role."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        by_kind = names_of(parsed)
        expires = int(parsed.not_valid_after_utc.timestamp()) * SECOND
    except (ValueError, TypeError, x509.InvalidVersion, x509.ExtensionNotFound):
        return None
    fitting = [
        (role, name) for role in roles.only(only).roles if (name := role.fits_certificate(by_kind))
    ]
    if not fitting:
        return None
    (_, subject), *_ = fitting
    return _with_roles(CERTIFICATE, subject, [role for role, _ in fitting], {}, expires)


def names_of(certificate: x509.Certificate) -> dict[str, list[str]]:
    """Return the names of a certificate that count for roles, by kind; none of a CA.

    Raises ValueError, TypeError and ExtensionNotFound. An X.509-SVID has exactly one URI (its
    specification, section 2).
    """
    values = [extension.value for extension in certificate.extensions]
    if any(isinstance(value, x509.BasicConstraints) and value.ca for value in values):
        return {}
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return {
        "uri": uris if len(uris) == 1 else [],
        "dns": names.get_values_for_type(x509.DNSName),
        "email": names.get_values_for_type(x509.RFC822Name),
    }


def make_identities(
    roles_file: str = "", issuer: str = "", audience: str = "", jwks: str = ""
) -> Identities:
    """Make the identities of `--roles` and `--jwt-…`; raises AccessError and JwtError."""
    own, options = None, (issuer, audience, jwks)
    if any(options):
        if not all(options):
            raise JwtError("--jwt-issuer, --jwt-audience and --jwt-jwks must be given together.")
        own = JwtVerifier(issuer, audience, IssuerKeys(KeySource(jwks)))
    return Identities(read_roles(roles_file) if roles_file else Roles(), own, issuer)
