"""Signs and verifies messages, one by one and in batches, also by message authentication codes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from minikms.errors import UnsupportedOption
from minikms.keys.operation import BatchOperation, Operation, UsableKey, Use
from minikms.plugin.protocol import EcdsaSigner, Mac, SignatureOptions, Signer
from minikms.rules import Rules

AnySigner: TypeAlias = Signer[Any, Any]

# Making one takes half a microsecond, and most callers use the same few.
_options = lru_cache(256)(SignatureOptions)

_SIGN = (Use(Signer, "sign"),)
_VERIFY = (Use(Signer, "verify"),)


class SignOptions(NamedTuple):
    """A caller's options for a signature.

    `alg` is a JOSE name, by default the first of the key. If `prehashed`, the message is a digest.
    `hash` and `salt_length` are as in SignatureOptions.
    """

    alg: str | None = None
    encoding: Literal["raw", "der"] = "raw"
    prehashed: bool = False
    hash: str | None = None
    salt_length: int | Literal["auto"] | None = None


class Signed(NamedTuple):
    """A signature, the JOSE name of its algorithm if there is one, and the kid of its key."""

    sig: bytes
    alg: str | None
    kid: str


@dataclass(slots=True, repr=False)
class Sign(Operation[AnySigner, Signed]):
    """Signs a message; raises UnsupportedOption."""

    uses = _SIGN
    asks = True
    message: bytes
    options: SignOptions

    def permit(self, key: UsableKey[AnySigner], rules: Rules) -> None:
        rules.permit_operation(key.use.operation)
        _permit_alg(key, self.options, rules)

    def compute(self, key: UsableKey[AnySigner]) -> Signed:
        signing = _Signing.choose(key, self.options)
        sig = signing.signer.sign(key.material, self.message, signing.options)
        if signing.der:
            sig = signing.der.to_der(sig)
        alg = signing.options.alg if signing.options.hash is None else None
        return Signed(sig, alg or None, key.kid)


@dataclass(slots=True, repr=False)
class Verify(Operation[AnySigner, bool]):
    """Verifies a signature over a message; raises UnsupportedOption."""

    uses = _VERIFY
    message: bytes
    signature: bytes
    options: SignOptions

    def compute(self, key: UsableKey[AnySigner]) -> bool:
        signing = _Signing.choose(key, self.options)
        return signing.verify(key.material, self.message, self.signature)

    def is_final(self, result: bool) -> bool:
        return result


@dataclass(slots=True, repr=False)
class SignBatch(BatchOperation[AnySigner, bytes, bytes]):
    """Signs each message; raises UnsupportedOption."""

    uses = _SIGN
    asks = True
    options: SignOptions

    def permit(self, key: UsableKey[AnySigner], rules: Rules) -> None:
        rules.permit_operation(key.use.operation)
        _permit_alg(key, self.options, rules)

    def bind(self, key: UsableKey[AnySigner]) -> Callable[[Sequence[bytes]], list[bytes]]:
        signing = _Signing.choose(key, self.options)
        return lambda messages: signing.sign_many(key.material, messages)


@dataclass(slots=True, repr=False)
class VerifyBatch(BatchOperation[AnySigner, tuple[bytes, bytes], bool]):
    """Verifies each pair of message and signature; raises UnsupportedOption."""

    uses = _VERIFY
    options: SignOptions

    def bind(
        self, key: UsableKey[AnySigner]
    ) -> Callable[[Sequence[tuple[bytes, bytes]]], list[bool]]:
        signing = _Signing.choose(key, self.options)
        return lambda pairs: [signing.verify(key.material, *pair) for pair in pairs]

    def is_final(self, result: bool) -> bool:
        return result


@dataclass(slots=True, repr=False)
class ComputeMac(Operation[Mac[Any], bytes]):
    """Computes the authentication code of a message."""

    uses = (Use(Mac, "mac"),)
    asks = True
    message: bytes

    def permit(self, key: UsableKey[Mac[Any]], rules: Rules) -> None:
        rules.permit_operation(key.use.operation)
        rules.permit_alg(next(iter(key.algorithm.jws_algs), None))

    def compute(self, key: UsableKey[Mac[Any]]) -> bytes:
        return key.algorithm.mac(key.material, self.message)


@dataclass(slots=True, repr=False)
class VerifyMac(Operation[Mac[Any], bool]):
    """Verifies the authentication code of a message."""

    uses = (Use(Mac, "mac-verify"),)
    message: bytes
    mac: bytes

    def compute(self, key: UsableKey[Mac[Any]]) -> bool:
        return key.algorithm.verify_mac(key.material, self.message, self.mac)

    def is_final(self, result: bool) -> bool:
        return result


@dataclass(slots=True, repr=False)
class _Signing:
    """An algorithm with the options of a signature, checked and completed."""

    signer: AnySigner
    options: SignatureOptions
    der: EcdsaSigner[Any, Any] | None

    @classmethod
    def choose(cls, key: UsableKey[AnySigner], options: SignOptions) -> Self:
        """Check and complete options for a key; raises UnsupportedOption."""
        signer = key.algorithm
        algs, alg = signer.signing_algs, options.alg
        if key.alg is not None:
            if alg not in (None, key.alg):
                raise UnsupportedOption("The JWK is for another alg.")
            alg = key.alg
        if alg is None:
            alg = algs[0] if algs else ""
        elif alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs) or 'no JOSE name'}.")
        der = None
        if options.encoding == "der":
            if not isinstance(signer, EcdsaSigner):
                raise UnsupportedOption("Only ECDSA signatures have a DER form.")
            der = signer
        if options.hash is not None and options.hash not in signer.signing_hashes:
            may = ", ".join(signer.signing_hashes) or "of its own choice"
            raise UnsupportedOption(f"This key signs with the hash: {may}.")
        chosen = _options(alg, options.prehashed, options.hash, options.salt_length)
        return cls(signer, chosen, der)

    def sign_many(self, key: Any, messages: Sequence[bytes]) -> list[bytes]:
        signatures = self.signer.sign_many(key, messages, self.options)
        return [self.der.to_der(one) for one in signatures] if self.der else signatures

    def verify(self, public: Any, message: bytes, signature: bytes) -> bool:
        """Verify a signature in the requested encoding."""
        if self.der:
            try:
                signature = self.der.from_der(signature)
            except ValueError:
                signature = b""
        return self.signer.verify(public, message, signature, self.options)


def _permit_alg(key: UsableKey[AnySigner], options: SignOptions, rules: Rules) -> None:
    """Raise RuleViolated if rules do not allow the algorithm of a signature.

    A signature with a chosen hash has no JOSE name.
    """
    chosen = _Signing.choose(key, options).options
    rules.permit_alg(chosen.alg if chosen.hash is None else None)
