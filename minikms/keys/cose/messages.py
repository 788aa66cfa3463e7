"""COSE messages of one signature or authentication code, signed and verified (RFC 9052)."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Self, TypeAlias

import cbor2

from minikms.cbor import (
    ARRAY,
    BYTES,
    MAP,
    NEGATIVE,
    NULL,
    TAG,
    TEXT,
    UINT,
    CborError,
    Map,
    Reader,
    byte_string,
    head,
)
from minikms.errors import InvalidCose, RuleViolated, UnsupportedOption, ValidationFailed
from minikms.keys.jose.jws import KidHeader, SignerOrMac, certified, kid_in_header
from minikms.keys.operation import Envelope, Operation, UsableKey, Use
from minikms.keys.rule_checks import check_cose
from minikms.keys.x509.certificates import chain_of, sent_chain
from minikms.plugin.protocol import Mac, SignatureOptions, Signer
from minikms.rules import Rules

CertificateHeader: TypeAlias = Literal["none", "x5chain", "x5t"]

# Labels of header parameters: RFC 9052 section 3.1, RFC 9596, RFC 9360 section 2.
_ALG, _CRIT, _CONTENT_TYPE, _KID, _TYP, _X5CHAIN, _X5T = 1, 2, 3, 4, 16, 33, 34
_SHA_256: Final = -16  # RFC 9054 section 3.1

# The major types of their values.
_TYPES: Final[Mapping[int | str, tuple[int, ...]]] = {
    _ALG: (UINT, NEGATIVE, TEXT),
    _CRIT: (ARRAY,),
    _CONTENT_TYPE: (UINT, TEXT),
    _KID: (BYTES,),
    _TYP: (UINT, TEXT),
}

# Labels that are understood if `crit` has them.
_UNDERSTOOD: Final = frozenset({_ALG, _CRIT, _CONTENT_TYPE, _KID})

# The most bytes of a header map: a chain of certificates takes some thousands.
_MAX_HEADER: Final = 65_536
_TOO_LONG: Final = f"A header map has more than {_MAX_HEADER:,} bytes."


class _Kind(NamedTuple):
    """A kind of message, with the first bytes of a tagged message, and of the bytes to sign."""

    name: str
    tag: int
    tagged: bytes
    to_sign: bytes


def _kind(name: str, context: str, tag: int) -> _Kind:
    """The kind of message with this name, context and tag."""
    to_sign = _FOUR + head(TEXT, len(context)) + context.encode()
    return _Kind(name, tag, head(TAG, tag) + _FOUR, to_sign)


_FOUR: Final = head(ARRAY, 4)
_EMPTY: Final = head(MAP, 0)
_KID_LABEL: Final = head(UINT, _KID)

# RFC 9052 sections 4.4 and 6.3.
_SIGN1: Final = _kind("COSE_Sign1", "Signature1", 18)
_MAC0: Final = _kind("COSE_Mac0", "MAC0", 17)


class CoseResult(NamedTuple):
    """The result of verifying a message: its header maps, and its payload only if it is valid."""

    valid: bool
    payload: bytes | None
    protected: bytes
    unprotected: bytes


@dataclass(frozen=True, slots=True, repr=False)
class CoseHeader:
    """The header parameters that the caller chooses for a new message.

    `protected` and `unprotected` are encoded maps, or None. `kid` chooses the value of the kid,
    and `certificate` chooses the parameter with the key's certificate.
    """

    protected: bytes | None = None
    unprotected: bytes | None = None
    content_type: str | int | None = None
    typ: str | int | None = None
    kid: KidHeader = "kid"
    certificate: CertificateHeader = "none"

    def encode(self, alg: int, key: UsableKey[SignerOrMac]) -> tuple[bytes, bytes]:
        """The protected and the unprotected map; raises InvalidCose and UnsupportedOption."""
        kid = kid_in_header(key, self.kid)
        certificate = b"" if self.certificate == "none" else _certificate(key, self.certificate)
        ours = _protected(alg, self.content_type, self.typ), _unprotected(kid, certificate)
        if self.protected is None and self.unprotected is None:
            return ours
        protected, unprotected = Map.parse(ours[0]), Map.parse(ours[1])
        taken = {_ALG, _CRIT, *protected, *unprotected}
        for name, our, data in (
            ("protected", protected, self.protected),
            ("unprotected", unprotected, self.unprotected),
        ):
            own = Map() if data is None else _own_map(name, data)
            for label in own.keys() & taken:
                fault = f"The service sets the label {label!r:.40}, or it occurs twice."
                raise InvalidCose(errors=[(f"#/{name}", fault)])
            taken |= own.keys()
            our.update(own)
        both = protected.encode(), unprotected.encode()
        _own_map("protected", both[0])
        _own_map("unprotected", both[1])
        return both


@dataclass(slots=True, repr=False)
class SignCose(Envelope[SignerOrMac, bytes]):
    """A COSE_Sign1, or by a MAC key a COSE_Mac0.

    `alg` is a JOSE name. A `detached` message leaves the payload out. Raises UnsupportedOption,
    InvalidCose and RuleViolated.
    """

    uses = (Use(Signer, "sign"), Use(Mac, "mac"))
    payload: bytes
    header: CoseHeader
    alg: str | None = None
    external_aad: bytes = b""
    detached: bool = False
    tagged: bool = True

    def permit(self, key: UsableKey[SignerOrMac], rules: Rules) -> None:
        if not rules.cose:
            raise RuleViolated("cose", "The key signs no COSE message.")

    def compute(self, key: UsableKey[SignerOrMac]) -> bytes:
        algorithm, kind = key.algorithm, _kind_of(key)
        number, alg = _alg_of(key, self.alg)
        protected, unprotected = self.header.encode(number, key)
        if key.rules is not None:
            check_cose(key.rules, alg, protected, unprotected, self.payload)
        message = _to_sign(kind, protected, self.external_aad, self.payload)
        if isinstance(algorithm, Signer):
            signature = algorithm.sign(key.material, message, SignatureOptions(alg))
        else:
            signature = algorithm.mac(key.material, message)
        parts = (
            kind.tagged if self.tagged else _FOUR,
            byte_string(protected),
            unprotected,
            NULL if self.detached else byte_string(self.payload),
            byte_string(signature),
        )
        return b"".join(parts)


@dataclass(slots=True, repr=False)
class VerifyCose(Operation[SignerOrMac, CoseResult]):
    """The verification of a COSE_Sign1, or by a MAC key of a COSE_Mac0.

    `payload` is the payload of a detached message, else None. Raises InvalidCose and
    UnsupportedOption, and ValidationFailed if there is no payload.
    """

    uses = (Use(Signer, "verify"), Use(Mac, "mac-verify"))
    message: bytes
    payload: bytes | None = None
    external_aad: bytes = b""

    def compute(self, key: UsableKey[SignerOrMac]) -> CoseResult:
        algorithm, kind = key.algorithm, _kind_of(key)
        _require_number(key)
        parsed = Cose.parse(self.message, kind)
        payload = parsed.payload if self.payload is None else self.payload
        if payload is None:
            fault = "The message leaves its payload out: give it here."
            raise ValidationFailed(errors=[("#/payload", fault)])
        alg = algorithm.cose_algs.get(parsed.alg)  # type: ignore[arg-type]
        valid = (
            alg is not None
            and key.alg in (None, alg)
            and (parsed.payload is None or parsed.payload == payload)
        )
        if valid:
            message = _to_sign(kind, parsed.protected, self.external_aad, payload)
            if isinstance(algorithm, Signer):
                options = SignatureOptions(alg or "")
                valid = algorithm.verify(key.material, message, parsed.signature, options)
            else:
                valid = algorithm.verify_mac(key.material, message, parsed.signature)
        return CoseResult(
            valid, payload if valid else None, parsed.protected or _EMPTY, parsed.unprotected
        )

    def is_final(self, result: CoseResult) -> bool:
        return result.valid


@dataclass(frozen=True, slots=True, repr=False)
class Cose:
    """A message in parts; `protected` has the signed bytes, and `alg` is its algorithm in them."""

    protected: bytes
    unprotected: bytes
    payload: bytes | None
    signature: bytes
    alg: int | str | None

    @classmethod
    def parse(cls, data: bytes, kind: _Kind) -> Self:
        """The parts of a message of this kind, tagged or not; raises InvalidCose."""
        try:
            return cls._parse(data, kind)
        except CborError as exc:
            raise InvalidCose(f"This is not a {kind.name}. {exc}") from None

    @classmethod
    def _parse(cls, data: bytes, kind: _Kind) -> Self:
        reader = Reader(data)
        major, argument = reader.head()
        if major == TAG:
            if argument != kind.tag:
                raise CborError(f"Its tag is not {kind.tag}.")
            major, argument = reader.head()
        if (major, argument) != (ARRAY, 4):
            raise CborError("It is not an array of four items.")
        protected = reader.byte_string()
        if len(protected) > _MAX_HEADER:
            raise CborError(_TOO_LONG)
        start = reader.at
        bounded = Reader(data[start : start + _MAX_HEADER])
        unprotected = bounded.map(2)
        reader.at += bounded.at
        bare = bounded.data[: bounded.at]
        payload, signature = reader.byte_string_or_null(), reader.byte_string()
        reader.end()
        # An empty map may also be no bytes (RFC 9052 section 3).
        header = Map.parse(protected, depth=2) if protected else Map()
        if not header.keys().isdisjoint(unprotected):
            raise CborError("A label is in both header maps.")
        for each in (header, unprotected):
            _check_types(each)
        if _CRIT in unprotected:
            raise CborError("The label 2 (crit) is not protected.")
        _check_critical(header)
        alg = Reader(header[_ALG]).label() if _ALG in header else None
        return cls(protected, bare, payload, signature, alg)


def _check_types(header: Map) -> None:
    """Raise CborError if a value does not have the type of its label."""
    for label in header.keys() & _TYPES.keys():
        if header[label][0] >> 5 not in _TYPES[label]:
            raise CborError(f"The value of the label {label!r} has the wrong type.")


def _check_critical(header: Map) -> None:
    """Raise CborError unless every critical label is present and understood."""
    if _CRIT not in header:
        return
    labels = Reader(header[_CRIT]).labels()
    if not labels:
        raise CborError("The label 2 (crit) is empty.")
    for label in labels:
        if label not in header or label not in _UNDERSTOOD:
            raise CborError("The label 2 (crit) names a label that is missing or not understood.")


def _own_map(name: str, data: bytes) -> Map:
    """The map of a caller's parameters for the header map of this name; raises InvalidCose."""
    try:
        if len(data) > _MAX_HEADER:
            raise CborError(_TOO_LONG)
        read = Map.parse(data, depth=2)
        _check_types(read)
    except CborError as exc:
        raise InvalidCose(errors=[(f"#/{name}", str(exc))]) from None
    return read


def _kind_of(key: UsableKey[SignerOrMac]) -> _Kind:
    return _SIGN1 if isinstance(key.algorithm, Signer) else _MAC0


def _require_number(key: UsableKey[SignerOrMac]) -> Mapping[int, str]:
    """The COSE numbers of a key, at least one, with JOSE names; raises UnsupportedOption."""
    algs = key.algorithm.cose_algs
    if not algs:  # as for some plugins
        raise UnsupportedOption("COSE has no number for the signatures of this key.")
    return algs


def _alg_of(key: UsableKey[SignerOrMac], name: str | None) -> tuple[int, str]:
    """The COSE number and the JOSE name of a new signature; raises UnsupportedOption."""
    algs = _require_number(key)
    for number, alg in algs.items():
        if name in (None, alg):
            return number, alg
    raise UnsupportedOption(f"This key signs for: {', '.join(dict.fromkeys(algs.values()))}.")


def _to_sign(kind: _Kind, protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """The bytes that are signed (RFC 9052 sections 4.4 and 6.3)."""
    return kind.to_sign + b"".join(map(byte_string, (protected, external_aad, payload)))


@lru_cache(maxsize=1024)
def _protected(alg: int, content_type: str | int | None, typ: str | int | None) -> bytes:
    """The protected map of a new message, with its labels in order (RFC 8949 section 4.2.1)."""
    values = {_ALG: alg, _CONTENT_TYPE: content_type, _TYP: typ}
    return cbor2.dumps({label: value for label, value in values.items() if value is not None})


def _unprotected(kid: str | None, certificate: bytes) -> bytes:
    """The unprotected map of a new message; `certificate` is an entry of it, or empty.

    The kid is a hint and need not be protected (RFC 9052 section 3.1); the protected header of an
    mdoc has the alg alone (ISO/IEC 18013-5 section 9.1.2.4).
    """
    named = b"" if kid is None else _KID_LABEL + byte_string(kid.encode())
    return head(MAP, bool(named) + bool(certificate)) + named + certificate


def _certificate(key: UsableKey[SignerOrMac], name: CertificateHeader) -> bytes:
    """The entry of a header map that has a key's certificate; raises UnsupportedOption."""
    record = certified(key)
    if name == "x5t":
        digest = hashlib.sha256(chain_of(record)[0]).digest()
        return cbor2.dumps(_X5T) + cbor2.dumps([_SHA_256, digest])
    # A single certificate has no array (RFC 9360 section 2).
    first, *others = map(base64.b64decode, sent_chain(record))
    return cbor2.dumps(_X5CHAIN) + cbor2.dumps([first, *others] if others else first)
