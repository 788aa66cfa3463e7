"""Signing and verifying a compact JWS, by a signature or an authentication code (RFC 7515)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from minikms.errors import UnsupportedOption
from minikms.keys import jws
from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import Mac, SignatureOptions, Signer

SignerOrMac: TypeAlias = Signer[Any, Any] | Mac[Any]


class JwsResult(NamedTuple):
    """What became of a JWS: its header where it has one, its payload only where it is valid."""

    valid: bool
    header: dict[str, Any] | None
    payload: bytes | None


@dataclass(slots=True, repr=False)
class SignJws(Operation[SignerOrMac, str]):
    """A compact JWS; raises UnsupportedOption.

    `header` has members that the service does not set itself. Its `kid` is the alias, where that
    named the key, unless `by_kid`.
    """

    uses = (Use(Signer, "sign"), Use(Mac, "mac"))
    payload: bytes
    header: Mapping[str, Any]
    alg: str | None = None
    detached: bool = False
    by_kid: bool = False

    def compute(self, key: UsableKey[SignerOrMac]) -> str:
        algs = _algs(key)
        alg = algs[0] if self.alg is None else self.alg
        if alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs)}.")
        kid = key.kid if self.by_kid else key.alias or key.kid
        protected = jws.protected_header(alg, kid, self.header, detached=self.detached)
        message = jws.signing_input(protected, self.payload, plain=self.detached)
        if isinstance(key.algorithm, Signer):
            signature = key.algorithm.sign(key.material, message, SignatureOptions(alg))
        else:
            signature = key.algorithm.mac(key.material, message)
        return jws.compact(protected, message, signature, detached=self.detached)


@dataclass(slots=True, repr=False)
class VerifyJws(Operation[SignerOrMac, JwsResult]):
    """Whether a compact JWS is good, and what it says; raises UnsupportedOption.

    `payload` is that of a detached one, else None.
    """

    uses = (Use(Signer, "verify"), Use(Mac, "mac-verify"))
    text: str
    payload: bytes | None

    def compute(self, key: UsableKey[SignerOrMac]) -> JwsResult:
        algs = _algs(key) if isinstance(key.algorithm, Signer) else key.algorithm.jws_algs
        parsed = jws.Jws.parse(self.text, self.payload)
        if parsed is None:
            return JwsResult(valid=False, header=None, payload=None)
        alg = parsed.header.get("alg")
        valid = alg in algs and key.alg in (None, alg) and parsed.understood
        if valid:
            message, signature, algorithm = parsed.signing_input, parsed.signature, key.algorithm
            if isinstance(algorithm, Signer):
                options = SignatureOptions(str(alg))
                valid = algorithm.verify(key.material, message, signature, options)
            else:
                valid = algorithm.verify_mac(key.material, message, signature)
        return JwsResult(valid, parsed.header, parsed.payload if valid else None)

    def is_final(self, result: JwsResult) -> bool:
        return result.valid


def _algs(key: UsableKey[SignerOrMac]) -> tuple[str, ...]:
    """The JOSE names that a JWS by a key may have, at least one; raises UnsupportedOption."""
    if not key.algorithm.jws_algs:  # as that of some plugins
        raise UnsupportedOption(_NO_JWS)
    return key.algorithm.jws_algs


_NO_JWS: Final = "JOSE has no name for what this key makes, so that no JWS is made with it."
