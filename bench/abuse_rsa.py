"""Abuse by numbers in JWKs: without factors, composite, or of any size."""

from collections import Counter
from functools import partial
from math import lcm
from typing import Any

from abusers import Abuse, abuser, all_at_once, answer
from cryptography.hazmat.primitives.asymmetric import rsa

from minikms.encodings import jose_b64url

CALLERS = 100
MEMBER = 500_000  # characters
E = 65537
# A prime p of 2,048 bits; 2²⁵⁶ divides p − 1, which a search for factors halves repeatedly.
PRIME = (2**1791 + 427) * 2**256 + 1
Numbers = dict[str, int]


async def primes_for_n(url: str, token: str) -> Counter[str]:
    """Import JWKs whose n is prime, so that d reveals no factors."""
    body = import_of({"n": PRIME, "e": E, "d": pow(E, -1, PRIME - 1)})
    return await send(url, token, "/key/import", body)


async def unbalanced(url: str, token: str) -> Counter[str]:
    """Import JWKs with one prime that is nearly as long as n."""
    p, q = 2**4090 + 2 * 2533 + 1, 61
    return await send(url, token, "/key/import", import_of(whole(p, q)))


async def composite(url: str, token: str) -> Counter[str]:
    """Import JWKs whose q has the right length but is not prime."""
    n = q = 0
    while n.bit_length() != 4096 or q.bit_length() != 2048:
        p, q = primes(4096)[0], primes(2048)[0] * primes(2048)[1]
        n = p * q
    return await send(url, token, "/key/import", import_of(whole(p, q)))


async def large_members(url: str, token: str) -> Counter[str]:
    """Verify with JWKs that have a member of half a megabyte."""
    jwk = {"kty": "RSA", "n": "A" * MEMBER, "e": "AQAB"}
    return await send(url, token, "/verify", {"jwk": jwk, "data": "", "sig": ""})


def primes(bits: int) -> tuple[int, int]:
    """Return the two primes of a new OpenSSL key."""
    numbers = rsa.generate_private_key(E, bits).private_numbers()
    return numbers.p, numbers.q


def whole(p: int, q: int) -> Numbers:
    """Return all JWK members of the key with primes p and q."""
    d = pow(E, -1, lcm(p - 1, q - 1))
    crt = {"dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    return {"n": p * q, "e": E, "d": d, "p": p, "q": q, **crt}


def import_of(numbers: Numbers) -> dict[str, Any]:
    """Return the body of the import."""
    members = {
        name: jose_b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        for name, number in numbers.items()
    }
    return {"jwk": {"kty": "RSA", **members}}


async def send(url: str, token: str, path: str, body: dict[str, Any]) -> Counter[str]:
    """Send a body from many callers at once."""
    async with abuser(url, token, connections=CALLERS) as client:
        return await all_at_once(CALLERS, partial(answer, client, "POST", path, json=body))


ABUSE: dict[str, Abuse] = {
    f"{CALLERS} callers import RSA JWKs of a prime n": primes_for_n,
    f"{CALLERS} callers import RSA JWKs of unbalanced primes": unbalanced,
    f"{CALLERS} callers import RSA JWKs of a q that is no prime": composite,
    f"{CALLERS} callers verify by JWKs of half a megabyte": large_members,
}
