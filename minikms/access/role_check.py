"""Which roles a JWT or a client certificate has, and why not the others: for operators alone."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cryptography import x509
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    InvalidKeyIdError,
    JoseError,
    MissingClaimError,
    UnsupportedAlgorithmError,
)

from minikms.access.callers import Grant
from minikms.access.identities import names_of
from minikms.access.issuer_keys import ALGORITHMS, IssuerKeys
from minikms.access.jwt import LEEWAY, JwtVerifier, expiry_of, issuer_of, unverified_claims
from minikms.access.roles import Issuer, Role
from minikms.access.roles_file import read_roles
from minikms.errors import Unauthenticated
from minikms.key_bounds import SECOND
from minikms.startup_errors import JwtError


class NotAccepted(Exception):
    """A token or a certificate that the service refuses, whatever the roles: one sentence."""


class Verdict(NamedTuple):
    """A role: its permissions and their end, or why it does not fit."""

    role: str
    grant: Grant | None = None
    until: str = ""
    refusal: str = ""


class Checked(NamedTuple):
    """The caller's claims or names, which roles are compared with, and the roles of its kind."""

    found: Mapping[str, Any]
    verdicts: list[Verdict]


async def check_token(file: str, token: str) -> Checked:
    """Verify a JWT by the keys of its issuer, which are read now, and compare it with the roles.

    Raises NotAccepted; AccessError for the file; JwtError if the keys cannot be read.
    """
    roles = read_roles(file)
    try:
        url = issuer_of(token)
    except Unauthenticated:
        raise NotAccepted(
            "It is not a JWT of at most 16 KiB with a header of at most 512 bytes."
        ) from None
    issuer = next((each for each in roles.issuers if each.url == url), None)
    if issuer is None:
        raise NotAccepted(f"No issuer in the file has its iss, {url!r}.")
    keys = IssuerKeys(issuer.source)
    try:
        await keys.load()
    except JwtError as exc:
        raise JwtError(f"{issuer.source.option}: {exc}") from None
    try:
        claims = await JwtVerifier(issuer.url, issuer.audience, keys).claims_of(token)
    except JoseError as exc:
        raise NotAccepted(_reason(exc, issuer, token)) from None
    verdicts = [_of_claims(role, claims) for role in roles.roles if role.issuer == issuer.name]
    return Checked(claims, verdicts)


def check_certificate(file: str, pem: bytes) -> Checked:
    """Compare the first certificate in PEM with the roles; its CA is not checked.

    Raises NotAccepted; AccessError for the file.
    """
    roles = read_roles(file)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = names_of(certificate)
    except (ValueError, TypeError, x509.InvalidVersion, x509.ExtensionNotFound):
        raise NotAccepted(
            "It is not a certificate in PEM that has subject alternative names."
        ) from None
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        raise NotAccepted(f"The certificate is valid from {_time(begin)} to {_time(end)}.")
    verdicts = [_of_names(role, names, _time(end)) for role in roles.roles if role.certificate]
    return Checked(names, verdicts)


def _of_claims(role: Role, claims: dict[str, Any]) -> Verdict:
    if refusal := role.refusal(claims, time.time()):
        return Verdict(role.name, refusal=refusal)
    expires = expiry_of(claims) // SECOND
    if (end := role.end_of(claims)) is not None:
        expires = min(expires, int(end))
    until = _time(datetime.fromtimestamp(expires, UTC))
    return Verdict(role.name, role.grant_to(claims), until)


def _of_names(role: Role, names: Mapping[str, list[str]], until: str) -> Verdict:
    if role.fits_certificate(names) is None:
        return Verdict(role.name, refusal="The role does not allow the names of the certificate.")
    return Verdict(role.name, role.grant_to({}), until)


def _reason(exc: JoseError, issuer: Issuer, token: str) -> str:
    """Return why a token is refused."""
    if isinstance(exc, MissingClaimError):
        return f"It does not have each of the claims that are needed: {exc.claim}."
    if isinstance(exc, ClaimError):
        value = json.dumps(unverified_claims(token).get(exc.claim))
        return f"Its claim {exc.claim} is {value}{_expected(exc.claim, issuer)}"
    if isinstance(exc, UnsupportedAlgorithmError):
        return f"Its alg is none of {', '.join(sorted(ALGORITHMS))}."
    if isinstance(exc, InvalidKeyIdError):
        return "Its kid and alg do not name one key of the issuer."
    if isinstance(exc, BadSignatureError):
        return "Its signature is not by the key of the issuer that it names."
    return f"It is malformed: {exc.error}."


def _expected(claim: str, issuer: Issuer) -> str:
    """Return what a claim should be, as the end of a sentence."""
    if claim == "aud":
        return f", and the audience of {issuer.name} is {issuer.audience}."
    if claim in ("exp", "nbf", "iat"):
        return f", and the time is {int(time.time())}; clocks may differ by {LEEWAY} seconds."
    if claim == "cnf":
        return ": it needs a proof of its holder's key, which the service does not take."
    return ", which is not a name."


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
