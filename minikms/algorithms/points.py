"""Checks of public keys: on the curve, and not of low order (RFC 7748, RFC 8032).

OpenSSL accepts any bytes of the right length as a public key of these curves. Anybody can forge
signatures for a point of low order: for the identity, one signature is valid for all messages; for
another point, for one in a few. A point outside the main subgroup whose order is not low is
accepted, as in RFC 8032: only the owner of its private key can sign for it.
"""

from typing import Final

from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as SodiumError

_P25519: Final = 2**255 - 19
_P448: Final = 2**448 - 2**224 - 1
_D448: Final = -39081
_IDENTITY: Final = (1).to_bytes(32, "little")

# Every u whose order divides the cofactor of the curve or its twist: 8 and 4 for curve25519, 4 and
# 4 for curve448. The orders are 2 for 0, 4 for 1 and −1, and 8 for the others.
_LOW_ORDER_25519: Final = frozenset(
    {
        0,
        1,
        _P25519 - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)
_LOW_ORDER_448: Final = frozenset({0, 1, _P448 - 1})


def is_ed25519_point(data: bytes) -> bool:
    """Tell whether 32 bytes are a point of edwards25519 whose order does not divide 8.

    Points are decoded as in RFC 8032 section 5.1.3. libsodium alone would also accept y + p for y.
    """
    if _little(data) % 2**255 >= _P25519:
        return False
    try:
        for _ in range(3):
            data = sodium.crypto_core_ed25519_add(data, data)
    except SodiumError:  # not on the curve
        return False
    return data != _IDENTITY


def ed25519_to_x25519(data: bytes) -> bytes | None:
    """Convert 32 bytes of a point of edwards25519 to u of curve25519 (RFC 7748 section 4.1).

    None if the point is not on the curve, or not a multiple of the base point.
    """
    if _little(data) % 2**255 >= _P25519:
        return None
    try:
        return sodium.crypto_sign_ed25519_pk_to_curve25519(data)
    except SodiumError:
        return None


def is_ed448_point(data: bytes) -> bool:
    """Tell whether 57 bytes are a point of edwards448 whose order does not divide 4.

    RFC 8032 section 5.2.3: x² = (y² − 1)/(d·y² − 1) needs a root. The points (0, 1), (0, −1) and
    (±1, 0) have low order. No library here checks this.
    """
    y = _little(data[:56])
    if data[56] not in (0, 0x80) or not 1 < y < _P448 - 1:
        return False
    square = y * y % _P448
    # Euler's criterion, for the product instead of the quotient: they differ by a square factor.
    return pow((square - 1) * (_D448 * square - 1), (_P448 - 1) // 2, _P448) == 1


def is_x25519_key(data: bytes) -> bool:
    """Tell whether 32 bytes are a u of curve25519 or its twist, not of low order.

    RFC 7748 section 5: the highest bit is ignored, and u may be p or more.
    """
    return _little(data) % 2**255 % _P25519 not in _LOW_ORDER_25519


def is_x448_key(data: bytes) -> bool:
    """Tell whether 56 bytes are a u of curve448 or its twist, not of low order."""
    return _little(data) % _P448 not in _LOW_ORDER_448


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
