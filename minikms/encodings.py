"""Text forms of bytes and keys, as thin layers over libraries."""

import binascii
import hashlib
import string
from collections.abc import Mapping
from typing import Any, Final

import base58
import orjson

_TO_BASE64: Final = bytes.maketrans(b"-_+/", b"+/**")
_FROM_BASE64: Final = bytes.maketrans(b"+/", b"-_")
# By the length modulo 4: the characters that an unpadded text without stray bits can end with.
_LAST: Final[Mapping[int, str]] = {
    0: string.ascii_letters + string.digits + "-_",
    2: "AQgw",  # four stray bits
    3: "AEIMQUYcgkosw048",  # two
}

# Members of a JWK that are secret: RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 9964 section 3.
PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})

# RFC 7638 section 3.2, RFC 8037 section 2, RFC 9964: the members of a JWK that identify the key.
_THUMBPRINT_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
    "AKP": ("alg", "kty", "pub"),
}


def b64url_decode(text: str) -> bytes:
    """Decode base64url, padded or not (RFC 4648 section 5).

    Raises ValueError for any other character, white space included, for padding that does not
    fit, and for an impossible length.
    """
    body = text.rstrip("=")
    padding = len(text) - len(body)
    if len(body) % 4 == 1 or (padding and (padding > 2 or len(text) % 4)):
        raise ValueError("not base64url: the length or the padding does not fit")
    # By now each character outside the alphabet is a "*" or "?", which no alphabet has.
    plain = body.encode("ascii", "replace").translate(_TO_BASE64)
    try:
        return binascii.a2b_base64(plain + b"=="[: -len(plain) % 4], strict_mode=True)
    except binascii.Error:
        raise ValueError("not base64url: a character outside the alphabet") from None


def b64url(data: bytes) -> str:
    """Encode as base64url with padding, as in answers of the API."""
    return binascii.b2a_base64(data, newline=False).translate(_FROM_BASE64).decode("ascii")


def jose_b64url(data: bytes) -> str:
    """Encode as base64url without padding, as in JWK and JWS (RFC 7515 section 2)."""
    encoded = binascii.b2a_base64(data, newline=False).rstrip(b"=")
    return encoded.translate(_FROM_BASE64).decode("ascii")


def decode_canonical(text: str) -> bytes:
    """Decode base64url in its canonical form: no padding, no stray bits.

    Signed text thus has only one valid encoding (RFC 7515 section 2, RFC 4648 section 3.5).
    """
    if text and text[-1] not in _LAST.get(len(text) % 4, ""):
        raise ValueError("not the canonical form")
    return b64url_decode(text)


def b58(data: bytes) -> str:
    """Encode as base58 in Bitcoin's alphabet; each leading zero byte becomes a digit."""
    number = data.lstrip(b"\0")
    most = len(number) * 138 // 100 + 1  # log 256 / log 58 = 1.366
    digits = _base58_digits(int.from_bytes(number), most).lstrip(b"1")
    return "1" * (len(data) - len(number)) + digits.decode("ascii")


def _base58_digits(number: int, count: int) -> bytes:
    """Encode by halves: the library takes 10 ms for the 2,592 bytes of an ML-DSA-87 key."""
    if count <= 64:
        return base58.b58encode_int(number, default_one=False).rjust(count, b"1")
    low = count // 2
    front, back = divmod(number, 58**low)
    return _base58_digits(front, count - low) + _base58_digits(back, low)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a public JWK, base64url without padding (RFC 7638).

    For a `kty` without an RFC, all members but the descriptive ones are included.
    """
    members = _THUMBPRINT_MEMBERS.get(jwk["kty"]) or tuple(
        name for name in jwk if name not in {"alg", "kid", "use", "key_ops"}
    )
    canonical = orjson.dumps({name: jwk[name] for name in members}, option=orjson.OPT_SORT_KEYS)
    return jose_b64url(hashlib.sha256(canonical).digest())


def multikey(multicodec: int, public: bytes) -> str:
    """Encode a public key as W3C Multikey, with its multicodec.

    The result is base58 multibase of the code as a varint, followed by the key (Controlled
    Identifiers 1.0 section 2.2.2).
    """
    code = bytearray()
    while multicodec > 0x7F:
        code.append(multicodec & 0x7F | 0x80)
        multicodec >>= 7
    code.append(multicodec)
    return "z" + b58(bytes(code) + public)


def require_memory(exc: orjson.JSONDecodeError) -> None:
    """Raise MemoryError if orjson failed for lack of memory: the text may be valid JSON."""
    if "memory" in exc.msg:
        raise MemoryError from None
