"""JWE algorithms, joserfc's and our own, and adapters of our keys to joserfc's classes.

joserfc does the framing of a JWE, the Concat KDF and AES (RFC 7516, RFC 7518). Only its own
algorithm uses a private key. docs/internals/jose.md lists the differences from joserfc.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Self, TypeAlias, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from joserfc.drafts.jwe_ecdh_1pu import ECDH1PUAlgModel
from joserfc.jwa import (
    AESAlgKeyWrapping,
    CBCHS2EncModel,
    ECDHESAlgKeyAgreement,
    JWEAlgModel,
    JWEDirectEncryption,
    JWEEncModel,
    JWEKeyEncryption,
)
from joserfc.jwe import JWERegistry, Recipient
from joserfc.jwk import ECKey, OctKey
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from minikms.errors import DecryptionFailed
from minikms.keys.making import public_jwk
from minikms.keys.operation import UsableKey
from minikms.plugin.protocol import (
    Aead,
    Jwe,
    KeyAgreement,
    KeyWrap,
    PublicKeyEncryption,
    Sealed,
)

_TAG_SIZE: Final = 16


class _XChaCha20Poly1305:
    """libsodium's XChaCha20-Poly1305 with pyca/cryptography's methods (draft-irtf-cfrg-xchacha)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        return sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(data, aad, nonce, self._key)

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        try:
            return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(data, aad, nonce, self._key)
        except CryptoError:
            raise InvalidTag from None


class _Aead(JWEEncModel):
    """Authenticated encryption in one call of a library.

    joserfc makes several calls for AES-GCM, which take three times as long.
    """

    def __init__(
        self,
        name: str,
        iv_size: int,
        cek_size: int,
        cipher: Callable[[bytes], AESGCM | ChaCha20Poly1305 | _XChaCha20Poly1305],
    ) -> None:
        self.name = name
        self.iv_size = iv_size
        self.cek_size = cek_size
        self._cipher = cipher

    def encrypt(self, plaintext: bytes, cek: bytes, iv: bytes, aad: bytes) -> tuple[bytes, bytes]:
        sealed = self._cipher(cek).encrypt(iv, plaintext, aad)
        return sealed[:-_TAG_SIZE], sealed[-_TAG_SIZE:]

    def decrypt(self, ciphertext: bytes, tag: bytes, cek: bytes, iv: bytes, aad: bytes) -> bytes:
        if len(tag) != _TAG_SIZE:  # else bytes could move between ciphertext and tag
            raise DecryptionFailed()
        try:
            return self._cipher(cek).decrypt(iv, ciphertext + tag, aad)
        except InvalidTag:
            raise DecryptionFailed() from None


class KeyContent(JWEEncModel):
    """Encrypts the content with a shared key directly (`dir`), by the algorithm of the key.

    The algorithm makes the nonce; the caller replaces joserfc's `iv` by `nonce`.
    """

    # The content does not have a key of its own.
    iv_size = cek_size = 0

    def __init__(self, algorithm: Aead[Any], key: Any) -> None:
        self._algorithm = algorithm
        self._key = key
        self.nonce = b""

    def check_iv(self, iv: bytes) -> bytes:
        return iv

    def encrypt(self, plaintext: bytes, cek: bytes, iv: bytes, aad: bytes) -> tuple[bytes, bytes]:
        sealed = self._algorithm.encrypt(self._key, plaintext, aad)
        self.nonce = sealed.nonce
        return sealed.ciphertext, sealed.tag

    def decrypt(self, ciphertext: bytes, tag: bytes, cek: bytes, iv: bytes, aad: bytes) -> bytes:
        return self._algorithm.decrypt(self._key, Sealed(ciphertext, iv, tag), aad)


class _Direct(JWEDirectEncryption):
    """Uses a shared key as the content key (RFC 7518 section 4.5); `KeyContent` encrypts."""

    name = "dir"

    def compute_cek(self, size: int, recipient: Recipient[OctKey]) -> bytes:
        return b""


class _Wrapping(JWEKeyEncryption):
    """Encrypts the content key by the algorithm of the recipient's key."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encrypt_cek(self, cek: bytes, recipient: Recipient[Any]) -> bytes:
        return cast("WrappingKey", recipient.recipient_key).transform(cek)

    def decrypt_cek(self, recipient: Recipient[Any]) -> bytes:
        key = cast("WrappingKey", recipient.recipient_key)
        return key.transform(recipient.encrypted_key or b"")


_WRAPS: Final = tuple(AESAlgKeyWrapping(size) for size in (128, 192, 256))

_ALG_MODELS: Final[tuple[JWEAlgModel, ...]] = (
    _Direct(),
    *(_Wrapping(wrap.name) for wrap in _WRAPS),
    *(ECDHESAlgKeyAgreement(wrap) for wrap in (None, *_WRAPS)),
    *(ECDH1PUAlgModel(wrap) for wrap in (None, *_WRAPS)),
    _Wrapping("RSA-OAEP-256"),
)
_ENC_MODELS: Final[tuple[JWEEncModel, ...]] = (
    *(_Aead(f"A{size}GCM", 96, size, AESGCM) for size in (128, 192, 256)),
    *(CBCHS2EncModel(size, 2 * size) for size in (128, 192, 256)),
    _Aead("C20P", 96, 256, ChaCha20Poly1305),
    _Aead("XC20P", 192, 256, _XChaCha20Poly1305),
)
ALG_MODELS: Final = {model.name: model for model in _ALG_MODELS}
"""Key management algorithms by `alg` (RFC 7518 section 4.1, draft-madden-jose-ecdh-1pu-04)."""
ENC_MODELS: Final = {model.name: model for model in _ENC_MODELS}
"""Content encryption algorithms by `enc` (RFC 7518 section 5.1, draft-amringer-jose-chacha-02)."""
ALGS: Final = tuple(ALG_MODELS)
AUTHENTICATED: Final = frozenset(
    name for name, model in ALG_MODELS.items() if isinstance(model, ECDH1PUAlgModel)
)
"""The `alg` values that authenticate a sender by a key."""
ENCS: Final = tuple(ENC_MODELS)


def is_direct(alg: str) -> bool:
    """Tell whether the only recipient's key determines the content key."""
    return ALG_MODELS[alg].direct_mode


class Registry(JWERegistry):
    """The registry of algorithms for making one JWE."""

    def __init__(self, enc: JWEEncModel) -> None:
        super().__init__(algorithms=ALGS, strict_check_header=False)
        self.algorithms = {"alg": ALG_MODELS, "enc": {}, "zip": {}}
        self._enc = enc

    def get_enc(self, name: str) -> JWEEncModel:
        return self._enc


class AgreementKey(ECKey):
    """Adapts a private or public key for key agreement, on any curve, to joserfc.

    It is an ECKey, since joserfc accepts only its own classes.
    """

    def __init__(self, algorithm: KeyAgreement[Any, Any], key: Any) -> None:
        super().__init__(key, None)
        self._algorithm = algorithm
        self._key = key

    @property
    def curve_name(self) -> str:
        return self._algorithm.crv or ""

    def get(self, k: str, default: Any = None) -> Any:
        """Return the default, since `use`, `alg` and `key_ops` are in the record of the key."""
        return default

    # joserfc declares these as class methods, but calls them on a key.
    def import_key(self, value: Any, *_: Any, **__: Any) -> Self:  # type: ignore[override]
        """Load a public JWK such as an `epk`; raises InvalidKey."""
        return self._like(self._algorithm.load_peer(value))

    def generate_key(self, *_: Any, **__: Any) -> Self:  # type: ignore[override]
        return self._like(self._algorithm.generate())

    def as_dict(self, private: bool = False, **_: Any) -> Any:
        return public_jwk(self._algorithm, self._key)

    def exchange_derive_key(self, key: ECKey) -> bytes:
        return self._algorithm.derive(self._key, cast("AgreementKey", key)._key)

    def _like(self, key: Any) -> Self:
        return type(self)(self._algorithm, key)


class DirectKey(OctKey):
    """Adapts a secret key for `KeyContent` to joserfc."""

    def __init__(self) -> None:
        super().__init__(b"", None)

    def get(self, k: str, default: Any = None) -> Any:
        """Return the default, as `AgreementKey.get` does."""
        return default


class WrappingKey(DirectKey):
    """Adapts a key that encrypts or decrypts a content key to joserfc."""

    def __init__(self, transform: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.transform = transform


RecipientKey: TypeAlias = AgreementKey | DirectKey


def key_to_encrypt(usable: UsableKey[Jwe]) -> RecipientKey:
    """Adapt a recipient's key (the public key of a pair) for making a JWE."""
    algorithm, key = usable.algorithm, usable.material
    if isinstance(algorithm, KeyAgreement):
        return AgreementKey(algorithm, algorithm.load_peer(algorithm.public_jwk(key)))
    if isinstance(algorithm, PublicKeyEncryption):
        return WrappingKey(partial(algorithm.encrypt, key))
    if isinstance(algorithm, KeyWrap):
        return WrappingKey(partial(algorithm.wrap, key))
    return DirectKey()


def key_to_decrypt(usable: UsableKey[Jwe]) -> RecipientKey:
    """Adapt a recipient's key (the private key of a pair) for decrypting a JWE."""
    algorithm, key = usable.algorithm, usable.material
    if isinstance(algorithm, KeyAgreement):
        return AgreementKey(algorithm, key)
    if isinstance(algorithm, PublicKeyEncryption):
        return WrappingKey(partial(algorithm.decrypt, key))
    if isinstance(algorithm, KeyWrap):
        return WrappingKey(partial(algorithm.unwrap, key))
    return DirectKey()


def content(algorithm: Jwe, key: Any, enc: str) -> JWEEncModel:
    """Return the content encryption by `enc`, for the key of a recipient."""
    return KeyContent(algorithm, key) if isinstance(algorithm, Aead) else ENC_MODELS[enc]
