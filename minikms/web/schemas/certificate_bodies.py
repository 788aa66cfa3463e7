"""Bodies of the calls that make certificates: each request, followed by its answer."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import ValidationError, post_load, validate, validates_schema

from minikms.key_requests import AnyKey
from minikms.keys.x509.certification import CertificateRequest
from minikms.keys.x509.names import MAX_NAME, MAX_NAMES
from minikms.keys.x509.profiles import MAX_DAYS, PROFILES
from minikms.web.schemas.base import Body, ByKey, Request
from minikms.web.schemas.fields import BoundedList, Text, number
from minikms.web.schemas.named_fields import alias, certificate, jose_alg


def _subject(**kwargs: Any) -> Text:
    return Text(
        "The subject as an RFC 4514 string, such as CN=example,O=Example,C=DE.",
        validate=validate.Length(max=MAX_NAME),
        **kwargs,
    )


def _names(description: str) -> BoundedList:
    return BoundedList(
        Text(validate=validate.Length(1, MAX_NAME)),
        1,
        MAX_NAMES,
        description=f"{description} Each begins with DNS:, URI:, email: or IP:.",
        load_default=(),
    )


class CsrRequest(ByKey):
    """The subject of a certificate request."""

    max_size: ClassVar[int | None] = Request.max_size
    subject = _subject(required=True)
    alternative_names = _names("Other names of the subject.")
    alg = jose_alg(load_default=None)


class CertificateSigningRequest(Body):
    """A certificate request."""

    csr = Text("The request in PEM (RFC 2986).", required=True)


class IssueCertificateRequest(ByKey):
    """A certificate to make; `kid` or `alias` names the key that signs it."""

    max_size: ClassVar[int | None] = Request.max_size
    profile = Text(
        "The kind of certificate, which decides its extensions and bounds.",
        component="CertificateProfile",
        required=True,
        validate=validate.OneOf(tuple(PROFILES)),
    )
    subject = _subject()
    alternative_names = _names("Other names of the subject; by default the names in csr.")
    csr = Text("The request of the subject, in PEM (RFC 2986).")
    key = Text(
        "Kid or alias of the subject's key, if it is in the same profile.",
        validate=alias().validate,
    )
    days = number("Days of validity, which begins five minutes before the call.", MAX_DAYS)
    issuer_alternative_names = _names("Names by which the issuer can be reached.")
    crl = Text("The URI of the issuer's revocation list.", validate=validate.Length(1, MAX_NAME))

    @validates_schema
    def _has_a_subject(self, data: Mapping[str, Any], **_: Any) -> None:
        if "csr" in data and "key" in data:
            raise ValidationError("Give at most one of csr and key.", "key")
        if "csr" not in data and "subject" not in data:
            raise ValidationError("Required without csr.", "subject")
        if not (PROFILES[data["profile"]].is_ca or "csr" in data or "key" in data):
            raise ValidationError("Give one of csr and key for this profile.", "csr")

    @post_load
    def _to_request(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        names = (
            *("profile", "subject", "alternative_names", "csr", "key", "days"),
            *("issuer_alternative_names", "crl"),
        )
        given = {name: data.pop(name) for name in names if name in data}
        if "key" in given:
            given["key"] = AnyKey.named(given["key"])
        return {"request": CertificateRequest(**given), **data}


class IssuedCertificate(Body):
    """A certificate."""

    certificate = certificate(required=True)
