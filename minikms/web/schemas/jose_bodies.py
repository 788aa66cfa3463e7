"""Bodies of JWS and JWK Sets: each request, followed by its answer."""

from collections.abc import Mapping
from typing import Any, Final, get_args

import orjson
from marshmallow import ValidationError, post_load, validate, validates_schema

from minikms.basics.claim_names import is_taken_for
from minikms.credentials.jose import jws, jws_forms
from minikms.credentials.jose.attestation import (
    BY_APPROVAL,
    MAX_CLAIM_BYTES,
    OWN_CLAIMS,
    Attestation,
)
from minikms.key_bounds import MAX_ALIAS
from minikms.key_requests import AnyKey
from minikms.web.schemas.base import Body, ByKey, ByKeyOrJwk, made_of
from minikms.web.schemas.fields import (
    Base64Url,
    BoundedList,
    Flag,
    JoseValue,
    ListOf,
    Object,
    Text,
    number,
)
from minikms.web.schemas.named_fields import CertificateHeader, jose_alg, jwk

MAX_ATTESTED: Final = 100
MAX_DISCLOSURES: Final = 1024
MAX_LIFE: Final = 366 * 24 * 3600  # seconds


def _not_reserved(header: Mapping[str, Any]) -> None:
    if not jws.RESERVED.isdisjoint(header):
        raise ValidationError("The service sets alg, kid, b64 and crit.")
    if jws_forms.too_deep(header):
        raise ValidationError("It is nested too deeply.")
    if name := jws_forms.mistyped(header, jws_forms.MEMBERS):
        raise ValidationError(f"The value of {name} has the wrong type.")


def _certificate_header() -> CertificateHeader:
    return CertificateHeader(
        "The key's certificate in the header: none (the default), its chain without a self-signed "
        "root (x5c), its thumbprint (x5t#S256), or a list of both.",
        get_args(jws.CertificateMember),
        component="CertificateHeader",
    )


def _disclosures() -> BoundedList:
    return BoundedList(
        Text(),
        0,
        MAX_DISCLOSURES,
        description="Disclosures of an SD-JWT (RFC 9901), for a key whose rules require them.",
        load_default=(),
    )


class SignJwsRequest(ByKey):
    """A payload to sign as JWS."""

    payload = Base64Url("The payload.", required=True)
    header = Object(
        "More members of the header, except alg, kid, b64 and crit.",
        load_default=dict,
        validate=_not_reserved,
    )
    alg = jose_alg(load_default=None)
    detached = Flag(
        "Omit the payload from the JWS, and sign it unencoded (RFC 7797); false by default.",
        load_default=False,
    )
    kid_header = Text(
        "The kid in the header, if an alias names the key: the alias (the "
        "default), the key's own kid, which a rotation does not move to another key, or none, even "
        "if the call names the key by its kid.",
        component="KidHeader",
        load_default="alias",
        validate=validate.OneOf(get_args(jws.KidHeader)),
    )
    certificate_header = _certificate_header()
    serialization = Text(
        "Serialization (RFC 7515 section 7); compact by default.",
        component="JwsSerialization",
        load_default="compact",
        validate=validate.OneOf(get_args(jws_forms.Serialization)),
    )
    disclosures = _disclosures()

    @validates_schema
    def _no_two_certificates(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data["header"].keys().isdisjoint(data["certificate_header"]):
            raise ValidationError("certificate_header has a member of the header.", "header")


class SignSigningInputRequest(ByKey):
    """The header and the payload of a JWS, as a library has made them, to sign as they are."""

    signing_input = Text(
        "The JWS Signing Input (RFC 7515 section 5.1): header and payload, encoded, with a dot.",
        required=True,
    )
    disclosures = _disclosures()


class JwsSignature(Body):
    """A JWS."""

    jws = JoseValue("The JWS: a string if compact, else an object.", required=True)


class VerifyJwsRequest(ByKeyOrJwk):
    """A JWS to verify."""

    jws = JoseValue("The JWS, in any serialization (RFC 7515).", required=True)
    payload = Base64Url("The payload of a detached JWS.", load_default=None)


class JwsVerification(Body):
    """The result of a verification; the payload is null if the JWS is not valid."""

    valid = Flag(required=True)
    header = Object(required=True, allow_none=True)
    payload = Base64Url("The payload.", required=True, allow_none=True)


_OF_SERVICE: Final = "The service states this value, by the member approval."


def _texts(description: str, *refused: str) -> BoundedList:
    each = Text(validate=(validate.Length(1, 256), validate.NoneOf(refused, error=_OF_SERVICE)))
    return BoundedList(each, 1, 16, description=description, load_default=None)


def _further(claims: Mapping[str, Any]) -> None:
    if jws_forms.too_deep(claims):
        raise ValidationError("It is nested too deeply.")
    if len(orjson.dumps(claims)) > MAX_CLAIM_BYTES:
        raise ValidationError(f"Longer than {MAX_CLAIM_BYTES:,} bytes.")
    for name in claims:
        if is_taken_for(name, OWN_CLAIMS):
            raise ValidationError({name: ["The service writes this claim."]})


class AttestKeysRequest(ByKey):
    """Keys to attest, the key that signs, and claims about them."""

    keys = BoundedList(
        Text("The kid or an alias of a key.", validate=validate.Length(1, MAX_ALIAS)),
        1,
        MAX_ATTESTED,
        description="The attested keys, each by its kid or an alias.",
        required=True,
    )
    nonce = Text("Nonce of the issuer.", validate=validate.Length(1, 1024), load_default=None)
    audience = Text(
        "Audience (`aud`), such as the issuer.",
        validate=validate.Length(1, 1024),
        load_default=None,
    )
    expires_in = number("Seconds until it expires; 300 by default.", MAX_LIFE, load_default=300)
    certificate_header = _certificate_header()
    key_storage = _texts("Caller's claim: resistance of the key storage (OpenID4VCI 1.0).")
    user_authentication = _texts(
        "Caller's claim: resistance of the user authentication; not `approval`.", BY_APPROVAL
    )
    certification = Text(
        "Caller's claim: URL of the certification of the key storage.",
        validate=validate.Length(1, 2048),
        load_default=None,
    )

    claims = Object(
        "Further claims, such as key_storage_status (EUDI Wallet, TS3 1.5), of at most "
        f"{MAX_CLAIM_BYTES:,} bytes; none of {', '.join(sorted(OWN_CLAIMS))}.",
        load_default=dict,
        validate=_further,
    )
    allow_imported = Flag(
        "Also attest imported keys, of which copies may exist elsewhere; false by default.",
        load_default=False,
    )
    approval = Flag(
        "Attest only keys with the rule `approval`, and begin `user_authentication` with "
        "`approval`; false by default.",
        load_default=False,
    )

    @post_load
    def _to_attestation(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["keys"] = tuple(AnyKey.named(text) for text in data["keys"])
        return {"attestation": made_of(Attestation, data), **data}


class AttestationJwt(Body):
    """A key attestation."""

    jwt = Text("The attestation, a compact JWS.", required=True)


class JwkSet(Body):
    """Public keys (RFC 7517 section 5)."""

    keys = ListOf(jwk("A public JWK."), required=True)
