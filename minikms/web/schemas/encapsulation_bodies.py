"""Bodies of key encapsulation and of HPKE: each request, followed by its answer."""

from typing import Any, ClassVar, Final

from marshmallow import post_load, validate

from minikms.plugin.protocol import HPKE_AEADS, HPKE_KDFS, HpkeOptions, HpkeSealed
from minikms.web.schemas.base import Body, ByKey, Request, ToJwk
from minikms.web.schemas.fields import Base64Url, Text

MAX_CIPHERTEXT: Final = 32_766  # bytes; ML-KEM-1024 has 1,568, FrodoKEM-1344 21,632


class EncapsulateRequest(ToJwk):
    """The recipient of a new secret."""

    max_size: ClassVar[int | None] = Request.max_size


class EncapsulatedSecret(Body):
    """A new secret and its ciphertext."""

    ciphertext = Base64Url("The ciphertext, which the recipient decapsulates.", required=True)
    secret = Base64Url("The secret: 32 bytes, uniformly random.", required=True)


class DecapsulateRequest(ByKey):
    """A ciphertext to decapsulate."""

    max_size: ClassVar[int | None] = Request.max_size
    ciphertext = Base64Url("The ciphertext.", most=MAX_CIPHERTEXT, required=True)


class DecapsulatedSecret(Body):
    """The secret of a ciphertext; a random secret if the ciphertext is not for this key."""

    secret = Base64Url("The secret.", required=True)


_NO_OPTIONS: Final = HpkeOptions()


class _HpkeOptions(Request):
    info = Base64Url("Context that both sides know and the message is bound to.")
    aad = Base64Url("Data that both sides know and the message authenticates.")
    kdf = Text(
        f"Key derivation function; {HPKE_KDFS[0]} by default.",
        component="HpkeKdf",
        validate=validate.OneOf(HPKE_KDFS),
    )
    aead = Text(
        f"Cipher; {HPKE_AEADS[0]} by default.",
        component="HpkeAead",
        validate=validate.OneOf(HPKE_AEADS),
    )

    @post_load
    def _to_options(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        given = {name: data.pop(name) for name in ("info", "aad", "kdf", "aead") if name in data}
        data["options"] = HpkeOptions(**given) if given else _NO_OPTIONS
        return data


class SealHpkeRequest(ToJwk, _HpkeOptions):
    """Bytes to encrypt to a recipient."""

    plaintext = Base64Url("The plaintext.", required=True)


class HpkeMessage(Body):
    """A message encrypted by HPKE."""

    enc = Base64Url("The encapsulated key.", required=True)
    ciphertext = Base64Url("The ciphertext, then its tag.", required=True)


class OpenHpkeRequest(ByKey, _HpkeOptions):
    """A message to decrypt, with the options that it was encrypted with."""

    enc = Base64Url("The encapsulated key.", required=True)
    ciphertext = Base64Url("The ciphertext, then its tag.", required=True)

    @post_load
    def _to_sealed(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["sealed"] = HpkeSealed(data.pop("enc"), data.pop("ciphertext"))
        return data
