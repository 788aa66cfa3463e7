"""Stored material in a form that the algorithm never had is refused, and what it had is read."""

import pytest
from aries_askar import Key as AskarKey
from derived import algorithm_names

from minikms.plugin import AskarStored
from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()


@pytest.mark.parametrize("name", algorithm_names(but=AskarStored))
def test_another_form_is_refused(name):
    algorithm = REGISTRY.get(name)
    stored = algorithm.pack(algorithm.generate())
    with pytest.raises(TypeError):
        algorithm.unpack(AskarKey.generate("a256gcm") if isinstance(stored, bytes) else b"bytes")


@pytest.mark.parametrize("name", algorithm_names(AskarStored))
def test_an_askar_key_is_read(name):
    """Mini KMS 0.1.0 has put such keys into stores."""
    algorithm = REGISTRY.get(name)
    stored = algorithm.pack(algorithm.generate())
    assert isinstance(stored, bytes)
    kept = AskarKey.from_secret_bytes(name, stored)
    assert algorithm.pack(algorithm.unpack(kept)) == stored
