"""Makes and verifies JSON Web Signatures, detached or not (RFC 7515, RFC 7797)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from minikms.credentials.jose.jws_forms import (
    Jws,
    Serialization,
    Serialized,
    compact,
    protected_header,
    read_signing_input,
    signing_input,
)
from minikms.credentials.rule_checks import check_jws
from minikms.credentials.x509.certificates import sent_chain, thumbprint_of
from minikms.encodings import jose_b64url
from minikms.errors import RuleViolated, UnsupportedOption, ValidationFailed
from minikms.keys.operation import Envelope, Operation, UsableKey, Use
from minikms.keys.signing import Signed
from minikms.plugin.protocol import Mac, SignatureOptions, Signer
from minikms.records import KeyRecord
from minikms.rules import Rules

SignerOrMac: TypeAlias = Signer[Any, Any] | Mac[Any]

KidHeader: TypeAlias = Literal["alias", "kid", "none"]
"""Chooses the name of a key that becomes the `kid` of a header."""

CertificateMember: TypeAlias = Literal["x5c", "x5t#S256"]
"""A header member with the certificate of the key (RFC 7515 section 4.1)."""


RESERVED: Final = frozenset({"alg", "kid", "b64", "crit"})
"""Header members that a caller cannot set, since the service sets them."""


# If a payload with its disclosures has more bytes, its claims are checked in a thread: in 56 KB,
# the names of 7,000 claims take 12 ms.
_LONG: Final = 16_384

# The most signatures of a JWS that is verified on the event loop.
_FEW: Final = 4


class JwsResult(NamedTuple):
    """The result of verifying a JWS: its protected header, and its payload only if it is valid."""

    valid: bool
    header: dict[str, Any] | None
    payload: bytes | None


@dataclass(slots=True, repr=False)
class SignJws(Envelope[SignerOrMac, Serialized]):
    """Makes a JWS; raises UnsupportedOption, RuleViolated, and ValidationFailed.

    `header` has the caller's members. With `kid` "alias", the header's `kid` is the alias if the
    caller named one. `certificates` names the header members for the certificate of the key. A
    header that is too long to be verified, or has another key's certificate, is refused.
    `disclosures` belong to an SD-JWT, and are checked by the rules of the key.
    """

    uses = (Use(Signer, "sign"), Use(Mac, "mac"))
    asks = True
    payload: bytes
    header: Mapping[str, Any]
    alg: str | None = None
    detached: bool = False
    kid: KidHeader = "alias"
    certificates: Sequence[CertificateMember] = ()
    serialization: Serialization = "compact"
    disclosures: Sequence[str] = ()
    is_long: bool = field(init=False, default=False)

    def permit(self, key: UsableKey[SignerOrMac], rules: Rules) -> None:
        # A verifier that ignores `crit` would decode the payload, and read other claims.
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
        """Return the protected header, the signed bytes, and the signature."""
        algs = _algs(key)
        alg = algs[0] if self.alg is None else self.alg
        if alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs)}.")
        kid = kid_in_header(key, self.kid)
        _require_own_certificate(key, self.header, "#/header")
        header = dict(self.header)
        for member in self.certificates:
            header[member] = _certificate(key, member)
        if key.rules is not None:
            check_jws(key.rules, alg, header, self.payload, self.disclosures)
        protected = protected_header(alg, kid, header, detached=self.detached)
        message = signing_input(protected, self.payload, plain=self.detached)
        return protected, message, sign_or_mac(key, alg, message)


@dataclass(slots=True, repr=False)
class SignSigningInput(Envelope[SignerOrMac, Signed]):
    """Signs the JWS Signing Input of a caller (RFC 7515 section 5.1).

    It is signed unchanged, by the algorithm of its header, if the rules of the key allow it. Raises
    ValidationFailed, UnsupportedOption and RuleViolated.
    """

    uses = SignJws.uses
    asks = True
    text: str
    disclosures: Sequence[str] = ()
    is_long: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_long = len(self.text) + sum(map(len, self.disclosures)) > _LONG

    def compute(self, key: UsableKey[SignerOrMac]) -> Signed:
        try:
            header, payload = read_signing_input(self.text)
        except ValueError:
            fault = (
                "It must be a header and a payload in base64url without padding, separated by a "
                "dot. No member of the header may stand twice, have the wrong type, or be b64 or "
                "crit."
            )
            raise ValidationFailed(errors=[("#/signing_input", fault)]) from None
        algs, alg = _algs(key), header.get("alg")
        if alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs)}.")
        _require_own_certificate(key, header, "#/signing_input")
        if key.rules is not None:
            check_jws(key.rules, alg, header, payload, self.disclosures)
        return Signed(sign_or_mac(key, alg, self.text.encode("ascii")), alg, key.kid)


@dataclass(slots=True, repr=False)
class VerifyJws(Operation[SignerOrMac, JwsResult]):
    """Verifies a JWS; one valid signature is enough. Raises UnsupportedOption.

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
    """Verify a signature with the key, by one of these algorithms."""
    alg, algorithm = parsed.header.get("alg"), key.algorithm
    if alg not in algs or key.alg not in (None, alg) or not parsed.understood:
        return False
    if isinstance(algorithm, Signer):
        options = SignatureOptions(str(alg))
        return algorithm.verify(key.material, parsed.signing_input, parsed.signature, options)
    return algorithm.verify_mac(key.material, parsed.signing_input, parsed.signature)


def sign_or_mac(key: UsableKey[SignerOrMac], alg: str, message: bytes) -> bytes:
    """Sign a message, or compute its authentication code if the key is a MAC key."""
    if isinstance(key.algorithm, Signer):
        return key.algorithm.sign(key.material, message, SignatureOptions(alg))
    return key.algorithm.mac(key.material, message)


def _algs(key: UsableKey[SignerOrMac]) -> tuple[str, ...]:
    """List the `alg` values for a JWS by a key; raises UnsupportedOption if there are none."""
    if not key.algorithm.jws_algs:  # as for some plugins
        raise UnsupportedOption("JOSE has no name for the signatures of this key: it makes no JWS.")
    return key.algorithm.jws_algs


def kid_in_header(key: UsableKey[SignerOrMac], name: KidHeader) -> str | None:
    """Return the `kid` for a header; None to leave it out."""
    if name == "none":
        return None
    return key.kid if name == "kid" else key.alias or key.kid


def _require_own_certificate(
    key: UsableKey[SignerOrMac], header: Mapping[str, Any], pointer: str
) -> None:
    """Raise ValidationFailed for a caller's header with a certificate other than the key's.

    The alias of the key may have moved since the caller read the certificate. A key without
    certificates signs any header.
    """
    record = key.record
    if record is None or not record.certificates:
        return
    own = record.certificates[0]
    if ("x5c" in header and header["x5c"][:1] != [own]) or (
        "x5t#S256" in header and header["x5t#S256"] != thumbprint_of(record)
    ):
        fault = "The certificate in the header is not the one of this key."
        raise ValidationFailed(errors=[(pointer, fault)])


def _certificate(key: UsableKey[SignerOrMac], member: CertificateMember) -> object:
    """Return the value of a header member for a key's certificate; raises UnsupportedOption."""
    record = certified(key)
    return sent_chain(record) if member == "x5c" else thumbprint_of(record)


def certified(key: UsableKey[SignerOrMac]) -> KeyRecord:
    """Return the record of a key; raises UnsupportedOption if the key has no certificates."""
    if key.record is None or not key.record.certificates:
        raise UnsupportedOption("The key has no certificate.")
    return key.record
