"""The envelope of DIDComm v1 (Aries RFC 0019): its parts, and how its header is written.

It is a JWE in JSON whose header has the recipients. A verkey is an Ed25519 public key in base58.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import base58
import orjson

from minikms.encodings import jose_b64url, thumbprint

AUTHCRYPT: Final = "Authcrypt"
ANONCRYPT: Final = "Anoncrypt"
# So it is written, though the cipher is ChaCha20-Poly1305 (RFC 8439), with a nonce of 12 bytes.
ENC: Final = "xchacha20poly1305_ietf"
TYP: Final = "JWM/1.0"

VERKEY_PATTERN: Final = r"^[1-9A-HJ-NP-Za-km-z]{32,44}\Z"
# The JWK of a verkey, but for `x` (RFC 8037 section 2).
VERKEY_TYPE: Final[Mapping[str, str]] = {"kty": "OKP", "crv": "Ed25519"}

_VERKEY: Final = re.compile(VERKEY_PATTERN)
_VERKEY_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Verkey:
    """A verkey: its text, its JWK, and the kid of the key that it is the public part of."""

    text: str
    jwk: Mapping[str, str]
    kid: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The verkey of a text; raises ValueError where it is none."""
        data = base58.b58decode(text) if _VERKEY.match(text) else b""
        if len(data) != _VERKEY_SIZE:
            raise ValueError("not 32 bytes in base58")
        jwk = {**VERKEY_TYPE, "x": jose_b64url(data)}
        return cls(text, jwk, thumbprint(jwk))


@dataclass(frozen=True, slots=True)
class Recipient:
    """The content key, encrypted to one key; with Authcrypt also the sealed sender, and a nonce."""

    verkey: Verkey
    encrypted_key: bytes
    sender: bytes | None = None
    iv: bytes | None = None


class Envelope(NamedTuple):
    """A message in its envelope, whose header is text."""

    protected: str
    iv: bytes
    ciphertext: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Protected:
    """A header: its text, which is authenticated as it stands, and the recipients, by kid."""

    text: str
    recipients: Mapping[str, Recipient]


@dataclass(frozen=True, slots=True)
class Packed:
    """The same, whose header was read."""

    protected: Protected
    iv: bytes
    ciphertext: bytes
    tag: bytes


def write_protected(alg: str, recipients: Sequence[Recipient]) -> str:
    """The text of a new header."""
    document = {
        "enc": ENC,
        "typ": TYP,
        "alg": alg,
        "recipients": [_write(recipient) for recipient in recipients],
    }
    return jose_b64url(orjson.dumps(document))


def _write(recipient: Recipient) -> dict[str, Any]:
    header = {"kid": recipient.verkey.text}
    if recipient.sender is not None and recipient.iv is not None:
        header |= {"sender": jose_b64url(recipient.sender), "iv": jose_b64url(recipient.iv)}
    return {"encrypted_key": jose_b64url(recipient.encrypted_key), "header": header}
