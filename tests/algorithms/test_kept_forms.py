"""A key that the store kept in another form than its algorithm's is refused, and not guessed at."""

import pytest
from aries_askar import Key as AskarKey
from derived import algorithm_names

from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()


@pytest.mark.parametrize("name", algorithm_names())
def test_the_other_form_is_refused(name):
    algorithm = REGISTRY.get(name)
    kept = algorithm.pack(algorithm.generate())
    with pytest.raises(TypeError):
        algorithm.unpack(AskarKey.generate("a256gcm") if isinstance(kept, bytes) else b"bytes")
