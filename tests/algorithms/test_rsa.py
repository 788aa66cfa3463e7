"""RSA keys that are made and imported, and their signatures."""

from math import gcd, lcm

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from minikms.algorithms.rsa import Rsa2048, Rsa4096, RsaAlgorithm
from minikms.encodings import jose_b64url
from minikms.plugin import InvalidKey, SignatureOptions

E = 65537
# Primes of 1,024 bits. 2·(2¹⁹⁹ + 101) divides both of the numbers before these.
COMMON = 2 * (2**199 + 101)
ALIKE = COMMON * (3 * 2**822 + 1667) + 1, COMMON * (7 * 2**821 + 148) + 1
# The second is very near the first, the third 2⁹²⁴ − 962 away, the fourth 2⁹²⁴ + 424.
BASE, NEXT, CLOSE, APART = (3 * 2**1022 + 2 * n + 1 for n in (518, 848, 2**923 + 37, 2**923 + 730))
# Primes of 1,025, 1,023 and 4,091 bits.
LONGER, SHORTER = 3 * 2**1023 + 2 * 101 + 1, 3 * 2**1021 + 2 * 95 + 1
LONG = 2**4090 + 2 * 2533 + 1
# A Carmichael number (Chernick), which passes the Fermat test like a prime.
K = 7 * 2**335 + 548079
CARMICHAEL = (6 * K + 1) * (12 * K + 1) * (18 * K + 1)


@pytest.fixture(scope="module")
def primes():
    """Two that OpenSSL has made, whose product has 2,048 bits."""
    numbers = rsa.generate_private_key(E, 2048).private_numbers()
    return numbers.p, numbers.q


def carmichael(p, q):
    return lcm(p - 1, q - 1)


def euler(p, q):
    return (p - 1) * (q - 1)


def private_jwk(p, q, modulo=carmichael, *, whole=True, **changes):
    d = pow(E, -1, modulo(p, q))
    numbers = {"n": p * q, "e": E, "d": d}
    if whole:
        crt = {"dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
        numbers |= {"p": p, "q": q, **crt}
    return jwk_of(numbers | changes)


def jwk_of(numbers):
    return {"kty": "RSA"} | {
        name: jose_b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        for name, number in numbers.items()
        if number is not None
    }


def refuses(jwk, algorithm=None):
    with pytest.raises(InvalidKey) as caught:
        (algorithm or Rsa2048()).import_jwk(jwk)
    return caught.value.detail


def recovered(jwk):
    numbers = Rsa2048().import_jwk(jwk).private_numbers()
    return {numbers.p, numbers.q}


class Rsa1024(RsaAlgorithm):
    bits = 1024  # made soon


class Rsa1088(RsaAlgorithm):
    bits = 1088  # signs soon, and PS512 fits


def test_a_key_is_made_of_the_size_of_its_algorithm():
    make = RsaAlgorithm.generate.__wrapped__  # other tests share keys that are published
    made = [make(Rsa1024()).public_key().public_numbers() for _ in range(2)]
    assert [(key.n.bit_length(), key.e) for key in made] == [(1024, E)] * 2
    assert made[0].n != made[1].n


@pytest.mark.parametrize("modulo", [carmichael, euler])
def test_the_primes_come_from_d_alone(primes, modulo):
    assert recovered(private_jwk(*primes, modulo, whole=False)) == set(primes)


@pytest.mark.parametrize("times", [0, 1, 2, 1000, COMMON // 2, COMMON - 1])
def test_the_primes_come_from_any_d(times):
    """Of primes whose predecessors have much in common, d has as many values below n."""
    assert gcd(ALIKE[0] - 1, ALIKE[1] - 1) == COMMON
    d = pow(E, -1, carmichael(*ALIKE)) + times * carmichael(*ALIKE)
    assert recovered(private_jwk(*ALIKE, whole=False, d=d)) == set(ALIKE)


def test_a_d_that_fits_nothing_is_refused(primes):
    p, q = primes
    n, d = p * q, pow(E, -1, carmichael(p, q))
    wrong = (1, 2, 3, d - 1, d + 1, d ^ 1 << 1000, n - d, n - 1, n, n + d, 2**2047, 2**4096 - 1)
    for other in wrong:
        for whole in (False, True):
            refuses(private_jwk(p, q, whole=whole, d=other))
    refuses(private_jwk(p, q, d=d + euler(p, q)))  # which fits, but is not less than n


def test_an_n_of_more_primes_or_of_a_square_is_refused(primes):
    p, _ = primes
    small = rsa.generate_private_key(E, 1024).private_numbers()
    for factors in ((p, small.p, small.q), (p, p)):
        n = phi = 1
        for factor in factors:
            n, phi = n * factor, phi * (factor - 1)
        phi *= p if factors == (p, p) else 1
        if n.bit_length() == 2048 and gcd(phi, E) == 1:
            refuses(jwk_of({"n": n, "e": E, "d": pow(E, -1, phi)}))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("algorithm", "p", "q"), [(Rsa4096, LONG, 61), (Rsa2048, LONGER, SHORTER)])
def test_unbalanced_primes_are_refused(algorithm, p, q, whole):
    """FIPS 186-5 section A.1.3: each has half of the bits."""
    assert (p * q).bit_length() == algorithm.bits
    for pair in ((p, q), (q, p)):
        refuses(private_jwk(*pair, whole=whole), algorithm())


@pytest.mark.parametrize("whole", [False, True])
def test_primes_that_are_too_close_are_refused(whole):
    """FIPS 186-5 section A.1.3: more than 2^(nlen/2 - 100) lies between them."""
    for other in (NEXT, CLOSE):
        assert other - BASE <= 2**924
        refuses(private_jwk(BASE, other, whole=whole))
        refuses(private_jwk(other, BASE, whole=whole))
    assert APART - BASE > 2**924
    assert recovered(private_jwk(BASE, APART, whole=whole)) == {BASE, APART}


def test_a_composite_factor_is_refused(primes):
    p, q = primes
    threefold = p + 2 if (p + 2) % 3 == 0 else p + 4
    for bad in (threefold, p + 1):
        if gcd(carmichael(bad, q), E) == 1:
            refuses(private_jwk(bad, q))
            refuses(private_jwk(q, bad))


def test_a_carmichael_number_as_factor_is_refused(primes):
    """A signature with it is right, so that OpenSSL's own test of it is needed."""
    assert CARMICHAEL.bit_length() == 1024
    p = next(prime for prime in (*primes, *ALIKE) if (prime * CARMICHAEL).bit_length() == 2048)
    for pair in ((p, CARMICHAEL), (CARMICHAEL, p)):
        for whole in (False, True):
            refuses(private_jwk(*pair, whole=whole))


def test_p_and_q_come_together_or_not_at_all(primes):
    """RFC 7518 section 6.3.2: of these members a JWK has all or none."""
    jwk = private_jwk(*primes)
    crt = {"p", "q", "dp", "dq", "qi"}
    for kept in ({"p"}, {"q"}, {"dp"}, {"p", "dp"}, crt - {"p"}, crt - {"q"}, {"dp", "dq", "qi"}):
        refuses({name: value for name, value in jwk.items() if name not in crt - kept})
    for gone in ({"dp"}, {"dp", "dq"}, {"dp", "dq", "qi"}):
        rest = {name: value for name, value in jwk.items() if name not in gone}
        assert recovered(rest) == set(primes)


@pytest.mark.parametrize("member", ["n", "e", "d", "p", "q", "dp", "dq", "qi"])
def test_a_member_of_any_size_is_refused(primes, member):
    jwk = private_jwk(*primes)
    for size in (257, 513, 16_384 // 8, 750_000):
        refuses(jwk | {member: jose_b64url(b"\xff" * size)})
    for text in ("=" * 1_000_000, "A" * 1_000_000, ["A"] * 1_000_000, {"A": "A"}, 65537, ""):
        refuses(jwk | {member: text})


@pytest.mark.parametrize("alg", Rsa2048.signing_algs)
def test_the_zeros_in_front_of_a_signature_count(alg):
    """RFC 8017 sections 8.1.2 and 8.2.2: a signature is as long as the modulus."""
    rsa = Rsa1088()
    key = RsaAlgorithm.generate.__wrapped__(rsa)
    messages = (str(number).encode() for number in range(100_000))
    signed = ((message, rsa.sign(key, message, SignatureOptions(alg))) for message in messages)
    # One in 256 or so.
    message, signature = next(pair for pair in signed if pair[1].startswith(b"\0"))
    public = key.public_key()
    assert rsa.verify(public, message, signature, SignatureOptions(alg))
    assert not rsa.verify(public, message, signature[1:], SignatureOptions(alg))
    assert not rsa.verify(public, message, b"\0" + signature, SignatureOptions(alg))
