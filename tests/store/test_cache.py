"""The cache and its change counters: how much it holds, for how long, and until which change."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from aries_askar import AskarErrorCode, Session

from minikms.errors import KeyNotUsable, StoreUnavailable
from minikms.keys.cache import CachedKey
from minikms.keys.mac import ComputeMac
from minikms.keys.service import KeyService
from minikms.keys.signing import Sign, SignOptions
from minikms.plugin.protocol import Aead, KeyAgreement, KeyWrap, Mac, Signer
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyPolicy, KeyRef
from minikms.startup_errors import StoreError
from minikms.store.askar import AskarError
from minikms.store.cache import Bounds, Cache
from minikms.store.counters import SLOTS, ChangeCounters, FileChangeCounters, slot_of
from minikms.store.keys import DEFAULT_PROFILE, KeyStore
from minikms.store.notices import PostgresChangeCounters

A, B = ("category", "a"), ("category", "b")


class Value:
    """A value whose end can be observed."""


def remember(cache, key, value, *sources):
    cache.start_fill().fill(key, value, *sources)


def test_slots_are_the_same_in_every_process():
    code = "from minikms.store.counters import slot_of; print(slot_of('minikms.key', 'kid'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(found.stdout) == slot_of("minikms.key", "kid")
    spread = {slot_of("minikms.key", str(n)) for n in range(10 * SLOTS)}
    assert spread == set(range(SLOTS))


def test_what_values_weigh_is_bounded():
    cache = Cache(ChangeCounters(), 10, 0, weigh=len)
    for key in ("a", "b", "c"):
        remember(cache, key, key * 3, A)
    assert cache.get("a") == "aaa"
    remember(cache, "d", "dddd", A)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    remember(cache, "a", "a", A)  # in its own place
    remember(cache, "e", "ee", A)
    assert [key for key in "acde" if cache.get(key)] == ["a", "c", "d", "e"]
    remember(cache, "f", "f" * 11, A)
    assert cache.get("f") is None
    remember(cache, "f", "f" * 10, A)
    assert [key for key in "acdef" if cache.get(key)] == ["f"]


def test_what_was_used_last_stays():
    cache = Cache(ChangeCounters(), 2, 0)
    first, second = Value(), Value()
    remember(cache, "first", first, A)
    remember(cache, "second", second, A)
    assert cache.get("first") is first
    evicted = weakref.ref(second)
    del second
    remember(cache, "third", Value(), A)
    gc.collect()
    assert evicted() is None
    assert cache.get("second") is None
    assert cache.get("first") is first
    assert (len(cache), cache.hits, cache.misses) == (2, 2, 1)


def test_a_cache_of_no_size_keeps_nothing():
    cache = Cache(ChangeCounters(), 0, 5)
    remember(cache, "key", "value", A)
    assert (cache.get("key"), len(cache)) == (None, 0)


async def test_a_change_is_noticed_and_no_other():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    for change, left in ((A, None), (B, "of a")):
        remember(cache, "a", "of a", A)
        remember(cache, "both", "of both", A, B)
        async with counters.changing([slot_of(*change)]):
            pass
        assert (cache.get("a"), cache.get("both")) == (left, None)


async def test_a_change_that_fails_is_noticed():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    remember(cache, "a", "of a", A)
    with pytest.raises(StoreUnavailable):
        async with counters.changing([slot_of(*A)]):
            raise StoreUnavailable()
    assert cache.get("a") is None


async def test_what_changes_while_it_is_read_is_not_kept():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    pending = cache.start_fill()
    async with counters.changing([slot_of(*A)]):
        pass
    pending.fill("a", "read before", A)
    assert cache.get("a") is None


async def test_what_has_changed_is_dropped():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    value = Value()
    remember(cache, "a", value, A)
    remember(cache, "b", "of b", B)
    dropped = weakref.ref(value)
    del value
    async with counters.changing([slot_of(*A)]):
        pass
    cache.drop_stale()
    gc.collect()
    assert (dropped(), len(cache)) == (None, 1)


@pytest.mark.parametrize(
    ("counters", "ttl", "found"),
    [
        (ChangeCounters, 0, "value"),
        (PostgresChangeCounters, 0, None),
        (PostgresChangeCounters, 3600, "value"),
    ],
)
def test_time_bounds_what_may_change_unnoticed(counters, ttl, found):
    cache = Cache(counters(), 10, ttl)
    remember(cache, "key", "value", A)
    assert cache.get("key") == found


# An SQLite file, and processes that share it


def test_processes_share_the_counters_of_a_file(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, 10, 0)
    remember(cache, "a", "of a", A)
    remember(cache, "b", "of b", B)
    elsewhere(tmp_path, "")
    assert (cache.get("a"), cache.get("b")) == (None, "of b")
    remember(cache, "a", "of a", A)
    assert cache.get("a") == "of a"
    assert (tmp_path / "keys.db-seen").stat().st_mode & 0o777 == 0o600


def test_a_process_that_is_killed_within_a_change(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, 10, 0)
    remember(cache, "a", "of a", A)
    elsewhere(tmp_path, "os.kill(os.getpid(), 9)", -signal.SIGKILL)
    assert cache.get("a") is None
    # Whether it was done is not known, so nobody relies on what is read now.
    remember(cache, "a", "of a", A)
    assert cache.get("a") is None
    counters.repair()
    assert cache.get("a") is None
    remember(cache, "a", "of a", A)
    assert cache.get("a") == "of a"


def elsewhere(folder, within, code=0):
    """Change A in another process, which does `within` meanwhile."""
    script = f"""
import asyncio, os
from pathlib import Path
from minikms.store.counters import FileChangeCounters, slot_of

async def change():
    async with FileChangeCounters(Path({str(folder / "keys.db")!r})).changing([slot_of(*{A!r})]):
        {within or "pass"}

asyncio.run(change())
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == code


async def test_a_change_that_goes_on_without_who_began_it(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, 10, 0)

    async def commit():
        async with counters.changing([slot_of(*A)]):
            await asyncio.Event().wait()

    task = asyncio.create_task(commit())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    remember(cache, "a", "before", A)
    assert cache.get("a") is None
    counters.repair()
    remember(cache, "a", "after", A)
    assert cache.get("a") == "after"


async def test_nothing_is_kept_while_it_is_being_changed(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, 10, 0)
    async with counters.changing([slot_of(*A)]):
        remember(cache, "a", "before", A)
        assert cache.get("a") is None
    assert cache.get("a") is None


async def test_links_to_a_file(tmp_path):
    (tmp_path / "keys.db").touch()
    (tmp_path / "link.db").symlink_to("keys.db")
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, 10, 0)
    remember(cache, "a", "of a", A)
    async with FileChangeCounters(tmp_path / "link.db").changing([slot_of(*A)]):
        pass
    assert cache.get("a") is None


def test_a_file_that_cannot_be_made(tmp_path):
    os.mkdir(tmp_path / "keys.db-seen")
    with pytest.raises(StoreError, match=r"keys\.db-seen"):
        FileChangeCounters(tmp_path / "keys.db")


# Keys


@pytest.fixture
async def keys():
    async with KeyStore.open_memory() as store:
        yield KeyService(AlgorithmRegistry.from_installed(), store, cache=Bounds(100))


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


async def test_what_is_in_memory_shows_no_secret(keys):
    record, material = await keys._maker.make(
        keys._registry.get("hs256"),
        KeyPolicy(),
        "import",
        lambda: keys._registry.get("hs256").import_secret(b"planted" * 5),
    )
    await keys._store.insert(DEFAULT_PROFILE, record, material)
    await keys.perform(DEFAULT_PROFILE, KeyRef(kid=record.kid), ComputeMac(b""))
    cache = keys.cache.entries
    (entry,) = cache._entries.values()
    assert entry.value.key.secret == b"planted" * 5
    for shown in (cache, entry, cache._entries, cache.start_fill(), entry.value, keys.cache):
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
    record = await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
    await sign(keys, KeyRef(kid=record.kid))
    for number in range(10):
        await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy(aliases=(str(number),)))
    misses = keys.cache.entries.misses
    await sign(keys, KeyRef(kid=record.kid))
    assert keys.cache.entries.misses == misses


async def test_what_has_changed_leaves_memory_with_the_next_sweep(keys):
    kids = [(await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())).kid for _ in range(2)]
    for kid in kids:
        await sign(keys, KeyRef(kid=kid))
    await keys.delete(DEFAULT_PROFILE, kids[0])
    await keys.sweep()
    assert list(keys.cache.entries._entries) == [(DEFAULT_PROFILE, kids[1], None)]


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
            signature = algorithm.sign(key, message, alg, False)
            assert algorithm.verify(public, message, signature, alg, False)
        if isinstance(algorithm, Mac):
            assert algorithm.verify_mac(key, message, algorithm.mac(key, message))
        if isinstance(algorithm, Aead):
            assert algorithm.decrypt(key, algorithm.encrypt(key, secret, b""), b"") == secret
        if isinstance(algorithm, KeyWrap):
            assert algorithm.unwrap(key, algorithm.wrap(key, secret)) == secret
        if isinstance(algorithm, KeyAgreement):
            own = algorithm.load_public(algorithm.public_jwk(key))
            return algorithm.derive(key, own)
        return None

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(use, range(40)))) == 1


async def test_many_who_miss_at_once(keys):
    record = await keys.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
    signed = await asyncio.gather(*(sign(keys, KeyRef(kid=record.kid)) for _ in range(50)))
    assert len(set(signed)) == 1
    assert len(keys.cache.entries) == 1
