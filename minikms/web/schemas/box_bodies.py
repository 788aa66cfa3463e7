"""Bodies of NaCl's boxes: each request, followed by its answer."""

from typing import Any

from marshmallow import post_load

from minikms.plugin.protocol import Boxed
from minikms.web.schemas.base import Body, ByKey, ToJwk
from minikms.web.schemas.fields import Base64Url, Object
from minikms.web.schemas.named_fields import jwk


def _peer(whose: str, **kwargs: Any) -> Object:
    return jwk(f"{whose} public JWK: X25519, or Ed25519, which is converted.", **kwargs)


class BoxRequest(ByKey):
    """Bytes to encrypt to a peer."""

    to = _peer("The recipient's", required=True)
    plaintext = Base64Url("The plaintext.", required=True)


class BoxCiphertext(Body):
    """A box; its recipient also needs the sender's public key."""

    ciphertext = Base64Url("The tag (16 bytes), then the ciphertext.", required=True)
    nonce = Base64Url("The nonce (24 bytes).", required=True)


class OpenBoxRequest(ByKey):
    """A box to open."""

    sender = _peer("The sender's", data_key="from", required=True)
    ciphertext = Base64Url("The tag, then the ciphertext.", required=True)
    nonce = Base64Url("The nonce.", required=True)

    @post_load
    def _to_boxed(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["boxed"] = Boxed(data.pop("ciphertext"), data.pop("nonce"))
        return data


class SealBoxRequest(ToJwk):
    """Bytes to encrypt to a recipient, without a sender."""

    to = _peer("The recipient's", required=True)
    plaintext = Base64Url("The plaintext.", required=True)


class SealedBox(Body):
    """A sealed box."""

    ciphertext = Base64Url(
        "The public key of this box (32 bytes), the tag (16 bytes), then the ciphertext.",
        required=True,
    )


class OpenSealedBoxRequest(ByKey):
    """A sealed box to open."""

    ciphertext = Base64Url("The sealed box.", required=True)
