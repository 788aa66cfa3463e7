"""JSON Web Signatures, detached or not: signed and verified (RFC 7515, RFC 7797)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import orjson

from minikms.encodings import decode_canonical, jose_b64url
from minikms.errors import RuleViolated, UnsupportedOption, ValidationFailed
from minikms.keys.operation import Envelope, Operation, UsableKey, Use
from minikms.keys.rule_checks import check_jws
from minikms.keys.x509.certificates import sent_chain, thumbprint_of
from minikms.plugin.protocol import Mac, SignatureOptions, Signer
from minikms.records import KeyRecord
from minikms.rules import Rules

SignerOrMac: TypeAlias = Signer[Any, Any] | Mac[Any]

KidHeader: TypeAlias = Literal["alias", "kid", "none"]
"""The name of a key that becomes the `kid` of a header."""

CertificateHeader: TypeAlias = Literal["none", "x5c", "x5t#S256"]
"""The header member by which a JWS names the certificate of its key (RFC 7515 section 4.1)."""

Serialization: TypeAlias = Literal["compact", "flattened", "general"]

Serialized: TypeAlias = str | dict[str, Any]
"""A JWS or a JWE: compact, or the object of a JSON form."""

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

# Bytes of a payload with its disclosures whose claims are checked in a thread.
_LONG: Final = 65_536

# The number of signatures of a JWS in the general form, and the number that is verified at once.
_MAX_SIGNATURES: Final = 64
_FEW: Final = 4


class JwsResult(NamedTuple):
    """The result of verifying a JWS: its protected header, and its payload only if it is valid."""

    valid: bool
    header: dict[str, Any] | None
    payload: bytes | None


@dataclass(slots=True, repr=False)
class SignJws(Envelope[SignerOrMac, Serialized]):
    """A JWS; raises UnsupportedOption, RuleViolated, and ValidationFailed.

    `header` has members that the service does not set. With `kid` "alias", the header's `kid` is
    the alias if the caller named one. `certificate` names the member that has the certificate of
    the key, "x5c" or "x5t#S256". The header may be too long to be verified. `disclosures` are the
    ones of an SD-JWT, for the rules of the key.
    """

    uses = (Use(Signer, "sign"), Use(Mac, "mac"))
    payload: bytes
    header: Mapping[str, Any]
    alg: str | None = None
    detached: bool = False
    kid: KidHeader = "alias"
    certificate: CertificateHeader = "none"
    serialization: Serialization = "compact"
    disclosures: Sequence[str] = ()
    is_long: bool = field(init=False, default=False)

    def permit(self, key: UsableKey[SignerOrMac], rules: Rules) -> None:
        # A verifier that ignores `crit` decodes the unencoded payload, and reads other claims.
        if self.detached and rules.jws is not None:
            raise RuleViolated("jws.detached", "The key signs no detached payload.")
        # Its claims take long to read.
        self.is_long = len(self.payload) + sum(map(len, self.disclosures)) > _LONG

    def compute(self, key: UsableKey[SignerOrMac]) -> Serialized:
        protected, message, signature = self.sign(key)
        if self.serialization == "compact":
            return compact(protected, message, signature, detached=self.detached)
        payload = {} if self.detached else {"payload": message.decode("ascii").partition(".")[2]}
        signed = {"protected": protected, "signature": jose_b64url(signature)}
        if self.serialization == "flattened":
            return payload | signed
        return {**payload, "signatures": [signed]}

    def sign(self, key: UsableKey[SignerOrMac]) -> tuple[str, bytes, bytes]:
        """The protected header, the signed bytes, and the signature."""
        algs = _algs(key)
        alg = algs[0] if self.alg is None else self.alg
        if alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs)}.")
        kid = kid_in_header(key, self.kid)
        header = self.header
        if self.certificate != "none":
            header = {**header, self.certificate: _certificate(key, self.certificate)}
        if key.rules is not None:
            check_jws(key.rules, alg, header, self.payload, self.disclosures)
        protected = protected_header(alg, kid, header, detached=self.detached)
        message = signing_input(protected, self.payload, plain=self.detached)
        if isinstance(key.algorithm, Signer):
            signature = key.algorithm.sign(key.material, message, SignatureOptions(alg))
        else:
            signature = key.algorithm.mac(key.material, message)
        return protected, message, signature


@dataclass(slots=True, repr=False)
class VerifyJws(Operation[SignerOrMac, JwsResult]):
    """The verification of a JWS, by one of its signatures; raises UnsupportedOption.

    `payload` is the payload of a detached JWS, else None.
    """

    uses = (Use(Signer, "verify"), Use(Mac, "mac-verify"))
    value: Serialized
    payload: bytes | None
    is_long: bool = field(init=False)

    def __post_init__(self) -> None:
        signatures = () if isinstance(self.value, str) else self.value.get("signatures")
        self.is_long = isinstance(signatures, list) and len(signatures) > _FEW

    def compute(self, key: UsableKey[SignerOrMac]) -> JwsResult:
        algs = _algs(key) if isinstance(key.algorithm, Signer) else key.algorithm.jws_algs
        parsed = Jws.parse(self.value, self.payload)
        for one in parsed:
            if _is_valid(one, key, algs):
                return JwsResult(True, one.header, one.payload)
        return JwsResult(False, parsed[0].header if parsed else None, None)

    def is_final(self, result: JwsResult) -> bool:
        return result.valid


def _is_valid(parsed: "Jws", key: UsableKey[SignerOrMac], algs: Sequence[str]) -> bool:
    """Tell whether a signature is the key's, by one of these algorithms."""
    alg, algorithm = parsed.header.get("alg"), key.algorithm
    if alg not in algs or key.alg not in (None, alg) or not parsed.understood:
        return False
    if isinstance(algorithm, Signer):
        options = SignatureOptions(str(alg))
        return algorithm.verify(key.material, parsed.signing_input, parsed.signature, options)
    return algorithm.verify_mac(key.material, parsed.signing_input, parsed.signature)


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
    """A signature of a JWS, with its protected header and the payload."""

    header: dict[str, Any]
    payload: bytes
    protected: str
    signature: bytes

    @property
    def understood(self) -> bool:
        """True if it calls no extension critical but RFC 7797's `b64`."""
        if "crit" not in self.header:
            return "b64" not in self.header
        return self.header["crit"] == ["b64"] and "b64" in self.header

    @property
    def signing_input(self) -> bytes:
        """The bytes that were signed."""
        plain = self.header.get("b64") is False
        return signing_input(self.protected, self.payload, plain=plain)

    @classmethod
    def parse(cls, value: Serialized, detached: bytes | None) -> list[Self]:
        """The signatures of a JWS in any form; none if it is not a JWS.

        `detached` is the payload if the JWS leaves it out; a payload in it must be the same.
        """
        try:
            middle, signatures = _parts(value)
            headers = [_header(*each) for each in signatures]
            (plain,) = {header.get("b64") is False for header in headers}  # RFC 7797 section 3
            own = middle.encode("utf-8") if plain else decode_canonical(middle)
            if detached is not None and own not in (b"", detached):
                return []
            payload = own if detached is None else detached
            return [
                cls(header, payload, each.protected, decode_canonical(each.signature))
                for header, each in zip(headers, signatures, strict=True)
            ]
        except ValueError:
            return []


class _Signature(NamedTuple):
    """A signature of a JWS in its parts; the unprotected header is not signed."""

    protected: str
    signature: str
    unprotected: Mapping[str, Any]


def _parts(value: Serialized) -> tuple[str, list[_Signature]]:
    """The payload and the signatures of a JWS in any form; raises ValueError."""
    if isinstance(value, str):
        protected, payload, signature = value.split(".", 3)
        return payload, [_Signature(protected, signature, {})]
    payload, found = value.get("payload", ""), value.get("signatures", [value])
    if "signatures" in value and not value.keys().isdisjoint(("protected", "signature", "header")):
        raise ValueError("members of both JSON forms")  # RFC 7515 section 7.2.2
    if not isinstance(payload, str) or not isinstance(found, list):
        raise ValueError("a member of another type")
    if not 1 <= len(found) <= _MAX_SIGNATURES:
        raise ValueError("too many signatures, or none")
    return payload, [_signature(each) for each in found]


def _signature(value: object) -> _Signature:
    """A signature of a JSON form; raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    parts = value.get("protected", ""), value.get("signature", ""), value.get("header", {})
    if [type(part) for part in parts] != [str, str, dict]:
        raise ValueError("a member of another type")
    return _Signature(*parts)


def _header(protected: str, signature: str, unprotected: Mapping[str, Any]) -> dict[str, Any]:
    """The protected header of a signature; raises ValueError."""
    if len(protected) > _MAX_HEADER:
        raise ValueError("too long")
    header = orjson.loads(decode_canonical(protected))
    if not isinstance(header, dict) or too_deep(header) or mistyped(header, MEMBERS):
        raise ValueError("not a header")
    if not unprotected.keys().isdisjoint((*header, "alg", "b64", "crit")):
        raise ValueError("a member that must be protected, or stands twice")
    return header


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
