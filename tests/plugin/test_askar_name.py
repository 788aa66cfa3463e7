"""Algorithms whose name is not the one that Askar has for their keys."""

import pytest
from aries_askar import KeyAlg

from minikms.algorithms.ecdsa import P256
from minikms.algorithms.symmetric import A256Gcm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.testing import AlgorithmContract


class OwnCurve(P256):
    name, crv, askar_name = "owncurve", "example.com/curve", "p256"
    aliases = ()


class OwnCipher(A256Gcm):
    name, jose_algs, askar_name = "owncipher", ("example.com/cipher",), "a256gcm"
    aliases = ()


class TestOwnCurve(AlgorithmContract):
    algorithm = OwnCurve()


class TestOwnCipher(AlgorithmContract):
    algorithm = OwnCipher()


@pytest.mark.parametrize("algorithm", [OwnCurve(), OwnCipher()], ids=lambda one: one.name)
def test_the_store_has_the_key_under_askars_name(algorithm):
    assert algorithm.pack(algorithm.generate()).algorithm.value == algorithm.askar_name


@pytest.mark.parametrize("alg", KeyAlg, ids=lambda alg: alg.value)
def test_without_one_the_name_is_askars(alg):
    algorithm = AlgorithmRegistry.from_installed().get(alg.value)
    assert algorithm.name == algorithm.askar_name == alg.value
    assert algorithm.pack(algorithm.generate()).algorithm is alg
