"""Keys of every algorithm in memory: used by many threads, and their size."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from minikms.plugin import SignatureOptions
from minikms.plugin.protocol import (
    Aead,
    Box,
    KeyAgreement,
    KeyAlgorithm,
    KeyPairAlgorithm,
    KeyWrap,
    Mac,
    Signer,
)
from minikms.plugin.registry import AlgorithmRegistry

ALGORITHMS = [entry.algorithm for entry in AlgorithmRegistry.from_installed()]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=[alg.name for alg in ALGORITHMS])
def test_one_key_in_many_threads(algorithm):
    """All calls share a cached key, and some of them run in threads."""
    key = algorithm.unpack(algorithm.pack(algorithm.generate()))

    def use(number):
        message = secret = bytes([number]) * 32
        if isinstance(algorithm, Signer):
            public = algorithm.load_public(algorithm.public_jwk(key))
            alg = algorithm.signing_algs[number % len(algorithm.signing_algs)]
            signature = algorithm.sign(key, message, SignatureOptions(alg))
            assert algorithm.verify(public, message, signature, SignatureOptions(alg))
        if isinstance(algorithm, Mac):
            assert algorithm.verify_mac(key, message, algorithm.mac(key, message))
        if isinstance(algorithm, Aead):
            assert algorithm.decrypt(key, algorithm.encrypt(key, secret, b""), b"") == secret
        if isinstance(algorithm, KeyWrap):
            assert algorithm.unwrap(key, algorithm.wrap(key, secret)) == secret
        if isinstance(algorithm, Box):
            sealed = algorithm.seal(algorithm.load_box_peer(algorithm.public_jwk(key)), secret)
            assert algorithm.open_sealed(key, sealed) == secret
        if isinstance(algorithm, KeyAgreement):
            own = algorithm.load_peer(algorithm.public_jwk(key))
            return algorithm.derive(key, own)
        return None

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(use, range(40)))) == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=[alg.name for alg in ALGORITHMS])
def test_a_built_in_algorithm_says_what_its_keys_take(algorithm):
    key = algorithm.unpack(algorithm.pack(algorithm.generate()))
    assert 100 <= algorithm.memory_of(key) <= 50_000
    if isinstance(algorithm, KeyPairAlgorithm):
        public = algorithm.load_public(algorithm.public_jwk(key))
        assert 100 <= algorithm.memory_of(public) <= algorithm.memory_of(key)


def test_an_algorithm_that_does_not_say_so_counts_64_kib():
    assert KeyAlgorithm.memory_of(None, object()) == 64 * 1024
