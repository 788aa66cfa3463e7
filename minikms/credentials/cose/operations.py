"""Makes and verifies COSE messages with one signature or authentication code (RFC 9052)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minikms.credentials.cbor import (
    NULL,
    Map,
    byte_string,
)
from minikms.credentials.cose.certificates import add_certificates, require_own_certificate
from minikms.credentials.cose.messages import (
    ALG,
    ARRAY_OF_FOUR,
    CRIT,
    EMPTY_MAP,
    MAC0,
    SIGN1,
    Cose,
    Kind,
    SigStructure,
    own_map,
    protected_map,
    to_sign,
    unprotected_map,
)
from minikms.credentials.jose.jws import KidHeader, SignerOrMac, kid_in_header, sign_or_mac
from minikms.credentials.rule_checks import check_cose
from minikms.errors import InvalidCose, RuleViolated, UnsupportedOption, ValidationFailed
from minikms.keys.operation import Envelope, Operation, UsableKey, Use
from minikms.keys.signing import Signed
from minikms.plugin.protocol import Mac, SignatureOptions, Signer
from minikms.rules import Rules


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
    and `certificates` names the parameters with the key's certificate.
    """

    protected: bytes | None = None
    unprotected: bytes | None = None
    content_type: str | int | None = None
    typ: str | int | None = None
    kid: KidHeader = "kid"
    certificates: Sequence[str] = ()

    def encode(self, alg: int, key: UsableKey[SignerOrMac]) -> tuple[bytes, bytes]:
        """Encode the protected and unprotected map.

        Raises InvalidCose, UnsupportedOption and ValidationFailed.
        """
        kid = kid_in_header(key, self.kid)
        ours = protected_map(alg, self.content_type, self.typ), unprotected_map(kid)
        if self.protected is None and self.unprotected is None and not self.certificates:
            return ours
        protected, unprotected = Map.parse(ours[0]), Map.parse(ours[1])
        add_certificates(key, self.certificates, protected, unprotected)
        taken = {ALG, CRIT, *protected, *unprotected}
        for name, our, data in (
            ("protected", protected, self.protected),
            ("unprotected", unprotected, self.unprotected),
        ):
            if data is None:
                continue
            own = own_map(name, data)
            for label in own.keys() & taken:
                fault = f"The service sets the label {label!r:.40}, or it occurs twice."
                raise InvalidCose(errors=[(f"#/{name}", fault)])
            require_own_certificate(key, own, f"#/{name}")
            taken |= own.keys()
            our.update(own)
            own_map(name, our.encode())  # within the bounds with our parameters, too
        return protected.encode(), unprotected.encode()


@dataclass(slots=True, repr=False)
class SignCose(Envelope[SignerOrMac, bytes]):
    """Makes a COSE_Sign1 or, with a MAC key, a COSE_Mac0.

    `alg` is a JOSE name. A `detached` message leaves the payload out. Raises UnsupportedOption,
    InvalidCose and RuleViolated.
    """

    uses = (Use(Signer, "sign"), Use(Mac, "mac"))
    asks = True
    payload: bytes
    header: CoseHeader
    alg: str | None = None
    external_aad: bytes = b""
    detached: bool = False
    tagged: bool = True

    def permit(self, key: UsableKey[SignerOrMac], rules: Rules) -> None:
        _permit_cose(rules)

    def compute(self, key: UsableKey[SignerOrMac]) -> bytes:
        kind = _kind_of(key)
        number, alg = _alg_of(key, self.alg)
        protected, unprotected = self.header.encode(number, key)
        if key.rules is not None:
            check_cose(key.rules, alg, protected, unprotected, self.payload)
        message = to_sign(kind, protected, self.external_aad, self.payload)
        signature = sign_or_mac(key, alg, message)
        parts = (
            kind.tagged if self.tagged else ARRAY_OF_FOUR,
            byte_string(protected),
            unprotected,
            NULL if self.detached else byte_string(self.payload),
            byte_string(signature),
        )
        return b"".join(parts)


@dataclass(slots=True, repr=False)
class SignSigStructure(Envelope[SignerOrMac, Signed]):
    """Signs a caller's Sig_structure of a COSE_Sign1 (RFC 9052 section 4.4).

    A MAC key computes the code of a MAC_structure (section 6.3). The structure is signed unchanged,
    by the algorithm of its protected header, if the rules of the key allow it. Raises InvalidCose,
    UnsupportedOption and RuleViolated.
    """

    uses = SignCose.uses
    asks = True
    structure: bytes

    def permit(self, key: UsableKey[SignerOrMac], rules: Rules) -> None:
        _permit_cose(rules)

    def compute(self, key: UsableKey[SignerOrMac]) -> Signed:
        parsed = SigStructure.parse(self.structure, _kind_of(key))
        algs = _require_number(key)
        alg = algs.get(parsed.alg)  # type: ignore[arg-type]
        if alg is None:
            raise _unsupported(algs)
        require_own_certificate(key, parsed.header, "#/sig_structure")
        if key.rules is not None:
            check_cose(key.rules, alg, parsed.protected, EMPTY_MAP, parsed.payload)
        return Signed(sign_or_mac(key, alg, self.structure), alg, key.kid)


@dataclass(slots=True, repr=False)
class VerifyCose(Operation[SignerOrMac, CoseResult]):
    """Verifies a COSE_Sign1 or, with a MAC key, a COSE_Mac0.

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
            message = to_sign(kind, parsed.protected, self.external_aad, payload)
            if isinstance(algorithm, Signer):
                options = SignatureOptions(alg or "")
                valid = algorithm.verify(key.material, message, parsed.signature, options)
            else:
                valid = algorithm.verify_mac(key.material, message, parsed.signature)
        return CoseResult(
            valid, payload if valid else None, parsed.protected or EMPTY_MAP, parsed.unprotected
        )

    def is_final(self, result: CoseResult) -> bool:
        return result.valid


def _permit_cose(rules: Rules) -> None:
    if not rules.cose:
        raise RuleViolated("cose", "The key signs no COSE message.")


def _kind_of(key: UsableKey[SignerOrMac]) -> Kind:
    return SIGN1 if isinstance(key.algorithm, Signer) else MAC0


def _require_number(key: UsableKey[SignerOrMac]) -> Mapping[int, str]:
    """Return the COSE numbers of a key by JOSE name; raises UnsupportedOption if it has none."""
    algs = key.algorithm.cose_algs
    if not algs:  # as for some plugins
        raise UnsupportedOption("COSE has no number for the signatures of this key.")
    return algs


def _alg_of(key: UsableKey[SignerOrMac], name: str | None) -> tuple[int, str]:
    """Choose the COSE number and the JOSE name of a new signature; raises UnsupportedOption."""
    algs = _require_number(key)
    for number, alg in algs.items():
        if name in (None, alg):
            return number, alg
    raise _unsupported(algs)


def _unsupported(algs: Mapping[int, str]) -> UnsupportedOption:
    return UnsupportedOption(f"This key signs for: {', '.join(dict.fromkeys(algs.values()))}.")
