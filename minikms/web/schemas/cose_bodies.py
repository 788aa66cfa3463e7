"""Bodies of COSE: each request, followed by its answer."""

from collections.abc import Mapping
from typing import Any, get_args

from marshmallow import ValidationError, validate, validates_schema

from minikms.credentials.cose.certificates import PARAMETERS
from minikms.credentials.jose.jws import KidHeader
from minikms.web.schemas.base import Body, ByKey, ByKeyOrJwk
from minikms.web.schemas.fields import Base64Url, Flag, MediaType, Text
from minikms.web.schemas.named_fields import CertificateHeader, jose_alg


class SignCoseRequest(ByKey):
    """A payload to sign as COSE_Sign1."""

    payload = Base64Url("The payload.", required=True)
    alg = jose_alg(load_default=None)
    detached = Flag("Omit the payload from the message; false by default.", load_default=False)
    external_aad = Base64Url(
        "Data that is signed, and not in the message; empty by default.", load_default=b""
    )
    content_type = MediaType("The content type of the payload (3).")
    typ = MediaType("The type of the message (16, RFC 9596).")
    protected = Base64Url("More protected header parameters, as a CBOR map.", load_default=None)
    unprotected = Base64Url("More unprotected header parameters, as a CBOR map.", load_default=None)
    kid_header = Text(
        "The kid (4) in the unprotected header: the key's own (the default), the alias that names "
        "the key, or none.",
        component="CoseKidHeader",
        load_default="kid",
        validate=validate.OneOf(get_args(KidHeader)),
    )
    certificate_header = CertificateHeader(
        "The key's certificate in the header: none (the default), its chain without a self-signed "
        "root (x5chain, 33), its thumbprint (x5t, 34), or a list of both. Each is in the "
        "unprotected header, or with -protected behind its name in the protected one.",
        [*PARAMETERS],
        component="CoseCertificateHeader",
    )
    tagged = Flag("Tag the message (18; COSE_Mac0: 17); true by default.", load_default=True)

    @validates_schema
    def _each_label_once(self, data: Mapping[str, Any], **_: Any) -> None:
        labels = [PARAMETERS[name].label for name in data["certificate_header"]]
        if len({*labels}) != len(labels):
            fault = "A parameter is either protected or unprotected."
            raise ValidationError(fault, "certificate_header")


class SignSigStructureRequest(ByKey):
    """The bytes to sign of a COSE_Sign1, as a library has made them."""

    sig_structure = Base64Url(
        "The Sig_structure (RFC 9052 section 4.4); of a MAC key, the MAC_structure (section 6.3).",
        required=True,
    )


class CoseMessage(Body):
    """A COSE message."""

    cose = Base64Url("The COSE_Sign1; for a MAC key the COSE_Mac0.", required=True)


class VerifyCoseRequest(ByKeyOrJwk):
    """A COSE message to verify."""

    cose = Base64Url("The COSE_Sign1; for a MAC key the COSE_Mac0.", required=True)
    payload = Base64Url("The payload of a detached message.", load_default=None)
    external_aad = Base64Url(
        "Data that is signed, and not in the message; empty by default.", load_default=b""
    )


class CoseVerification(Body):
    """The result of a verification; the payload is null if the message is not valid."""

    valid = Flag(required=True)
    payload = Base64Url("The payload.", required=True, allow_none=True)
    protected = Base64Url("The protected header parameters, as a CBOR map.", required=True)
    unprotected = Base64Url("The unprotected header parameters, as a CBOR map.", required=True)
