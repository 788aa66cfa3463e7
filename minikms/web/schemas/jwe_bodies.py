"""Bodies of JWE: each request, followed by its answer."""

from typing import Any, ClassVar

from marshmallow import post_load, validate

from minikms.credentials.jose.jwe_encryption import EncryptJwe, JweRecipient
from minikms.credentials.jose.jwe_forms import MAX_RECIPIENTS
from minikms.credentials.jose.jwe_models import ALGS, ENCS
from minikms.key_requests import AnyKey
from minikms.web.schemas.base import Body, ByKey, ByKeyOrJwk, Request
from minikms.web.schemas.fields import Base64Url, BoundedList, JoseValue, Object, Part, Text
from minikms.web.schemas.named_fields import alias, jwk


def _header(description: str) -> Object:
    return Object(f"{description}, except alg, enc, epk, zip and crit.", load_default=None)


class JweRecipientRequest(ByKeyOrJwk):
    """A recipient of a JWE: a key, and its key management algorithm."""

    alg = Text(
        "Key management (RFC 7518 section 4.1, ECDH-1PU).",
        component="JweAlg",
        required=True,
        validate=validate.OneOf(ALGS),
    )
    header = _header("Members of this recipient's own header")


class EncryptJweRequest(Request):
    """A plaintext to encrypt as JWE."""

    max_size: ClassVar[int | None] = None
    plaintext = Base64Url("The plaintext.", required=True)
    enc = Text(
        "Content encryption (RFC 7518 section 5.1, ChaCha20-Poly1305).",
        component="JweEnc",
        required=True,
        validate=validate.OneOf(ENCS),
    )
    recipients = BoundedList(
        Part(JweRecipientRequest),
        1,
        MAX_RECIPIENTS,
        required=True,
    )
    sender = alias(data_key="from", load_default=None)
    header = _header("More members of the protected header")
    aad = Base64Url(
        "Data that is authenticated but not encrypted; not in the compact form.", load_default=b""
    )
    serialization = Text(
        "Serialization; compact by default, general with aad or several recipients.",
        component="JweSerialization",
        load_default=None,
        validate=validate.OneOf(("compact", "flattened", "general")),
    )

    @post_load
    def _to_jwe(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        recipients = [
            JweRecipient(each["by"], each["alg"], each["header"] or {})
            for each in data["recipients"]
        ]
        named = None if data["sender"] is None else AnyKey.named(data["sender"])
        changes = {"recipients": recipients, "header": data["header"] or {}, "sender": named}
        return {"jwe": EncryptJwe(**{**data, **changes})}


class EncryptedJwe(Body):
    """A JWE."""

    jwe = JoseValue("The JWE: a string if compact, else an object.", required=True)


class DecryptJweRequest(ByKey):
    """A JWE to open."""

    jwe = JoseValue("The JWE, in any serialization (RFC 7516).", required=True)
    sender = jwk("The sender's public JWK, for ECDH-1PU.", data_key="from", load_default=None)


class DecryptedJwe(Body):
    """The plaintext of a JWE, and the header that the recipient sees."""

    plaintext = Base64Url("The plaintext.", required=True)
    header = Object("The JOSE header: the union of its parts.", required=True)
