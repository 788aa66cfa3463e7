"""Signing and verifying with the options of a request: which JOSE name, which form, which input."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from minikms.errors import UnsupportedOption
from minikms.plugin.protocol import EcdsaSigner, Mac, Signer


@dataclass(frozen=True, slots=True)
class SignOptions:
    """How a caller wants to sign or verify.

    `alg` is a JOSE name, the key's default where None; `prehashed` says that the message is the
    digest already.
    """

    alg: str | None = None
    encoding: Literal["raw", "der"] = "raw"
    prehashed: bool = False


@dataclass(slots=True)
class Signing:
    """An algorithm with options that apply to it; `alg` is empty where JOSE has no name for it."""

    signer: Signer[Any, Any]
    alg: str
    prehashed: bool
    der: EcdsaSigner[Any, Any] | None

    @classmethod
    def choose(cls, signer: Signer[Any, Any], options: SignOptions) -> Self:
        """`signer` with `options`; raises UnsupportedOption where they do not apply to it."""
        algs, alg = signer.signing_algs, options.alg
        if alg is None:
            alg = algs[0] if algs else ""
        elif alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs) or 'no JOSE name'}.")
        der = None
        if options.encoding == "der":
            if not isinstance(signer, EcdsaSigner):
                raise UnsupportedOption("Only ECDSA signatures have a DER form.")
            der = signer
        return cls(signer, alg, options.prehashed, der)

    def sign(self, key: Any, message: bytes) -> bytes:
        """The signature of a private key, in the form that the options ask for."""
        signature = self.signer.sign(key, message, self.alg, self.prehashed)
        return self.der.to_der(signature) if self.der else signature

    def verify(self, public: Any, message: bytes, signature: bytes) -> bool:
        """Whether a signature in the form that the options ask for is good."""
        if self.der:
            try:
                signature = self.der.from_der(signature)
            except ValueError:
                signature = b""
        return self.signer.verify(public, message, signature, self.alg, self.prehashed)


def sign_as(algorithm: Signer[Any, Any] | Mac[Any], key: Any, message: bytes, alg: str) -> bytes:
    """What a JWS has for a signature: one, or an authentication code."""
    if isinstance(algorithm, Signer):
        return algorithm.sign(key, message, alg, False)
    return algorithm.mac(key, message)


def verify_as(
    algorithm: Signer[Any, Any] | Mac[Any], key: Any, message: bytes, signature: bytes, alg: str
) -> bool:
    """Whether what a JWS has for a signature is good; `key` is public for a signature."""
    if isinstance(algorithm, Signer):
        return algorithm.verify(key, message, signature, alg, False)
    return algorithm.verify_mac(key, message, signature)
