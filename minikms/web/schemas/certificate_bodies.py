"""Bodies of the calls that make certificates: each request, followed by its answer."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from cryptography import x509
from marshmallow import ValidationError, post_load, validate, validates_schema

from minikms.credentials.x509.certification import CertificateRequest
from minikms.credentials.x509.names import MAX_NAME, MAX_NAMES, MAX_POLICIES, MAX_POLICY
from minikms.credentials.x509.profiles import MAX_DAYS, PROFILES
from minikms.credentials.x509.revocation import MAX_CRL_DAYS, MAX_CRL_NUMBER, MAX_REVOKED
from minikms.errors import ValidationFailed
from minikms.key_bounds import SECOND
from minikms.key_requests import AnyKey
from minikms.web.schemas.base import Body, ByKey, Request, made_of
from minikms.web.schemas.fields import BoundedList, Converted, Flag, LongList, Part, Text, number
from minikms.web.schemas.named_fields import alias, certificate, jose_alg
from minikms.web.schemas.times import Timestamp

_SERIAL_PATTERN: Final = r"^[0-9A-Fa-f]{1,40}\Z"
_SERIAL: Final = re.compile(_SERIAL_PATTERN)


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


def _uri(description: str) -> Text:
    return Text(description, validate=validate.Length(1, MAX_NAME))


class SerialNumber(Converted):
    """The serial number of a certificate, in hexadecimal digits (RFC 5280 section 4.1.2.2)."""

    fault = "Must be a positive number of at most 40 hexadecimal digits, below 2^159."

    def __init__(self, description: str, **kwargs: Any) -> None:
        super().__init__(description, metadata={"pattern": _SERIAL_PATTERN}, **kwargs)

    def convert(self, text: str) -> int:
        if not _SERIAL.match(text) or not 0 < (serial := int(text, 16)) < 1 << 159:
            raise ValueError
        return serial


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
    crl = _uri("The URI of the issuer's revocation list.")
    policies = BoundedList(
        Text(validate=validate.Length(1, MAX_POLICY)),
        1,
        MAX_POLICIES,
        description="The object identifiers of the certificate's policies.",
        load_default=(),
    )
    cps = _uri("The URI of the issuer's practice statement, beside each policy.")
    issuer_url = _uri("The URI of the issuer's certificate.")
    document_signing = Flag("Add the purpose of signing documents (RFC 9336).")

    @validates_schema
    def _has_a_subject(self, data: Mapping[str, Any], **_: Any) -> None:
        if "csr" in data and "key" in data:
            raise ValidationError("Give at most one of csr and key.", "key")
        if "csr" not in data and "subject" not in data:
            raise ValidationError("Required without csr.", "subject")
        if not (PROFILES[data["profile"]].is_ca or "csr" in data or "key" in data):
            raise ValidationError("Give one of csr and key for this profile.", "csr")
        if "cps" in data and not data["policies"]:
            raise ValidationError("Give policies with it.", "cps")
        if data.get("document_signing") and not PROFILES[data["profile"]].may_sign_documents:
            raise ValidationError("Not for this profile.", "document_signing")

    @post_load
    def _to_request(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "key" in data:
            data["key"] = AnyKey.named(data["key"])
        return {"request": made_of(CertificateRequest, data), **data}


class IssuedCertificate(Body):
    """A certificate."""

    certificate = certificate(required=True)


_EPOCH: Final = datetime(1970, 1, 1)


class RevokedCertificate(Request):
    """A revoked certificate."""

    serial = SerialNumber("Serial number, hexadecimal.", required=True)
    date = Timestamp("Time of the revocation.", required=True)

    @post_load
    def _to_entry(self, data: dict[str, Any], **_: Any) -> x509.RevokedCertificate:
        date = _EPOCH + timedelta(seconds=data["date"] // SECOND)
        return x509.RevokedCertificateBuilder(data["serial"], date).build()


_REVOKED: Final = Part(RevokedCertificate)


class _Entries(Request):
    """Some entries of a revocation list, which a thread reads."""

    revoked = BoundedList(_REVOKED, 0, MAX_REVOKED)


_ENTRIES: Final = _Entries()


class CrlRequest(ByKey):
    """A revocation list to make; `kid` or `alias` names the key that signs it."""

    max_size: ClassVar[int | None] = Request.max_size
    list_size: ClassVar[int] = 3 * 1024 * 1024  # 157 bytes for each entry
    max_values: ClassVar[int] = 4 * MAX_REVOKED  # an entry has three
    days = number("Days until the next list, at most.", MAX_CRL_DAYS)
    number = number("Number of the list, larger than in the list before.", MAX_CRL_NUMBER, least=0)
    revoked = LongList(
        _REVOKED, 0, MAX_REVOKED, required=True, description="The revoked certificates."
    )


def read_entries(items: list[Any], places: Sequence[int]) -> list[x509.RevokedCertificate]:
    """Load `items[places[0]]` to `items[places[-1]]` of `revoked`; raises ValidationFailed."""
    read: list[x509.RevokedCertificate]
    try:
        read = _ENTRIES.parse({"revoked": items[places[0] : places[-1] + 1]})["revoked"]
    except ValidationFailed as exc:
        errors = [_moved(*error, places[0]) for error in exc.errors]
        raise ValidationFailed(errors=errors) from None
    return read


def _moved(at: str, what: str, by: int) -> tuple[str, str]:
    """Move the pointer of a fault to an item that stands further behind in its list."""
    start, name, place, *rest = at.split("/")
    return "/".join((start, name, str(int(place) + by), *rest)), what


class SignedRevocationList(Body):
    """A revocation list."""

    crl = Text("The list in PEM (RFC 5280 section 5).", required=True)
