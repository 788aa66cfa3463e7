"""Compact JSON Web Signatures, detached or not: signed and verified (RFC 7515, RFC 7797)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import orjson

from minikms.encodings import decode_canonical, jose_b64url
from minikms.errors import UnsupportedOption, ValidationFailed
from minikms.keys.certificates import sent_chain, thumbprint_of
from minikms.keys.operation import Envelope, Operation, UsableKey, Use
from minikms.keys.rule_checks import check_jws
from minikms.plugin.protocol import Mac, SignatureOptions, Signer
from minikms.records import KeyRecord
from minikms.rules import Rules

SignerOrMac: TypeAlias = Signer[Any, Any] | Mac[Any]

KidHeader: TypeAlias = Literal["alias", "kid", "none"]
"""The name of a key that becomes the `kid` of a header."""

CertificateHeader: TypeAlias = Literal["none", "x5c", "x5t#S256"]
"""The header member by which a JWS names the certificate of its key (RFC 7515 section 4.1)."""


RESERVED: Final = frozenset({"alg", "kid", "b64", "crit"})
"""Header members that the service sets, so that no caller does."""

MEMBERS: Final[Mapping[str, type]] = {
    "alg": str,
    "jku": str,
    "jwk": dict,
    "kid": str,
    "x5u": str,
    "x5c": list,
    "x5t": str,
    "x5t#S256": str,
    "typ": str,
    "cty": str,
    "crit": list,
    "b64": bool,
}
"""The types of the registered header members (RFC 7515 section 4.1, RFC 7797); a list has texts."""

# Characters of a header: chains of certificates (x5c) take some thousands.
_MAX_HEADER: Final = 65_536

# Bytes of a payload whose claims are checked in a thread.
_LONG: Final = 65_536


class JwsResult(NamedTuple):
    """The result of verifying a JWS: its header if it has one, its payload only if it is valid."""

    valid: bool
    header: dict[str, Any] | None
    payload: bytes | None


@dataclass(slots=True, repr=False)
class SignJws(Envelope[SignerOrMac, str]):
    """A compact JWS; raises UnsupportedOption, RuleViolated, and ValidationFailed.

    `header` has members that the service does not set. With `kid` "alias", the header's `kid` is
    the alias if the caller named one. `certificate` names the member that has the certificate of
    the key, "x5c" or "x5t#S256". The header may be too long to be verified.
    """

    uses = (Use(Signer, "sign"), Use(Mac, "mac"))
    payload: bytes
    header: Mapping[str, Any]
    alg: str | None = None
    detached: bool = False
    kid: KidHeader = "alias"
    certificate: CertificateHeader = "none"
    is_long: bool = field(init=False, default=False)

    def permit(self, key: UsableKey[SignerOrMac], rules: Rules) -> None:
        self.is_long = len(self.payload) > _LONG  # its claims take long to read

    def compute(self, key: UsableKey[SignerOrMac]) -> str:
        algs = _algs(key)
        alg = algs[0] if self.alg is None else self.alg
        if alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs)}.")
        kid = kid_in_header(key, self.kid)
        header = self.header
        if self.certificate != "none":
            header = {**header, self.certificate: _certificate(key, self.certificate)}
        if key.rules is not None:
            check_jws(key.rules, alg, header, self.payload)
        protected = protected_header(alg, kid, header, detached=self.detached)
        message = signing_input(protected, self.payload, plain=self.detached)
        if isinstance(key.algorithm, Signer):
            signature = key.algorithm.sign(key.material, message, SignatureOptions(alg))
        else:
            signature = key.algorithm.mac(key.material, message)
        return compact(protected, message, signature, detached=self.detached)


@dataclass(slots=True, repr=False)
class VerifyJws(Operation[SignerOrMac, JwsResult]):
    """The verification of a compact JWS; raises UnsupportedOption.

    `payload` is the payload of a detached JWS, else None.
    """

    uses = (Use(Signer, "verify"), Use(Mac, "mac-verify"))
    text: str
    payload: bytes | None

    def compute(self, key: UsableKey[SignerOrMac]) -> JwsResult:
        algs = _algs(key) if isinstance(key.algorithm, Signer) else key.algorithm.jws_algs
        parsed = Jws.parse(self.text, self.payload)
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
    if not key.algorithm.jws_algs:  # as for some plugins
        raise UnsupportedOption("JOSE has no name for the signatures of this key: it makes no JWS.")
    return key.algorithm.jws_algs


def kid_in_header(key: UsableKey[SignerOrMac], name: KidHeader) -> str | None:
    """The `kid` of a header that names the key in this way."""
    if name == "none":
        return None
    return key.kid if name == "kid" else key.alias or key.kid


def _certificate(key: UsableKey[SignerOrMac], member: CertificateHeader) -> object:
    """The value of a header member from a key's certificates; raises UnsupportedOption."""
    record = certified(key)
    return sent_chain(record) if member == "x5c" else thumbprint_of(record)


def certified(key: UsableKey[SignerOrMac]) -> KeyRecord:
    """The record of a key that has certificates; raises UnsupportedOption."""
    if key.record is None or not key.record.certificates:
        raise UnsupportedOption("The key has no certificate.")
    return key.record


class Jws(NamedTuple):
    """A compact JWS in parts, with the bytes that were signed."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    @property
    def understood(self) -> bool:
        """True if it calls no extension critical but RFC 7797's `b64`."""
        if "crit" not in self.header:
            return "b64" not in self.header
        return self.header["crit"] == ["b64"] and "b64" in self.header

    @classmethod
    def parse(cls, text: str, detached: bytes | None) -> Self | None:
        """The parts of `text`; None if it is not a JWS.

        `detached` is the payload if `text` leaves it out; a payload in `text` must be the same.
        """
        try:
            protected, middle, signature = text.split(".", 3)
            if len(protected) > _MAX_HEADER:
                return None
            header = orjson.loads(decode_canonical(protected))
            if not isinstance(header, dict) or too_deep(header) or mistyped(header, MEMBERS):
                return None
            plain = header.get("b64") is False
            own = middle.encode("utf-8") if plain else decode_canonical(middle)
            sig = decode_canonical(signature)
        except ValueError:
            return None
        if detached is not None and own not in (b"", detached):
            return None
        payload = own if detached is None else detached
        return cls(header, payload, signing_input(protected, payload, plain=plain), sig)


def protected_header(alg: str, kid: str | None, extra: Mapping[str, Any], *, detached: bool) -> str:
    """The encoded header of a new JWS; raises ValidationFailed if it is too long to be verified.

    A detached JWS has the form that linked-data suites use: `b64` is false, and critical.
    """
    header = {"alg": alg, **extra} if kid is None else {"alg": alg, "kid": kid, **extra}
    if detached:
        header |= {"b64": False, "crit": ["b64"]}
    encoded = jose_b64url(orjson.dumps(header))
    if len(encoded) > _MAX_HEADER:
        fault = f"The header has more than {_MAX_HEADER:,} characters."
        raise ValidationFailed(errors=[("#/header", fault)])
    return encoded


def signing_input(protected: str, payload: bytes, *, plain: bool) -> bytes:
    """The bytes that are signed (RFC 7515 section 5.1, RFC 7797 section 3)."""
    body = payload if plain else jose_b64url(payload).encode("ascii")
    return protected.encode("ascii") + b"." + body


def compact(protected: str, message: bytes, signature: bytes, *, detached: bool) -> str:
    """The compact form of a signed message, without a detached payload."""
    signed = f"{protected}." if detached else message.decode("ascii")
    return f"{signed}.{jose_b64url(signature)}"


def too_deep(header: Mapping[str, Any]) -> bool:
    """Tell whether a header was read, but is nested too deep to be written."""
    try:
        orjson.dumps([header])
    except TypeError:
        return True
    return False


def mistyped(header: Mapping[str, Any], types: Mapping[str, type]) -> str | None:
    """The name of a header member whose value has the wrong type; None if all types are right."""
    for name in header.keys() & types.keys():
        value = header[name]
        if type(value) is not types[name] or (
            type(value) is list and not all(isinstance(one, str) for one in value)
        ):
            return name
    return None
