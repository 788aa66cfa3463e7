"""Each algorithm accepts only public keys of its own kind from a provider."""

import pytest
from built_in_algorithms import algorithm_names

from minikms.credentials.x509.public_keys import public_key_of, spki
from minikms.errors import InvalidKey
from minikms.plugin import ProviderSigner
from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()
# Sizes of RSA differ as curves do; the largest takes long to make.
NAMES = [name for name in algorithm_names(ProviderSigner) if name not in ("rsa3072", "rsa4096")]


@pytest.fixture(scope="module")
def public_keys():
    algorithms = {name: REGISTRY.get(name) for name in NAMES}
    return {name: each.public_jwk(each.generate()) for name, each in algorithms.items()}


@pytest.mark.parametrize("name", NAMES)
def test_only_a_public_key_of_its_own_kind_is_loaded(public_keys, name):
    algorithm = REGISTRY.get(name)
    for other, jwk in public_keys.items():
        der = spki(public_key_of(jwk))
        if other == name:
            assert algorithm.public_jwk(algorithm.load_spki(der)) == jwk
        else:
            with pytest.raises(InvalidKey):
                algorithm.load_spki(der)
    with pytest.raises(InvalidKey):
        algorithm.load_spki(b"no DER")
