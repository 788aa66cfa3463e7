"""Every algorithm that the registry finds passes the contract."""

import pytest

from minikms.errors import InvalidKey
from minikms.plugin import JwkImporter, KeyPairAlgorithm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.testing import AlgorithmContract

REGISTRY = AlgorithmRegistry.from_installed()
CONTRACTS = {
    entry.algorithm.name: type(
        f"Test_{entry.algorithm.name}",
        (AlgorithmContract,),
        {"algorithm": entry.algorithm, "seed_size": getattr(entry.algorithm, "seed_size", 32)},
    )
    for entry in REGISTRY
}

# A class for each algorithm, so that reports name it, and `-k` selects it.
globals().update({contract.__name__: contract for contract in CONTRACTS.values()})


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_a_jwk_has_one_algorithm(contract):
    algorithm, key = contract.algorithm, contract.keys()[0]
    jwks = [algorithm.public_jwk(key)] if isinstance(algorithm, KeyPairAlgorithm) else []
    jwks += [algorithm.export_jwk(key)] if isinstance(algorithm, JwkImporter) else []
    assert jwks
    for jwk in jwks:
        assert [entry.algorithm for entry in REGISTRY if entry.algorithm.owns_jwk(jwk)] == [
            algorithm
        ]
        assert REGISTRY.for_jwk(jwk) is algorithm


@pytest.mark.parametrize("jwk", [{}, {"kty": "EC"}, {"kty": "oct"}, {"kty": "EC", "crv": "P-224"}])
def test_a_jwk_of_none(jwk):
    with pytest.raises(InvalidKey):
        REGISTRY.for_jwk(jwk)
