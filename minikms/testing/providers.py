"""The contract of providers; it needs pytest."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Final

import pytest

from minikms.errors import KeyUnreadable
from minikms.plugin.bound import BoundSigner
from minikms.plugin.protocol import SignatureOptions
from minikms.plugin.provider import KEY_ID_SIZE, Provider, ProviderKey, ProviderSigner
from minikms.plugin.registry import AlgorithmRegistry
from minikms.testing.base import MESSAGE, MESSAGES

_NAME: Final = "tested"

# The number of signatures that several threads make.
_TOGETHER: Final = 64

# The number of algorithms that a test takes if the kind of key does not matter: some are slow.
_FEW: Final = 2


class ProviderContract:
    """All tests of a provider; a subclass has `new_provider`.

    Each test makes a few keys on the token, and destroys them.
    """

    def new_provider(self) -> Provider:
        """Return a provider that is not open; each has the same token, like another process."""
        raise NotImplementedError

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        """An open provider."""
        provider = self.new_provider()
        provider.open()
        yield provider
        provider.close()

    @pytest.fixture
    def other(self) -> Iterator[Provider]:
        """Another open provider with the same token."""
        other = self.new_provider()
        other.open()
        yield other
        other.close()

    @pytest.fixture
    def made(self, provider: Provider) -> Iterator[list[bytes]]:
        """The identifiers that a test makes keys with, which are destroyed at the end."""
        key_ids: list[bytes] = []
        yield key_ids
        for key_id in key_ids:
            provider.destroy(key_id)

    def bound(self, provider: Provider) -> list[BoundSigner]:
        """The algorithms of a provider, as the service uses them."""
        registry = _installed().with_providers({_NAME: provider})
        return [
            registry.bound(_NAME, each.algorithm)
            for each in registry
            if isinstance(each.algorithm, ProviderSigner)
            and each.algorithm.name in provider.algorithms()
        ]

    def new_key(self, algorithm: BoundSigner, made: list[bytes]) -> ProviderKey:
        """Make a key that the test destroys at the end."""
        made.append(secrets.token_bytes(KEY_ID_SIZE))
        return algorithm.make(made[-1])

    def signs(self, algorithm: BoundSigner, key: ProviderKey, message: bytes = MESSAGE) -> bool:
        """Tell whether a key signs, by its public JWK."""
        options = _options(algorithm)[0]
        public = algorithm.load_public(algorithm.public_jwk(key))
        return algorithm.verify(public, message, algorithm.sign(key, message, options), options)

    def test_it_is_not_available_before_it_is_opened(self) -> None:
        provider = self.new_provider()
        assert not provider.status().available
        provider.open()
        assert provider.status().available
        provider.open()  # an open one stays open
        assert provider.status().available
        provider.close()

    def test_it_has_algorithms_that_the_service_knows(self, provider: Provider) -> None:
        assert self.bound(provider)

    def test_a_key_has_the_identifier_that_it_was_given(
        self, provider: Provider, made: list[bytes]
    ) -> None:
        algorithm = self.bound(provider)[0]
        one, two = self.new_key(algorithm, made), self.new_key(algorithm, made)
        assert [one.key_id, two.key_id] == made
        assert one.public != two.public
        assert one.token == two.token
        assert algorithm.unpack(algorithm.pack(one)) == one

    def test_signatures_verify(self, provider: Provider, made: list[bytes]) -> None:
        for algorithm in self.bound(provider):
            key = self.new_key(algorithm, made)
            public = algorithm.load_public(algorithm.public_jwk(key))
            for options in _options(algorithm):
                for message in MESSAGES.values():
                    signature = algorithm.sign(key, message, options)
                    assert isinstance(signature, bytes)
                    assert algorithm.verify(public, message, signature, options), options

    def test_the_hash_of_a_signature_may_be_chosen(
        self, provider: Provider, made: list[bytes]
    ) -> None:
        for algorithm in self.bound(provider):
            key = self.new_key(algorithm, made)
            public = algorithm.load_public(algorithm.public_jwk(key))
            for options in _with_hashes(algorithm):
                signature = algorithm.sign(key, MESSAGE, options)
                assert algorithm.verify(public, MESSAGE, signature, options), options

    def test_another_key_does_not_sign_for_it(self, provider: Provider, made: list[bytes]) -> None:
        algorithm = self.bound(provider)[0]
        one, two = self.new_key(algorithm, made), self.new_key(algorithm, made)
        options = _options(algorithm)[0]
        public = algorithm.load_public(algorithm.public_jwk(one))
        assert not algorithm.verify(public, MESSAGE, algorithm.sign(two, MESSAGE, options), options)

    def test_another_process_signs_with_a_key(
        self, provider: Provider, other: Provider, made: list[bytes]
    ) -> None:
        key = self.new_key(self.bound(provider)[0], made)
        assert self.signs(self.bound(other)[0], key)

    def test_its_keys_are_found(
        self, provider: Provider, other: Provider, made: list[bytes]
    ) -> None:
        for algorithm in self.bound(provider)[:_FEW]:
            self.new_key(algorithm, made)
        assert set(made) <= set(provider.find())
        assert set(made) <= set(other.find())

    def test_a_destroyed_key_is_gone(
        self, provider: Provider, other: Provider, made: list[bytes]
    ) -> None:
        algorithms = zip(self.bound(provider), self.bound(other), strict=True)
        for algorithm, same in islice(algorithms, _FEW):
            gone, kept = self.new_key(algorithm, made), self.new_key(algorithm, made)
            assert self.signs(algorithm, gone)
            provider.destroy(gone.key_id)
            provider.destroy(gone.key_id)  # nothing is left to do
            assert gone.key_id not in set(provider.find())
            for each in (algorithm, same):
                with pytest.raises(KeyUnreadable):
                    each.sign(gone, MESSAGE, _options(each)[0])
                assert self.signs(each, kept)

    def test_a_key_is_destroyed_in_its_token(self, provider: Provider, made: list[bytes]) -> None:
        key = self.new_key(self.bound(provider)[0], made)
        for _ in range(2):
            assert provider.destroy_in(key.token, key.key_id)
            assert key.key_id not in set(provider.find())

    def test_a_key_that_was_never_made_is_not_there(
        self, provider: Provider, made: list[bytes]
    ) -> None:
        algorithm = self.bound(provider)[0]
        key = replace(self.new_key(algorithm, made), key_id=secrets.token_bytes(KEY_ID_SIZE))
        with pytest.raises(KeyUnreadable):
            algorithm.sign(key, MESSAGE, _options(algorithm)[0])

    def test_threads_sign_at_once(self, provider: Provider, made: list[bytes]) -> None:
        algorithm = self.bound(provider)[0]
        keys = [self.new_key(algorithm, made) for _ in range(4)]
        messages = [b"%d" % number for number in range(_TOGETHER)]
        with ThreadPoolExecutor(8) as threads:
            asked = [
                threads.submit(self.signs, algorithm, keys[number % 4], message)
                for number, message in enumerate(messages)
            ]
            assert all(each.result() for each in asked)


@cache
def _installed() -> AlgorithmRegistry:
    return AlgorithmRegistry.from_installed()


def _options(algorithm: BoundSigner) -> list[SignatureOptions]:
    """Options for each `alg` of an algorithm."""
    return [SignatureOptions(alg) for alg in algorithm.signing_algs or ("",)]


def _with_hashes(algorithm: BoundSigner) -> list[SignatureOptions]:
    """Options for each hash of an algorithm that every provider has, and for salts of PSS."""
    hashes = [name for name in ("sha256", "sha512", "none") if name in algorithm.signing_hashes]
    options = [
        replace(each, hash=name)
        for each in _options(algorithm)
        for name in hashes
        if not (name == "none" and each.alg.startswith("PS"))
    ]
    salted = [each for each in options if each.alg.startswith("PS")]
    return [
        *options,
        *(replace(each, salt_length="auto") for each in salted),
        *(replace(each, salt_length=0) for each in salted),
    ]
