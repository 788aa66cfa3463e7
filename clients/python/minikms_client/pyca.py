"""Private keys of pyca/cryptography that sign through the service, for libraries that accept them.

A key whose rules forbid raw signatures signs what libraries make for a JWS or a COSE_Sign1, by
`sign_signing_input` and `sign_sig_structure`, and nothing else.

It needs the extra `pyca`. `private_key(kms, alias="signer")` is a key for pyca's X.509 builders,
PyJWT and others. It only signs: other methods that need the private key raise UnsupportedAlgorithm.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, utils
from cryptography.hazmat.primitives.asymmetric import padding as asymmetric_padding

from minikms_client._sync import client as sync
from minikms_client.errors import UnsupportedOption, ValidationFailed
from minikms_client.models import Key
from minikms_client.wire import decode

PrivateKey: TypeAlias = "EcPrivateKey | RsaPrivateKey | Ed25519PrivateKey | Ed448PrivateKey"
SelfT = TypeVar("SelfT", bound="_Remote")

# Bytes that libraries sign for a JWS (RFC 7515 section 5.1) and a COSE_Sign1 (RFC 9052, 4.4).
_SIGNING_INPUT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SIG_STRUCTURE: Final = b"\x84\x6aSignature1"

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


def private_key(
    kms: sync.Client, *, kid: str | None = None, alias: str | None = None
) -> PrivateKey:
    """Make a private key that signs with this key of the service.

    An alias is looked up once: a rotation does not change the key. Raises KeyNotFound and
    AliasNotFound, TypeError unless one name is given, and UnsupportedAlgorithm for a key of another
    kind.
    """
    if (kid is None) == (alias is None):
        raise TypeError("Name the key in one way: by kid or by alias.")
    key = kms.get_key(kid) if kid is not None else kms.find_key(alias or "")
    jwk = key.jwk or {}
    kind = _KINDS.get(str(jwk.get("crv", jwk.get("kty"))))
    if kind is None:
        raise UnsupportedAlgorithm(f"A {key.alg} key cannot sign here.")
    return kind(kms, key)


class _Remote:
    """A key of the service; a copy is the same object."""

    def __init__(self, kms: sync.Client, key: Key) -> None:
        self._kms = kms
        self._key = key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._key.kid}>"

    def __copy__(self: SelfT) -> SelfT:
        return self

    def __deepcopy__(self: SelfT, memo: Mapping[int, Any]) -> SelfT:
        return self

    @property
    def kid(self) -> str:
        """The kid of the key."""
        return self._key.kid

    def _member(self, name: str) -> bytes:
        return decode((self._key.jwk or {})[name])

    def _sign(self, message: bytes, **options: Any) -> bytes:
        """Sign a message, with options of the client's `sign`; raises RuleViolated."""
        if (self._key.rules or {}).get("raw") is False and not options.get("prehashed"):
            made = None
            if _SIGNING_INPUT.fullmatch(message):
                made = self._kms.sign_signing_input(message.decode(), kid=self.kid)
            elif message.startswith(_SIG_STRUCTURE):
                made = self._kms.sign_sig_structure(message, kid=self.kid)
            if made is not None:
                return self._form(made.sig)
        return self._kms.sign(message, kid=self.kid, **options).sig

    def _form(self, signature: bytes) -> bytes:
        """The signature of JOSE and COSE in the form of pyca/cryptography."""
        return signature

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        raise _stays()

    def private_bytes_raw(self) -> NoReturn:
        raise _stays()

    def private_numbers(self) -> NoReturn:
        raise _stays()


class EcPrivateKey(_Remote, ec.EllipticCurvePrivateKey):
    """A key on P-256, P-384, P-521 or secp256k1."""

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve of the key."""
        return _CURVES[str((self._key.jwk or {})["crv"])]

    @property
    def key_size(self) -> int:
        """The size of the curve in bits."""
        return self.curve.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public key."""
        x, y = (int.from_bytes(self._member(name), "big") for name in "xy")
        return ec.EllipticCurvePublicNumbers(x, y, self.curve).public_key()

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign; return the signature in DER.

        Raises UnsupportedAlgorithm for a hash other than JOSE's.
        """
        message, wanted = bytes(memoryview(data)), signature_algorithm.algorithm
        with _checked("this hash on this curve"):
            prehashed = isinstance(wanted, utils.Prehashed)
            made = self._sign(message, encoding="der", prehashed=prehashed)
            self.public_key().verify(made, message, signature_algorithm)
        return made

    def _form(self, signature: bytes) -> bytes:
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        return utils.encode_dss_signature(r, s)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Raise UnsupportedAlgorithm: call `derive` of the client."""
        raise _stays()


class RsaPrivateKey(_Remote, rsa.RSAPrivateKey):
    """An RSA key."""

    @property
    def key_size(self) -> int:
        """The size of the modulus in bits."""
        return len(self._member("n")) * 8

    def public_key(self) -> rsa.RSAPublicKey:
        """The public key."""
        n, e = (int.from_bytes(self._member(name), "big") for name in "ne")
        return rsa.RSAPublicNumbers(e, n).public_key()

    def sign(
        self,
        data: Any,
        padding: asymmetric_padding.AsymmetricPadding,
        algorithm: utils.Prehashed | hashes.HashAlgorithm | utils.NoDigestInfo,
    ) -> bytes:
        """Sign; raises UnsupportedAlgorithm for a padding that JOSE lacks.

        A PSS salt is as long as the hash (RFC 7518 section 3.5), even for MAX_LENGTH, with which
        verifiers accept any length.
        """
        if isinstance(algorithm, utils.NoDigestInfo):
            raise UnsupportedAlgorithm("The service does not sign without a hash.")
        message = bytes(memoryview(data))
        scheme = "PS" if isinstance(padding, asymmetric_padding.PSS) else "RS"
        alg = f"{scheme}{algorithm.digest_size * 8}"
        with _checked("this padding"):
            prehashed = isinstance(algorithm, utils.Prehashed)
            made = self._sign(message, alg=alg, prehashed=prehashed)
            self.public_key().verify(made, message, padding, algorithm)
        return made

    def decrypt(self, ciphertext: bytes, padding: asymmetric_padding.AsymmetricPadding) -> bytes:
        """Raise UnsupportedAlgorithm: call `decrypt` of the client."""
        raise _stays()


class Ed25519PrivateKey(_Remote, ed25519.Ed25519PrivateKey):
    """A key on Ed25519."""

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """The public key."""
        return ed25519.Ed25519PublicKey.from_public_bytes(self._member("x"))

    def sign(self, data: Any) -> bytes:
        """The signature."""
        return self._sign(bytes(memoryview(data)))


class Ed448PrivateKey(_Remote, ed448.Ed448PrivateKey):
    """A key on Ed448."""

    def public_key(self) -> ed448.Ed448PublicKey:
        """The public key."""
        return ed448.Ed448PublicKey.from_public_bytes(self._member("x"))

    def sign(self, data: Any) -> bytes:
        """The signature."""
        return self._sign(bytes(memoryview(data)))


_KINDS: Final[Mapping[str, Callable[[sync.Client, Key], PrivateKey]]] = {
    **dict.fromkeys(_CURVES, EcPrivateKey),
    "RSA": RsaPrivateKey,
    "Ed25519": Ed25519PrivateKey,
    "Ed448": Ed448PrivateKey,
}


@contextmanager
def _checked(form: str) -> Iterator[None]:
    """Check that a signature has the requested form, by verifying it.

    A padding object does not reveal its parameters.
    """
    try:
        yield
    except (InvalidSignature, ValidationFailed, UnsupportedOption):
        raise UnsupportedAlgorithm(f"The service does not sign by {form}.") from None


def _stays() -> UnsupportedAlgorithm:
    return UnsupportedAlgorithm("The private key does not leave the service.")
