"""Bodies of DIDComm v1 (Aries RFC 0019): each request, followed by its answer.

The header of an envelope is a JSON document in base64url. Schemas read it, too, so that it is
validated before a key is used.
"""

from typing import Any, ClassVar, Final

import orjson
from marshmallow import ValidationError, post_load, validate

from minikms.credentials.didcomm import (
    ANONCRYPT,
    AUTHCRYPT,
    ENC,
    TYP,
    VERKEY_PATTERN,
    Packed,
    Protected,
    Recipient,
    Verkey,
)
from minikms.encodings import b64url_decode
from minikms.key_bounds import MAX_ALIAS
from minikms.key_requests import AnyKey, KeyRef
from minikms.web.schemas.base import Body, Request
from minikms.web.schemas.fields import (
    BASE64URL_PATTERN,
    Base64Url,
    BoundedList,
    Converted,
    Part,
    Text,
    UnpaddedBase64Url,
)
from minikms.web.schemas.named_fields import kid as key_id

MAX_RECIPIENTS: Final = 100
# A header with the largest number of recipients is shorter.
MAX_PROTECTED: Final = 65_536  # characters


class VerkeyField(Converted):
    """A verkey, loaded as `Verkey`."""

    fault = "Not an Ed25519 public key in base58."
    convert = staticmethod(Verkey.parse)

    def __init__(self, **kwargs: Any) -> None:
        pattern = {"pattern": VERKEY_PATTERN}
        super().__init__("Ed25519 public key, in base58.", metadata=pattern, **kwargs)


class _RecipientHeader(Request):
    kid = VerkeyField(required=True)
    sender = Base64Url("The sender's verkey, in a sealed box.", most=92)
    iv = Base64Url("The nonce of the box with the content key.", most=24)


class _Recipient(Request):
    encrypted_key = Base64Url("The content key in a box.", most=80, required=True)
    header = Part(_RecipientHeader, required=True)

    @post_load
    def _to_recipient(self, data: dict[str, Any], **_: Any) -> Recipient:
        header = data["header"]
        return Recipient(
            header["kid"], data["encrypted_key"], header.get("sender"), header.get("iv")
        )


class _Protected(Request):
    enc = Text(required=True, validate=validate.OneOf((ENC,)))
    typ = Text(required=True, validate=validate.OneOf((TYP,)))
    alg = Text(required=True, validate=validate.OneOf((AUTHCRYPT, ANONCRYPT)))
    recipients = BoundedList(Part(_Recipient), 1, MAX_RECIPIENTS, required=True)

    @post_load
    def _by_kid(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        recipients: list[Recipient] = data["recipients"]
        by_kid = {recipient.verkey.kid: recipient for recipient in recipients}
        if len(by_kid) != len(recipients):
            raise ValidationError("A recipient is named twice.", "recipients")
        has = data["alg"] == AUTHCRYPT
        if any((one.sender is not None, one.iv is not None) != (has, has) for one in recipients):
            raise ValidationError(
                "With Authcrypt each recipient has a sender and an iv, with Anoncrypt neither.",
                "recipients",
            )
        return {"recipients": by_kid}


class ProtectedField(Converted):
    """A header in base64url, loaded as `Protected` and dumped unchanged."""

    fault = f"Not JSON in base64url, of {MAX_PROTECTED:,} characters at most."
    _schema: Final = _Protected()

    def __init__(self, **kwargs: Any) -> None:
        form = {"pattern": BASE64URL_PATTERN, "maxLength": MAX_PROTECTED}
        what = "The header in base64url, with alg and the recipients."
        super().__init__(what, metadata=form, **kwargs)

    def convert(self, text: str) -> Protected:
        if len(text) > MAX_PROTECTED:
            raise ValueError("too long")
        return Protected(text, **self._schema.load(orjson.loads(b64url_decode(text))))


class PackedMessage(Request):
    """An encrypted message, as agents exchange it."""

    protected = ProtectedField(required=True)
    iv = UnpaddedBase64Url("The nonce.", required=True)
    ciphertext = UnpaddedBase64Url("The ciphertext.", required=True)
    tag = UnpaddedBase64Url("The authentication tag.", required=True)


class PackRequest(Request):
    """A message to pack; the sender, or else the first recipient, is loaded into `by`."""

    max_size: ClassVar[int | None] = None
    to = BoundedList(VerkeyField(), 1, MAX_RECIPIENTS, required=True)
    sender = Text(
        "Kid or alias of the sender's key; the sender is anonymous without it.",
        data_key="from",
        validate=validate.Length(1, MAX_ALIAS),
    )
    message = Base64Url("The message.", required=True)

    @post_load
    def _to_by(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if len({verkey.kid for verkey in data["to"]}) != len(data["to"]):
            raise ValidationError("A recipient is named twice.", "to")
        sender = data.pop("sender", None)
        data["is_anonymous"] = sender is None
        if sender is None:
            data["by"] = data["to"][0].jwk
        else:
            data["by"] = AnyKey.named(sender)
        return data


class PackAnswer(Body):
    """A packed message."""

    packed = Part(PackedMessage, required=True)


class UnpackRequest(Request):
    """A packed message to unpack; its recipients are loaded into `by`."""

    max_size: ClassVar[int | None] = None
    packed = Part(PackedMessage, required=True)

    @post_load
    def _to_by(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        packed = Packed(**data["packed"])
        by = AnyKey(tuple(KeyRef(kid=kid) for kid in packed.protected.recipients))
        return {"packed": packed, "by": by}


class UnpackAnswer(Body):
    """A message, with its sender and its recipient."""

    message = Base64Url("The message.", required=True)
    to = Text("Verkey of the recipient, in base58.", required=True)
    sender = Text(
        "Verkey of the sender; null if the sender is anonymous.",
        data_key="from",
        required=True,
        allow_none=True,
    )
    kid = key_id(required=True)
