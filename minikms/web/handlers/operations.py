"""Operations on a key, from the bodies of their requests; and random bytes."""

from typing import Any

from aiohttp import web

from minikms.encodings import b64url_decode
from minikms.errors import (
    KmsError,
    ValidationFailed,
)
from minikms.http.answers import Answer
from minikms.keys.encryption import Decrypt, Derive, Encrypt, Encrypted, Unwrap, Wrap
from minikms.keys.signing import ComputeMac, Sign, SignBatch, Verify, VerifyBatch, VerifyMac
from minikms.web.handlers.operation import Body
from minikms.web.messages import answer, load, service
from minikms.web.schemas import operation_bodies as schemas

_RANDOM = schemas.RandomRequest()
_BYTES = schemas.RandomBytes()


def sign(body: Body) -> Sign:
    """Sign bytes with a key."""
    return Sign(body["data"], body["options"])


def verify(body: Body) -> Verify:
    """Verify a signature with a key or a public JWK."""
    return Verify(body["data"], body["sig"], body["options"])


def sign_batch(body: Body) -> tuple[SignBatch, list[bytes | KmsError]]:
    """Sign many messages with one key."""
    items = body["items"]
    try:
        messages: list[bytes | KmsError] = [b64url_decode(item["data"]) for item in items]
    except ValueError:
        messages = [_decode(item, "data") for item in items]
    return SignBatch(body["options"]), messages


def verify_batch(body: Body) -> tuple[VerifyBatch, list[tuple[bytes, bytes] | KmsError]]:
    """Verify many signatures with one key or public JWK."""
    return VerifyBatch(body["options"]), [_decode_pair(item) for item in body["items"]]


def encrypt(body: Body) -> Encrypt:
    """Encrypt bytes with a secret key, under a nonce made here, or to a public key."""
    return Encrypt(body["plaintext"], body.get("aad"))


def decrypt(body: Body) -> Decrypt:
    """Decrypt what was encrypted with a key."""
    encrypted = Encrypted(body["ciphertext"], body.get("nonce"), body.get("tag"))
    return Decrypt(encrypted, body.get("aad"))


def wrap(body: Body) -> Wrap:
    """Wrap secret bytes with a key."""
    return Wrap(body["key"])


def unwrap(body: Body) -> Unwrap:
    """Unwrap secret bytes with a key."""
    return Unwrap(body["wrapped"])


def derive(body: Body) -> Derive:
    """Agree on a raw shared secret with a peer; apply a key derivation function to it."""
    return Derive(body["peer"])


def mac(body: Body) -> ComputeMac:
    """Make an authentication code with a key."""
    return ComputeMac(body["data"])


def verify_mac(body: Body) -> VerifyMac:
    """Verify an authentication code with a key."""
    return VerifyMac(body["data"], body["mac"])


async def random(request: web.Request) -> Answer:
    """Make random bytes."""
    body = await load(request, _RANDOM)
    return answer(_BYTES, {"bytes": service(request).random(body["length"])})


def _decode(item: dict[str, Any], name: str) -> bytes | KmsError:
    try:
        return b64url_decode(item[name])
    except ValueError:
        return ValidationFailed(errors=[(f"#/{name}", "Not base64url.")])


def _decode_pair(item: dict[str, Any]) -> tuple[bytes, bytes] | KmsError:
    data, sig = _decode(item, "data"), _decode(item, "sig")
    if isinstance(data, KmsError):
        return data
    return sig if isinstance(sig, KmsError) else (data, sig)
