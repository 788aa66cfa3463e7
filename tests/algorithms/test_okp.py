"""Public keys on the curves of RFC 7748 and RFC 8032: on the curve, and not of low order."""

import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl import bindings as sodium

from minikms.algorithms.okp import X448, X25519, Ed448, Ed25519
from minikms.encodings import jose_b64url
from minikms.plugin import InvalidKey, SignatureOptions

P25519, P448 = 2**255 - 19, 2**448 - 2**224 - 1
P = {X25519: P25519, Ed25519: P25519, X448: P448, Ed448: P448}
HIGHEST = {Ed25519: 1 << 255, Ed448: 1 << 455, X25519: 1 << 255}

# The points whose order divides the cofactor, and their forms that are not reduced modulo p.
LOW_ORDER = {
    X25519: {
        "0": 0,
        "1": 1,
        "order 8": 0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        "order 8 too": 0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        "p - 1": P[X25519] - 1,
        "p": P[X25519],
        "p + 1": P[X25519] + 1,
    },
    X448: {"0": 0, "1": 1, "p - 1": P[X448] - 1, "p": P[X448], "p + 1": P[X448] + 1},
    Ed25519: {
        "0": 0,
        "1": 1,
        "order 8": 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        "order 8 too": 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        "p - 1": P[Ed25519] - 1,
        "p": P[Ed25519],
        "p + 1": P[Ed25519] + 1,
    },
    Ed448: {"0": 0, "1": 1, "p - 1": P[Ed448] - 1, "p": P[Ed448], "p + 1": P[Ed448] + 1},
}
EDWARDS = pytest.mark.parametrize("cls", [Ed25519, Ed448])


def load(cls, number):
    algorithm = cls()
    x = jose_b64url(number.to_bytes(algorithm.size, "little"))
    return algorithm.load_public({"kty": "OKP", "crv": algorithm.crv, "x": x})


@pytest.mark.parametrize(
    ("cls", "number"),
    [
        pytest.param(cls, number | highest, id=f"{cls.name} {name}{' | highest' * bool(highest)}")
        for cls, points in LOW_ORDER.items()
        for name, number in points.items()
        for highest in {0, HIGHEST.get(cls, 0)}
    ],
)
def test_a_point_of_low_order_is_refused(cls, number):
    with pytest.raises(InvalidKey):
        load(cls, number)


@pytest.mark.parametrize("cls", [X25519, X448])
def test_openssl_agrees_which_points_are_of_low_order(cls):
    """The check before the agreement refuses the same points as the agreement."""
    key = cls().generate()
    for number in [*LOW_ORDER[cls].values(), *range(2, 40), P[cls] + 2]:
        raw = number.to_bytes(cls.size, "little")
        try:
            key.exchange(cls.public_class.from_public_bytes(raw))
            good = True
        except ValueError:
            good = False
        assert cls.is_public_key(raw) is good, number


def recovers(cls, y):
    """Tell whether y has an x, by the steps of RFC 8032 sections 5.1.3 and 5.2.3."""
    p = P[cls]
    if cls is Ed25519:
        d = -121665 * pow(121666, -1, p)
        u, v = (y * y - 1) % p, (d * y * y + 1) % p
        x = u * v**3 * pow(u * v**7, (p - 5) // 8, p) % p
        return v * x * x % p in (u, -u % p)
    u, v = (y * y - 1) % p, (-39081 * y * y - 1) % p
    x = u**3 * v * pow(u**5 * v**3, (p - 3) // 4, p) % p
    return v * x * x % p == u


@EDWARDS
def test_a_point_off_the_curve_is_refused(cls):
    ys = [*range(2, 60), *range(P[cls] - 60, P[cls] - 1)]
    on_curve = [y for y in ys if recovers(cls, y)]
    assert 2 not in on_curve
    assert 30 < len(on_curve) < 90
    for y in ys:
        for sign in (0, HIGHEST[cls]):
            if y in on_curve:
                load(cls, y | sign)
            else:
                with pytest.raises(InvalidKey):
                    load(cls, y | sign)


@EDWARDS
def test_a_point_that_is_not_reduced_is_refused(cls):
    for y in range(2, 19):
        with pytest.raises(InvalidKey):
            load(cls, P[cls] + y)


def test_the_last_byte_of_an_ed448_key_is_its_sign():
    good = int.from_bytes(Ed448().public_bytes(Ed448().generate()), "little") % HIGHEST[Ed448]
    load(Ed448, good)
    for bit in range(448, 455):
        with pytest.raises(InvalidKey):
            load(Ed448, good | 1 << bit)


def test_a_point_outside_the_main_subgroup_is_accepted():
    """RFC 8032 refuses none, and its order is not low."""
    key = Ed25519().generate()
    for name, y in LOW_ORDER[Ed25519].items():
        if name in ("1", "p", "p + 1"):
            continue  # the identity, or not reduced
        small = y.to_bytes(32, "little")
        mixed = sodium.crypto_core_ed25519_add(Ed25519().public_bytes(key), small)
        assert not sodium.crypto_core_ed25519_is_valid_point(mixed)
        load(Ed25519, int.from_bytes(mixed, "little"))


def test_a_signature_that_gives_its_key_away_is_refused():
    """Its R is the identity, so that its S is the private key times a public number."""
    order = 2**252 + 27742317777372353535851937790883648493
    identity, message = (1).to_bytes(32, "little"), b"message"
    private = secrets.randbelow(order)
    public = sodium.crypto_scalarmult_ed25519_base_noclamp(private.to_bytes(32, "little"))
    hashed = int.from_bytes(hashlib.sha512(identity + public + message).digest(), "little")
    signature = identity + (hashed * private % order).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)  # OpenSSL accepts it
    found = Ed25519.public_class.from_public_bytes(public)
    assert not Ed25519().verify(found, message, signature, SignatureOptions("EdDSA"))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_no_byte_moves_between_a_signature_and_its_message(length):
    """libsodium takes the two as one."""
    key, message = Ed25519().generate(), b"message"
    public, eddsa = key.public_key(), SignatureOptions("EdDSA")
    signed = Ed25519().sign(key, message, eddsa) + message
    assert Ed25519().verify(public, message, signed[:64], eddsa)
    assert not Ed25519().verify(public, signed[length:], signed[:length], eddsa)
