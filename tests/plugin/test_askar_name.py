"""Algorithms that have another name than Askar's name of their keys."""

import pytest
from built_in_algorithms import algorithm_names

from minikms.algorithms.symmetric import XC20P
from minikms.plugin import AskarKeyAlgorithm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.testing import AlgorithmContract


class OwnCipher(XC20P):
    name, jose_algs, askar_name = "owncipher", ("example.com/cipher",), "xc20p"
    aliases = ()


class TestOwnCipher(AlgorithmContract):
    algorithm = OwnCipher()


def test_the_store_has_the_key_under_askars_name():
    algorithm = OwnCipher()
    assert algorithm.pack(algorithm.generate()).algorithm.value == algorithm.askar_name


@pytest.mark.parametrize("name", algorithm_names(AskarKeyAlgorithm))
def test_without_one_the_name_is_askars(name):
    algorithm = AlgorithmRegistry.from_installed().get(name)
    assert algorithm.askar_name == name
    assert algorithm.pack(algorithm.generate()).algorithm.value == name
