"""Lets the X.509 builders of pyca/cryptography sign with keys of the service.

A builder takes a private key of one of the library's abstract classes, and calls its `sign` and
`public_key`. The classes here pass these calls to the algorithm of the key, so that the library
does not get the private key.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa

from minikms.credentials.x509.public_keys import public_key_of
from minikms.errors import UnsupportedOption
from minikms.keys.operation import UsableKey
from minikms.plugin.curves import CURVES
from minikms.plugin.protocol import EcdsaSigner, SignatureOptions, Signer

SigningKey: TypeAlias = UsableKey[Signer[Any, Any]]

SignedT_co = TypeVar("SignedT_co", covariant=True)
SignedT = TypeVar("SignedT")

_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()

# The hash of each JOSE signature that X.509 has an identifier for, besides those on curves: RFC
# 4055, RFC 9881.
_NOT_ON_CURVES: Final[Mapping[str, hashes.HashAlgorithm | None]] = {
    **{"RS256": _SHA256, "RS384": _SHA384, "RS512": _SHA512},
    **{"PS256": _SHA256, "PS384": _SHA384, "PS512": _SHA512},
    **{"ML-DSA-44": None, "ML-DSA-65": None, "ML-DSA-87": None},
}
# The private class for each public class, besides the classes of Edwards curves.
_CLASSES: Final[Mapping[type, type]] = {
    ec.EllipticCurvePublicKey: ec.EllipticCurvePrivateKey,
    rsa.RSAPublicKey: rsa.RSAPrivateKey,
    mldsa.MLDSA44PublicKey: mldsa.MLDSA44PrivateKey,
    mldsa.MLDSA65PublicKey: mldsa.MLDSA65PrivateKey,
    mldsa.MLDSA87PublicKey: mldsa.MLDSA87PrivateKey,
}


class Builder(Protocol[SignedT_co]):
    """A builder of certificates or of certificate requests."""

    def sign(
        self,
        private_key: Any,
        algorithm: Any,
        *,
        rsa_padding: padding.PSS | padding.PKCS1v15 | None = None,
    ) -> SignedT_co: ...


def sign_x509(builder: Builder[SignedT], key: SigningKey, alg: str | None) -> SignedT:
    """Sign the object of a builder; `alg` is a JOSE name, by default the first of the key.

    Raises UnsupportedOption if X.509 has no such signature, and RuleViolated.
    """
    algorithm, public = key.algorithm, public_key_in_x509(key)
    on_curves = {name: each.hash for each in CURVES.values() for name in each.signatures}
    digests = {**_NOT_ON_CURVES, **on_curves}
    algs = [name for name in algorithm.signing_algs if name in digests]
    if not algs:
        raise _absent()
    if alg is not None and alg not in algs:
        raise UnsupportedOption(f"In X.509, this key signs for: {', '.join(algs)}.")
    alg = alg or algs[0]
    if key.rules is not None:
        key.rules.permit_alg(alg)
    options, digest = SignatureOptions(alg), digests[alg]

    def sign(data: bytes) -> bytes:
        signature = algorithm.sign(key.material, data, options)
        return algorithm.to_der(signature) if isinstance(algorithm, EcdsaSigner) else signature

    scheme: padding.PSS | padding.PKCS1v15 | None = None
    if isinstance(public, rsa.RSAPublicKey) and digest is not None:
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        scheme = pss if alg.startswith("PS") else padding.PKCS1v15()
    pairs = (
        *_CLASSES.items(),
        *(each.okp for each in CURVES.values() if each.okp and each.signatures),
    )
    kind = next(private for of_public, private in pairs if isinstance(public, of_public))
    return builder.sign(_class_of(kind)(sign, public), digest, rsa_padding=scheme)


def public_key_in_x509(key: SigningKey) -> Any:
    """Convert the public key of a key for pyca/cryptography; raises UnsupportedOption."""
    public = public_key_of(key.record.jwk if key.record else None)
    if public is None:
        raise _absent()
    return public


class _Key:
    """Implements the two methods of a private key that a builder calls."""

    def __init__(self, sign: Callable[[bytes], bytes], public: Any) -> None:
        self._sign = sign
        self._public = public

    def sign(self, data: bytes, *_: Any) -> bytes:
        """Sign; the arguments that choose a scheme are ignored, since `alg` has chosen it."""
        return self._sign(bytes(data))

    def public_key(self) -> Any:
        return self._public


@cache
def _class_of(kind: Any) -> Any:
    """Make a subclass of a private-key class; its other methods raise."""
    others = kind.__abstractmethods__ - vars(_Key).keys()
    return type(kind.__name__, (_Key, kind), dict.fromkeys(others, _refuse))


def _absent() -> UnsupportedOption:
    return UnsupportedOption("X.509 has no identifier for this key, or for its signatures.")


def _refuse(*_: Any) -> Any:
    raise NotImplementedError("The private key stays in the service.")
