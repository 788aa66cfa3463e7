"""Keys of Ed25519 in libsodium, by which many messages are signed in one go."""

import dataclasses

import nacl
import pytest

from minikms.algorithms import sodium
from minikms.algorithms.okp import Ed25519
from minikms.plugin import SignatureOptions

# Of lengths that do not fit each other, and none at all.
MESSAGES = [bytes((size,)) * size for size in (0, 1, 64, 3, 0, 200)] + [bytes(70_000)]


@pytest.fixture
def without_the_name(monkeypatch):
    gone = (nacl, "_name_of_another_version", "a test")
    changed = dataclasses.replace(sodium.PRIVATE_NAMES, names=(gone,))
    monkeypatch.setattr(sodium, "PRIVATE_NAMES", changed)
    sodium._library.cache_clear()
    yield
    sodium._library.cache_clear()


def test_many_are_signed_as_each_is_alone():
    key = sodium.SodiumKey.generate()
    assert key.sign_many(MESSAGES) == [key.sign(message) for message in MESSAGES]
    assert key.sign_many([]) == []


def test_messages_are_signed_without_the_private_name(without_the_name, caplog):
    key = sodium.SodiumKey.generate()
    for _ in range(2):
        assert key.sign_many(MESSAGES) == [key.sign(message) for message in MESSAGES]
    (record,) = caplog.records
    assert "has no nacl._name_of_another_version: batches" in record.getMessage()


def test_a_subclass_that_signs_in_another_way_does_so_for_many():
    class Salted(Ed25519):
        def sign(self, key, message, options):
            return super().sign(key, b"salt" + message, options)

    algorithm = Salted()
    key = algorithm.generate()
    expected = [key.sign(b"salt" + message) for message in MESSAGES]
    assert algorithm.sign_many(key, MESSAGES, SignatureOptions("EdDSA")) == expected


def test_no_byte_moves_between_signature_and_message():
    """Libsodium takes both as one."""
    algorithm, options = Ed25519(), SignatureOptions()
    key = algorithm.generate()
    public, whole = key.public_key(), key.sign(b"hello") + b"hello"
    for place in range(len(whole) + 1):
        valid = algorithm.verify(public, whole[place:], whole[:place], options)
        assert valid is (place == sodium.SIZE)
