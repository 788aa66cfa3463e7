"""Keys that are long in the making: a few at once, and others have their turn."""

import asyncio
import itertools
import threading
import time

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from minikms.basics.fair_gate import MAX_WAITING
from minikms.basics.fair_threads import PROCESSORS
from minikms.encodings import jose_b64url
from minikms.errors import TooBusy, UnsupportedOperation
from minikms.key_requests import KeyPolicy
from minikms.keys.making import KeyMaker, maker
from minikms.keys.operations import KeyOperations
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store.keys.key_store import KeyStore

REGISTRY = AlgorithmRegistry.from_installed()
RSA, ML_DSA = REGISTRY.get("rsa2048"), REGISTRY.get("mldsa44")
POLICY = KeyPolicy()


@pytest.fixture
async def keys():
    async with KeyStore.open_memory() as store:
        yield KeyMaker(KeyOperations(REGISTRY, store))


async def test_so_many_at_once_and_so_many_wait(keys):
    go_on, begun = threading.Event(), []
    key = RSA.generate()

    def generate():
        begun.append(1)
        go_on.wait(60)
        return key

    def make():
        return asyncio.create_task(keys.in_turn("a", RSA, "generate", maker(RSA, POLICY, generate)))

    tasks = [make() for _ in range(PROCESSORS + MAX_WAITING)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(TooBusy) as caught:
            await make()
        assert caught.value.headers == {"Retry-After": "1"}
        with pytest.raises(TooBusy):
            await keys.make_pair("a", RSA)
        # Keys of another kind, and imported keys, do not wait for them.
        await keys.in_turn("a", ML_DSA, "generate", maker(ML_DSA, POLICY, ML_DSA.generate))
        await keys.in_turn("a", RSA, "import", maker(RSA, POLICY, lambda: key))
        assert len(begun) <= PROCESSORS
    finally:
        go_on.set()
    made = await asyncio.gather(*tasks)
    assert {record.kid for record, _ in made} == {made[0][0].kid}
    assert len(begun) == len(tasks)
    await make()


async def test_a_key_of_another_profile_is_made_before_the_ones_that_wait(keys):
    go_on, begun, key = threading.Event(), [], RSA.generate()

    def make(profile):
        def generate():
            begun.append(profile)
            go_on.wait(60)
            return key

        made = keys.in_turn(profile, RSA, "generate", maker(RSA, POLICY, generate))
        return asyncio.create_task(made)

    tasks = [make(profile) for profile in ["a"] * (PROCESSORS + MAX_WAITING) + ["b"]]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*tasks)
    assert begun.index("b") < len(begun) // 2


async def test_a_pair_that_nothing_keeps(keys):
    pair = await keys.make_pair("a", REGISTRY.get("p256"))
    private = load_der_private_key(pair.private, None)
    assert jose_b64url(private.public_key().public_numbers().x.to_bytes(32, "big")) == pair.jwk["x"]
    assert "private" not in repr(pair)
    with pytest.raises(UnsupportedOperation):
        await keys.make_pair("a", REGISTRY.get("a256gcm"))


async def test_one_that_fails_gives_its_turn_back(keys):
    def fail():
        raise ZeroDivisionError

    for _ in range(PROCESSORS + 1):
        with pytest.raises(ZeroDivisionError):
            await keys.in_turn("a", RSA, "generate", maker(RSA, POLICY, fail))


async def test_keys_arrive_one_by_one_and_leave_time_to_others(keys):
    key, times = RSA.generate(), []

    def read():
        begin = time.monotonic()
        time.sleep(0.05)
        times.append((begin, time.monotonic()))
        return key

    make = maker(RSA, POLICY, read)
    await asyncio.gather(*(keys.in_turn("a", RSA, "import", make) for _ in range(3)))
    for (begin, end), (next_begin, _) in itertools.pairwise(times):
        assert next_begin - end > (end - begin) / 2
