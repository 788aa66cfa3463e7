"""Keys in the cache: used, invalidated, and never shown."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from aries_askar import AskarErrorCode, Session

from minikms.errors import KeyNotUsable, StoreUnavailable
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.cached_keys import CachedKey
from minikms.keys.making import maker
from minikms.keys.service import KeyService
from minikms.keys.signing import ComputeMac, Sign, SignOptions
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
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.slots import CONTENTS, slot_of
from minikms.store.askar.stores import AskarError
from minikms.store.cache import Bounds
from minikms.store.categories import KEY
from minikms.store.keys.key_store import KeyStore


@pytest.fixture
async def keys():
    async with KeyStore.open_memory() as store:
        yield KeyService(AlgorithmRegistry.from_installed(), store, cache=Bounds(100))


async def generate(keys, *others):
    """Make a key that shares its counter neither with the profile's contents nor with others."""
    taken = {slot_of(CONTENTS, DEFAULT_PROFILE), *(slot_of(KEY, kid) for kid in others)}
    while True:
        record = await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
        if slot_of(KEY, record.kid) not in taken:
            return record


async def sign(keys, ref):
    return await keys.perform(DEFAULT_PROFILE, ref, Sign(b"message", SignOptions()))


@pytest.mark.parametrize("by", ["kid", "alias"])
async def test_a_key_in_memory_is_not_waited_for(keys, by):
    record = await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy(aliases=("a",)))
    ref = KeyRef(kid=record.kid) if by == "kid" else KeyRef(alias="a")
    signed = await sign(keys, ref)
    for call in (sign(keys, ref), keys.get(DEFAULT_PROFILE, ref)):
        with pytest.raises(StopIteration) as ended:
            call.send(None)  # the first step of it is the last
        assert ended.value.value in (signed, record)


async def test_the_repr_of_a_cached_key_shows_no_secret(keys):
    algorithm = keys._registry.get("hs256")
    record, material = maker(
        algorithm, KeyPolicy(), lambda: algorithm.import_secret(b"planted" * 5)
    )()
    await keys._store.insert(DEFAULT_PROFILE, record, material)
    await keys.perform(DEFAULT_PROFILE, KeyRef(kid=record.kid), ComputeMac(b""))
    cache = keys.cache
    (entry,) = cache._entries.values()
    assert entry.value.key.secret == b"planted" * 5
    for shown in (cache, entry, cache._entries, cache.start_fill(), entry.value):
        assert "planted" not in repr(shown)
    assert "planted" not in repr(CachedKey(record, "planted", "planted"))


async def test_a_commit_that_did_not_say_whether_it_was_done(keys, monkeypatch):
    record = await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
    await sign(keys, KeyRef(kid=record.kid))
    commit = Session.commit

    async def committed_unheard(session):
        await commit(session)
        raise AskarError(AskarErrorCode.BACKEND, "the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "commit", committed_unheard)
        with pytest.raises(StoreUnavailable):
            await keys.update(DEFAULT_PROFILE, record.kid, {"state": "disabled"})
    with pytest.raises(KeyNotUsable):
        await sign(keys, KeyRef(kid=record.kid))


async def test_a_new_key_takes_no_other_out_of_memory(keys):
    record = await generate(keys)
    await sign(keys, KeyRef(kid=record.kid))
    for number in range(10):
        await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy(aliases=(str(number),)))
    misses = keys.cache.misses
    await sign(keys, KeyRef(kid=record.kid))
    assert keys.cache.misses == misses


async def test_a_deleted_key_leaves_memory_with_the_next_sweep(keys):
    kids = [(await generate(keys)).kid]
    kids.append((await generate(keys, *kids)).kid)
    for kid in kids:
        await sign(keys, KeyRef(kid=kid))
    await keys.delete(DEFAULT_PROFILE, KeyRef(kids[0]))
    await keys.sweep()
    assert list(keys.cache._entries) == [(DEFAULT_PROFILE, kids[1], None)]


ALGORITHMS = [entry.algorithm for entry in AlgorithmRegistry.from_installed()]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=[alg.name for alg in ALGORITHMS])
def test_one_key_in_many_threads(algorithm):
    """A cached key is used by all calls, some of which are in threads."""
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


async def test_many_misses_at_once_read_the_key_once(keys):
    record = await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
    signed = await asyncio.gather(*(sign(keys, KeyRef(kid=record.kid)) for _ in range(50)))
    assert len(set(signed)) == 1
    assert len(keys.cache) == 1
