"""A key that the store kept in another form than its algorithm's is refused, and not guessed at."""

import pytest
from aries_askar import Key as AskarKey

from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()


@pytest.mark.parametrize("name", ["p521", "ed448", "rsa2048", "mldsa44", "hs256"])
def test_bytes_are_wanted(name):
    with pytest.raises(TypeError):
        REGISTRY.get(name).unpack(AskarKey.generate("a256gcm"))


@pytest.mark.parametrize("name", ["ed25519", "x25519", "p256", "k256"])
def test_an_askar_key_is_wanted(name):
    with pytest.raises(TypeError):
        REGISTRY.get(name).unpack(bytes(32))
