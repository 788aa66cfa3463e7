"""Numbers of COSE for the algorithms that JOSE names."""

from collections.abc import Iterable, Mapping
from typing import Final

# RFC 9053 sections 2 and 3, RFC 8812, RFC 9864 and RFC 9964. Where two numbers stand for one name,
# the first one signs: of ES256, most verifiers know only the one that does not name the curve.
_NAMES: Final[Mapping[int, str]] = {
    -7: "ES256",
    -9: "ES256",  # ESP256
    -35: "ES384",
    -51: "ES384",  # ESP384
    -36: "ES512",
    -52: "ES512",  # ESP512
    -47: "ES256K",
    -8: "EdDSA",
    -19: "Ed25519",
    -53: "Ed448",
    -37: "PS256",
    -38: "PS384",
    -39: "PS512",
    -257: "RS256",
    -258: "RS384",
    -259: "RS512",
    -48: "ML-DSA-44",
    -49: "ML-DSA-65",
    -50: "ML-DSA-87",
    5: "HS256",
    6: "HS384",
    7: "HS512",
}


def cose_algs_of(names: Iterable[str]) -> dict[int, str]:
    """The COSE numbers of JOSE names, in the order of the names, with the name of each."""
    return {number: name for name in names for number in _NAMES if _NAMES[number] == name}
