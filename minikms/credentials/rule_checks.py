"""Checks the bytes that a key signs against its rules, as a verifier will read the bytes.

The rules apply to the header and the JSON payload of a JWS. They apply to the protected header of a
COSE message and, if they name claims, to its payload as a CWT (RFC 8392).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from minikms.basics.claim_names import is_taken_for, readings
from minikms.credentials.cbor import CborError, Map, Reader
from minikms.credentials.disclosures import check_disclosures
from minikms.credentials.strict_json import read_strictly
from minikms.errors import RuleViolated
from minikms.rules import AKA_VCTS, EXP, VCT, JwsRules, Rules

# Header members that tell a verifier how to read the rest. Some verifiers inflate a payload with
# `zip`, as SMART Health Cards have it. Only plain ones are signed, and as they are written here.
_PLAIN: Final = frozenset({"alg", "typ"})
_TELLING: Final = _PLAIN | {"b64", "crit", "zip"}

# Labels of COSE header parameters: typ (RFC 9596), and CWT claims in a header (RFC 9597).
_TYP, _HEADER_CLAIMS = 16, 15
# Labels of claims in a CWT that rules can name (RFC 8392 section 3.1).
_LABELS: Final[Mapping[str, int]] = {"iss": 1, "sub": 2, "aud": 3}
_EXP_LABEL: Final = 4


def check_jws(
    rules: Rules,
    alg: str,
    header: Mapping[str, Any],
    payload: bytes,
    disclosures: Sequence[str] = (),
) -> None:
    """Raise RuleViolated unless a JWS with this header and payload fits the rules.

    `disclosures` are the disclosures of an SD-JWT that the caller shows.
    """
    rules.permit_alg(alg)
    jws = rules.jws
    if jws is None:
        return
    claims = _claims_of_json(payload)
    _check_header(jws, header)
    _check_names(jws, claims)
    for name, values in jws.claims:
        _check_claim(name, values, claims.get(name))
        if name == VCT and AKA_VCTS in claims:
            _check_other_types(values, claims[AKA_VCTS])
    _check_lifetime(jws, claims.get(EXP))
    check_disclosures(jws, claims, disclosures)


def check_cose(
    rules: Rules, alg: str, protected: bytes, unprotected: bytes, payload: bytes
) -> None:
    """Raise RuleViolated unless a COSE message with these maps and payload fits the rules."""
    rules.permit_alg(alg)
    jws = rules.jws
    if jws is None:
        return
    signed = Map.parse(protected)
    _check_typ(jws, _value(signed, _TYP))
    if not jws.claims and jws.max_lifetime is None:
        return
    # A verifier may read the claims in the header instead of the payload.
    if _HEADER_CLAIMS in signed or _HEADER_CLAIMS in Map.parse(unprotected):
        raise RuleViolated("jws", "The key signs no claims in a header.")
    try:
        claims = Map.parse(payload)
    except CborError:
        raise RuleViolated("jws", "The payload is not a map of claims in CBOR.") from None
    for name, values in jws.claims:
        # A text label, and a claim without a registered label, are not read by every verifier.
        label = None if name in claims else _LABELS.get(name)
        _check_claim(name, values, None if label is None else _value(claims, label))
    _check_lifetime(jws, None if EXP in claims else _value(claims, _EXP_LABEL))


def _check_typ(jws: JwsRules, typ: object) -> None:
    if jws.typ is not None and typ not in jws.typ:
        raise RuleViolated("jws.typ", "The header must have one of the allowed types.")


def _check_claim(name: str, values: Sequence[str], value: object) -> None:
    if value not in values:
        raise RuleViolated(f"jws.claims.{name}", "The claim must be one of the allowed texts.")


def _check_other_types(values: Sequence[str], types: object) -> None:
    """Check the types of `aka_vcts`: a verifier takes a credential for one of each of them."""
    if type(types) is not list or not all(each in values for each in types):
        fault = f"{AKA_VCTS} must be an array of allowed types."
        raise RuleViolated(f"jws.claims.{VCT}", fault)


def _check_lifetime(jws: JwsRules, exp: object) -> None:
    most = jws.max_lifetime
    # Some verifiers read a negative number as a huge unsigned one.
    if most is not None and (type(exp) is not int or not 0 <= exp <= time.time() + most):
        fault = f"exp must be an integer from 0 on, at most {most:,} seconds from now."
        raise RuleViolated("jws.max_lifetime", fault)


def _check_header(jws: JwsRules, header: Mapping[str, Any]) -> None:
    """Check the type, and refuse members that make a verifier read another type or payload."""
    for name in header:
        if name not in _PLAIN and is_taken_for(name, _TELLING):
            raise RuleViolated("jws", "The header has a member that the key does not sign.")
    _check_typ(jws, header.get("typ"))


def _check_names(jws: JwsRules, claims: Mapping[str, Any]) -> None:
    """Raise RuleViolated for a name that some parser confuses with a checked name.

    Go ignores case and keeps the last member. Swift treats all Unicode normal forms of a name as
    equal.
    """
    names = jws.names
    read = readings(names)
    for name in claims:
        if name not in names and is_taken_for(name, read):
            raise RuleViolated("jws", "Some parsers take a claim's name for the name of a rule.")


def _claims_of_json(payload: bytes) -> dict[str, Any]:
    """Read a JSON object that every parser reads in the same way; raises RuleViolated."""
    try:
        claims = read_strictly(payload)
    except ValueError:
        claims = None
    if isinstance(claims, dict):
        return claims
    fault = "The payload must be a JSON object in UTF-8, with no member twice and no huge number."
    raise RuleViolated("jws", fault)


def _value(claims: Map, label: int) -> int | str | None:
    """Return the value of a label if it is an integer or a text; None for any other value."""
    if label not in claims:
        return None
    try:
        return Reader(claims[label]).label()
    except CborError:
        return None
