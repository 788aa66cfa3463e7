"""Bearer tokens that are JWTs of an identity provider, verified (RFC 7519, RFC 8725)."""

from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final

import orjson
from joserfc import jws
from joserfc.errors import (
    BadSignatureError,
    DecodeError,
    ExceededSizeError,
    InvalidClaimError,
    InvalidKeyIdError,
    InvalidPayloadError,
    JoseError,
    UnsupportedAlgorithmError,
    UnsupportedHeaderError,
)
from joserfc.jwa import JWSAlgModel
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from minikms.access.issuer_keys import ALGORITHMS, IssuerKeys
from minikms.basics.addresses import network_of
from minikms.basics.fair_threads import FairThreads
from minikms.errors import TooBusy, Unauthenticated

PROFILES_CLAIM: Final = "minikms_profiles"
EVERY_PROFILE: Final = "*"

_MAX_LENGTH: Final = 16 * 1024

LEEWAY: Final = 30
"""Allowed difference between the provider's clock and ours, in seconds."""

# The end of the year 9999, in seconds since the epoch.
_LATEST: Final = 253_402_300_799

# Algorithms verified in a thread: one signature takes almost a millisecond.
_SLOW: Final = frozenset({"ES384", "ES512", "ES256K"})


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token that the service uses.

    `scopes` are all words of the claim `scope` (RFC 8693 section 4.2), including unknown ones.
    `profiles` are the names in the claim `minikms_profiles`: empty without the claim, and None,
    for every profile, only if the claim contains `*`. `expires` is in nanoseconds since the epoch.
    """

    subject: str
    scopes: frozenset[str]
    profiles: frozenset[str] | None
    expires: int


class _Signatures(JWSRegistry):
    """joserfc's algorithms that verify with a public key.

    Unlike joserfc, it does not warn of each `EdDSA`, a deprecated name (RFC 9864) that providers
    still use.
    """

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


# Unknown header parameters are ignored (RFC 7515 section 4), unless they are critical.
_SIGNATURES: Final = _Signatures(strict_check_header=False)


class JwtVerifier:
    """Verifies the tokens of one issuer for one audience."""

    def __init__(self, issuer: str, audience: str, keys: IssuerKeys) -> None:
        self.keys = keys
        self._claims = JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._threads = FairThreads(TooBusy, most=inf)  # the calls in flight are limited

    async def verify(self, token: str, address: str = "") -> dict[str, Any]:
        """Verify a token from an address; raises Unauthenticated without the reason.

        Returns its claims. `sub` is a string, and `exp` a number. Slow signatures are verified in
        threads, in which addresses take turns.
        """
        try:
            return await self.claims_of(token, address)
        except JoseError:
            raise _not_valid() from None

    async def claims_of(self, token: str, address: str = "") -> dict[str, Any]:
        """Verify a token as `verify`; raises JoseError, which has the reason."""
        if len(token) > _MAX_LENGTH:
            raise ExceededSizeError
        if not token.isascii():
            raise DecodeError
        try:
            signed = jws.extract_compact(token.encode(), registry=_SIGNATURES)
        except TypeError:  # joserfc accepts an array as a header: `["alg", "b64"]`
            raise DecodeError from None
        header: object = signed.headers()
        if not isinstance(header, dict) or "crit" in header:
            raise UnsupportedHeaderError
        _SIGNATURES.check_header(header)
        alg = _SIGNATURES.get_alg(header["alg"]).name
        key = await self.keys.find(alg, header.get("kid"))
        if key is None:
            raise InvalidKeyIdError
        check = partial(jws.validate_compact, signed, key, registry=_SIGNATURES)
        if alg in _SLOW:
            is_valid = await self._threads.run(network_of(address), check)
        else:
            is_valid = check()
        if not is_valid:
            raise BadSignatureError
        try:
            claims = orjson.loads(signed.payload)
        except orjson.JSONDecodeError:
            raise InvalidPayloadError from None
        if not isinstance(claims, dict):
            raise InvalidPayloadError
        self._claims.validate(claims)
        # The token is bound to a key (RFC 7800), as with DPoP (RFC 9449) and mutual TLS (RFC 8705);
        # the service does not check a proof of possession.
        if "cnf" in claims:
            raise InvalidClaimError("cnf")
        return claims


def unverified_claims(token: str) -> dict[str, Any]:
    """Return the claims of a token before it is verified; raises Unauthenticated."""
    try:
        if len(token) > _MAX_LENGTH or not token.isascii():
            raise ExceededSizeError
        payload = jws.extract_compact(token.encode(), registry=_SIGNATURES).payload
        claims = orjson.loads(payload)
    except (JoseError, orjson.JSONDecodeError, UnicodeError, KeyError, TypeError, IndexError):
        raise _not_valid() from None
    if not isinstance(claims, dict):
        raise _not_valid() from None
    return claims


def issuer_of(token: str) -> str:
    """Return the issuer that a token names, before it is verified; raises Unauthenticated."""
    issuer = unverified_claims(token).get("iss")
    return issuer if isinstance(issuer, str) else ""


def expiry_of(claims: dict[str, Any]) -> int:
    """Return the time of `exp` in nanoseconds since the epoch."""
    return int(min(claims["exp"], _LATEST)) * 1_000_000_000


def permissions_in(claims: dict[str, Any]) -> Claims:
    """Read the permissions that an issuer of scopes gives; raises Unauthenticated."""
    scope, profiles = claims.get("scope", ""), claims.get(PROFILES_CLAIM, [])
    if not isinstance(scope, str):
        raise _not_valid() from None
    if not isinstance(profiles, list) or not all(isinstance(name, str) for name in profiles):
        raise _not_valid() from None
    return Claims(
        subject=claims["sub"],
        scopes=frozenset(scope.split(" ")) - {""},
        profiles=None if EVERY_PROFILE in profiles else frozenset(profiles),
        expires=expiry_of(claims),
    )


def _not_valid() -> Unauthenticated:
    return Unauthenticated("The token is not valid.", invalid_token=True)
