"""Stored material in a form that the algorithm never had is refused."""

import pytest
from aries_askar import Key as AskarKey
from built_in_algorithms import algorithm_names

from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()


@pytest.mark.parametrize("name", algorithm_names())
def test_another_form_is_refused(name):
    algorithm = REGISTRY.get(name)
    stored = algorithm.pack(algorithm.generate())
    with pytest.raises(TypeError):
        algorithm.unpack(AskarKey.generate("a256gcm") if isinstance(stored, bytes) else b"bytes")
