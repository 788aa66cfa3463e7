"""COSE's numbers of algorithms, by their JOSE names."""

from collections.abc import Iterable, Mapping
from typing import Final

from minikms.plugin.curves import CURVES

# RFC 9053 section 3, RFC 8812 and RFC 9964.
_NOT_ON_CURVES: Final[Mapping[str, int]] = {
    "PS256": -37,
    "PS384": -38,
    "PS512": -39,
    "RS256": -257,
    "RS384": -258,
    "RS512": -259,
    "ML-DSA-44": -48,
    "ML-DSA-65": -49,
    "ML-DSA-87": -50,
    "HS256": 5,
    "HS384": 6,
    "HS512": 7,
}


def cose_algs_of(names: Iterable[str]) -> dict[int, str]:
    """Map the COSE numbers of JOSE names to the names, in the order of the names."""
    numbers = {name: (number,) for name, number in _NOT_ON_CURVES.items()}
    signatures = {name: of for curve in CURVES.values() for name, of in curve.signatures.items()}
    return {number: name for name in names for number in (numbers | signatures).get(name, ())}
