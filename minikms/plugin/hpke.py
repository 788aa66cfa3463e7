"""A base for HPKE with keys of pyca/cryptography (RFC 9180).

pyca/cryptography has HPKE without AAD only. So its keys and ciphers are used here, under the key
schedule of RFC 9180 section 5.1.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import methodcaller
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from minikms.errors import DecryptionFailed
from minikms.plugin.protocol import Hpke, HpkeOptions, HpkeSealed, KeyT, PublicT

_XKey: TypeAlias = X25519PrivateKey | X448PrivateKey
_XPublic: TypeAlias = X25519PublicKey | X448PublicKey

_Cipher: TypeAlias = AESGCM | ChaCha20Poly1305

_BASE: Final = b"\0"  # the base mode (section 5)
_NONCE: Final = 12  # bytes, for each AEAD of section 7.3


class _Kdf(NamedTuple):
    """A KDF of section 7.2: its number, and the name and the size of its hash."""

    number: int
    hash: str
    size: int

    def extract(self, suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
        """LabeledExtract of section 4."""
        return hmac.digest(salt or bytes(self.size), b"HPKE-v1" + suite + label + secret, self.hash)

    def expand(self, suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
        """LabeledExpand of section 4; `length` is at most the size of the hash."""
        labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
        return hmac.digest(key, labeled + b"\1", self.hash)[:length]


class _Aead(NamedTuple):
    """An AEAD of section 7.3: its number, the size of its keys in bytes, and its class."""

    number: int
    key_size: int
    cipher: Callable[[bytes], _Cipher]


_SHA256: Final = _Kdf(1, "sha256", 32)
_SHA384: Final = _Kdf(2, "sha384", 48)
_SHA512: Final = _Kdf(3, "sha512", 64)
_KDFS: Final = {"HKDF-SHA256": _SHA256, "HKDF-SHA384": _SHA384, "HKDF-SHA512": _SHA512}
_AEADS: Final = {
    "AES-128-GCM": _Aead(1, 16, AESGCM),
    "AES-256-GCM": _Aead(2, 32, AESGCM),
    "ChaCha20Poly1305": _Aead(3, 32, ChaCha20Poly1305),
}


class _Kem(Protocol):
    """A KEM of HPKE: its number (section 7.1), and the size of an encapsulated key."""

    @property
    def number(self) -> int: ...

    @property
    def enc_size(self) -> int: ...

    def encap(self, public: Any) -> tuple[bytes, bytes]:
        """A new secret, and its encapsulated key."""

    def decap(self, key: Any, enc: bytes) -> bytes:
        """The secret of an encapsulated key of this size; raises ValueError."""


@dataclass(frozen=True, slots=True)
class _DhKem:
    """DHKEM (section 4.1) on a curve of pyca/cryptography."""

    number: int
    enc_size: int
    kdf: _Kdf
    generate: Callable[[], Any]
    exchange: Callable[[Any, Any], bytes]
    load: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]

    def encap(self, public: Any) -> tuple[bytes, bytes]:
        ephemeral = self.generate()
        enc = self.encode(ephemeral.public_key())
        return self._secret(self.exchange(ephemeral, public), enc, public), enc

    def decap(self, key: Any, enc: bytes) -> bytes:
        return self._secret(self.exchange(key, self.load(enc)), enc, key.public_key())

    def _secret(self, shared: bytes, enc: bytes, public: Any) -> bytes:
        kdf, suite = self.kdf, b"KEM" + self.number.to_bytes(2, "big")
        key = kdf.extract(suite, b"", b"eae_prk", shared)
        return kdf.expand(suite, key, b"shared_secret", enc + self.encode(public), kdf.size)


@dataclass(frozen=True, slots=True)
class _MlKem:
    """ML-KEM, whose secret is the secret of HPKE (draft-ietf-hpke-pq)."""

    number: int
    enc_size: int

    def encap(self, public: Any) -> tuple[bytes, bytes]:
        encapsulated: tuple[bytes, bytes] = public.encapsulate()
        return encapsulated

    def decap(self, key: Any, enc: bytes) -> bytes:
        secret: bytes = key.decapsulate(enc)
        return secret


def _ecdh(key: ec.EllipticCurvePrivateKey, peer: ec.EllipticCurvePublicKey) -> bytes:
    return key.exchange(ec.ECDH(), peer)


def _point(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(ser.Encoding.X962, ser.PublicFormat.UncompressedPoint)


def _nist(number: int, kdf: _Kdf, curve: ec.EllipticCurve) -> _DhKem:
    size = 1 + 2 * ((curve.key_size + 7) // 8)
    generate = partial(ec.generate_private_key, curve)
    load = partial(ec.EllipticCurvePublicKey.from_encoded_point, curve)
    return _DhKem(number, size, kdf, generate, _ecdh, load, _point)


def _montgomery(
    number: int,
    size: int,
    kdf: _Kdf,
    private: type[_XKey],
    public: type[_XPublic],
) -> _DhKem:
    def exchange(key: _XKey, peer: Any) -> bytes:
        return key.exchange(peer)

    encode = methodcaller("public_bytes_raw")
    return _DhKem(number, size, kdf, private.generate, exchange, public.from_public_bytes, encode)


X448_KEM: Final = _montgomery(0x21, 56, _SHA512, X448PrivateKey, X448PublicKey)
_KEMS: Final[Mapping[hpke.KEM, _Kem]] = {
    hpke.KEM.P256: _nist(0x10, _SHA256, ec.SECP256R1()),
    hpke.KEM.P384: _nist(0x11, _SHA384, ec.SECP384R1()),
    hpke.KEM.P521: _nist(0x12, _SHA512, ec.SECP521R1()),
    hpke.KEM.X25519: _montgomery(0x20, 32, _SHA256, X25519PrivateKey, X25519PublicKey),
    hpke.KEM.MLKEM768: _MlKem(0x41, 1088),
    hpke.KEM.MLKEM1024: _MlKem(0x42, 1568),
}


class _Suite(NamedTuple):
    """A KEM, KDF and AEAD: their identifier, and the hash of an empty `psk_id` (section 5.1)."""

    kdf: _Kdf
    aead: _Aead
    id: bytes
    psk_id_hash: bytes

    def schedule(self, secret: bytes, info: bytes) -> tuple[_Cipher, bytes]:
        """Derive the cipher with its key, and the nonce of the first message, in the base mode."""
        kdf, suite = self.kdf, self.id
        info_hash = kdf.extract(suite, b"", b"info_hash", info)
        context = _BASE + self.psk_id_hash + info_hash
        derived = kdf.extract(suite, secret, b"secret", b"")
        key = kdf.expand(suite, derived, b"key", context, self.aead.key_size)
        nonce = kdf.expand(suite, derived, b"base_nonce", context, _NONCE)
        return self.aead.cipher(key), nonce


@lru_cache(maxsize=64)  # there are 63 with the KEMs above
def _suite(kem: int, kdf_name: str, aead_name: str) -> _Suite:
    kdf, aead = _KDFS[kdf_name], _AEADS[aead_name]
    name = b"HPKE" + b"".join(each.to_bytes(2, "big") for each in (kem, kdf.number, aead.number))
    return _Suite(kdf, aead, name, kdf.extract(name, b"", b"psk_id_hash", b""))


class PycaHpke(Hpke[KeyT, PublicT]):
    """HPKE with the KEM `hpke_kem`, which uses the algorithm's keys unchanged.

    `hpke_kem` is `X448_KEM`, or a KEM of pyca/cryptography that is not a hybrid.
    """

    hpke_aad = True
    hpke_kem: ClassVar[hpke.KEM | _Kem]

    def hpke_seal(self, public: PublicT, plaintext: bytes, options: HpkeOptions) -> HpkeSealed:
        kem = self._kem
        secret, enc = kem.encap(public)
        cipher, nonce = _suite(kem.number, options.kdf, options.aead).schedule(secret, options.info)
        return HpkeSealed(enc, cipher.encrypt(nonce, plaintext, options.aad))

    def hpke_open(self, key: KeyT, sealed: HpkeSealed, options: HpkeOptions) -> bytes:
        kem = self._kem
        if len(sealed.enc) != kem.enc_size:
            raise DecryptionFailed()
        suite = _suite(kem.number, options.kdf, options.aead)
        try:
            cipher, nonce = suite.schedule(kem.decap(key, sealed.enc), options.info)
            return cipher.decrypt(nonce, sealed.ciphertext, options.aad)
        except (
            ValueError,
            InvalidTag,
        ):  # a point off the curve or of low order; any other mismatch
            raise DecryptionFailed() from None

    @property
    def _kem(self) -> _Kem:
        kem = self.hpke_kem
        return _KEMS[kem] if isinstance(kem, hpke.KEM) else kem
