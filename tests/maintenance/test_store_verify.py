"""Faults that `verify` finds, and changes that are not faults."""

import asyncio
import base64
import re
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aries_askar import Key
from issued_certificates import ROOT, der
from sqlite_copies import whole

from minikms.access.tokens import Tokens
from minikms.errors import KeyUnreadable
from minikms.key_requests import KeyPolicy, KeyRef, KeySource
from minikms.keys.service import KeyService
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.progress import Progress
from minikms.maintenance.verify import VERIFY_NOTES, Tally, verify
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.categories import ALIAS, DELETION, TOKENS
from minikms.store.keys.entries import alias_entry, load_record, seal, tags_of
from minikms.store.keys.key_store import KeyStore
from minikms.store.profiles.marker import ensure_sealing_key, sealing_key
from minikms.versions import KeyVersions

REGISTRY = AlgorithmRegistry.from_installed()
# Making one of the others takes seconds, and finds nothing else.
LONG = "é" * 4096
CERTIFICATE = base64.b64encode(der(ROOT.certificate)).decode()
ALGORITHMS = [entry.algorithm for entry in REGISTRY if entry.algorithm.name[:4] != "rsa4"]


def versions_of(kid):
    """The entry of an alias that names one key."""
    return KeyVersions({1: kid}).to_bytes()


@pytest.fixture
def location(persistent_url):
    return StoreLocation.parse(persistent_url)


@pytest.fixture
def key():
    return StoreKey(new_raw_key())


@asynccontextmanager
async def service_of(location, key):
    """A service on a new store."""
    async with KeyStore.create(location, key) as store:
        yield KeyService(REGISTRY, store)


async def check(location, key, contents=StoreInspector, **options):
    """The faults of a store, its leftovers, and the tally."""
    faults, notes = [], []
    async with contents.open(location, key) as opened:
        tally = await verify(
            opened, REGISTRY, lambda *fault: faults.append(fault), notes.append, **options
        )
    assert tally.faults == len(faults)
    return faults, notes, tally


async def test_a_store_with_nothing_wrong(location, key):
    async with service_of(location, key) as service:
        await service.profiles.create("t")
        for algorithm in ALGORITHMS:
            aliases = f"a {algorithm.name}", "last", LONG
            policy = KeyPolicy(aliases=aliases, labels={"n": "1"})
            await service.creation.generate(DEFAULT_PROFILE, algorithm.name, policy)
        pages, _ = await service.descriptions.list_keys(DEFAULT_PROFILE, limit=1000)
        public = [record for record in pages if record.jwk]
        for record in public:
            await service.creation.import_key("t", KeySource(jwk=record.jwk), KeyPolicy())
        await service.changes.update(DEFAULT_PROFILE, public[0].kid, {"rotate_every": 3600})
        await service.rotation.rotate(DEFAULT_PROFILE, public[0].kid)
        await service.changes.update(
            DEFAULT_PROFILE, public[1].kid, {"state": "disabled", "expires": 1}
        )
        await service.changes.schedule_deletion(DEFAULT_PROFILE, KeyRef(public[2].kid), 10**12)
        await service.operations.store.deletions.schedule("t", KeyRef(public[2].kid), 1)
        await service.changes.delete("t", KeyRef(public[3].kid))
    keys = len(ALGORITHMS) + 1 + len(public) - 1
    tally = Tally(profiles=2, keys=keys, aliases=len(ALGORITHMS) + 2)
    assert await check(location, key) == ([], [], tally)


async def put(session, record, *, secret=None, tags=None, **changes):
    """Replace a record and its tags, and its material by `secret`, if that is given."""
    stored = await load_record(session, record.kid)
    changed = replace(stored, **changes)
    if secret is not None:
        key = await sealing_key(session)
        changed = replace(changed, sealed=secret and seal(key, record.kid, secret))
    tags = tags_of(changed) if tags is None else tags
    await session.replace("minikms.key", record.kid, changed.to_bytes(), tags)


async def both(first, second):
    await first
    await second


# An algorithm, a change to one of its keys, and the faults of this key, or of another kid.
KEY_FAULTS = {
    "record gone": (
        "ed25519",
        lambda session, record: session.remove("minikms.key", record.kid),
        ["the alias 'a' names it, and it has no record"],
    ),
    "record of an Askar key gone": (
        "xc20p",
        lambda session, record: session.remove("minikms.key", record.kid),
        ["it has material and no record", "the alias 'a' names it, and it has no record"],
    ),
    "record of a later version": (
        "ed25519",
        lambda session, record: session.replace("minikms.key", record.kid, b'{"kid":"x"}'),
        ["its record cannot be read"],
    ),
    "record that is no JSON": (
        "ed25519",
        lambda session, record: session.replace("minikms.key", record.kid, b"{"),
        ["its record cannot be read"],
    ),
    "private member in the public JWK": (
        "p521",
        lambda session, record: put(session, record, jwk={**record.jwk, "d": "AA"}),
        ["its record cannot be read"],
    ),
    "record of another": (
        "hs256",
        lambda session, record: put(session, record, kid="x"),
        ["its record belongs to another key"],
    ),
    "tags of another": (
        "ed25519",
        lambda session, record: put(session, record, tags=tags_of(replace(record, labels={}))),
        ["its tags do not match its record"],
    ),
    "tag that no member has": (
        "ed25519",
        lambda session, record: put(
            session, record, tags=tags_of(replace(record, labels={**record.labels, "more": "1"}))
        ),
        ["its tags do not match its record"],
    ),
    "no place in the order": (
        "ed25519",
        lambda session, record: put(session, record, seq=""),
        ["its record cannot be read"],
    ),
    "algorithm not installed": (
        "ed25519",
        lambda session, record: put(session, record, alg="gone"),
        ["its algorithm gone is not installed"],
    ),
    "algorithm of another": (
        "ed25519",
        lambda session, record: put(session, record, alg="p521"),
        ["its material does not open: ValueError"],
    ),
    "public key of another": (
        "p521",
        lambda session, record: put(session, record, jwk={**record.jwk, "x": "AA"}),
        ["its material does not match its public key"],
    ),
    "key type of another": (
        "hs256",
        lambda session, record: put(session, record, kty="RSA"),
        ["its material does not match its public key"],
    ),
    "material of another": (
        "p521",
        lambda session, record: put(session, record, secret=P521),
        ["its material does not match its public key", "its kid is not the thumbprint of its key"],
    ),
    "material that is none": (
        "rsa2048",
        lambda session, record: put(session, record, secret=b"x"),
        ["its material does not open: ValueError"],
    ),
    "certificate of another": (
        "ed25519",
        lambda session, record: put(session, record, certificates=(CERTIFICATE,)),
        ["its first certificate is not for its key, or cannot be read"],
    ),
    "certificate that is none": (
        "ed25519",
        lambda session, record: put(session, record, certificates=("A", CERTIFICATE)),
        ["its first certificate is not for its key, or cannot be read"],
    ),
    "Askar key gone": (
        "xc20p",
        lambda session, record: session.remove_key(record.kid),
        ["its material is missing"],
    ),
    "bytes gone": (
        "hs256",
        lambda session, record: put(session, record, secret=b""),
        ["its material is missing"],
    ),
    "bytes sealed for another key": (
        "hs256",
        lambda session, record: put(session, record, sealed=bytes(60)),
        ["its material does not decrypt"],
    ),
    "Askar key beside bytes": (
        "hs256",
        lambda session, record: session.insert_key(record.kid, Key.generate("p256")),
        ["it has material that its record does not mention"],
    ),
    "public key alone with material": (
        "p521",
        lambda session, record: put(session, record, material="none"),
        ["it is only a public key, but has material"],
    ),
    "alias gone": (
        "ed25519",
        lambda session, record: session.remove("minikms.alias", "a"),
        ["its alias 'a' is missing"],
    ),
    "alias of another": (
        "ed25519",
        lambda session, record: session.replace("minikms.alias", "a", versions_of("y")),
        ["its alias 'a' names the key y", ("y", "the alias 'a' names it, and it has no record")],
    ),
    "alias not listed": (
        "ed25519",
        lambda session, record: put(session, record, aliases=()),
        ["the alias 'a' names it, and its record does not list it"],
    ),
    "alias of no key": (
        "ed25519",
        lambda session, record: session.insert("minikms.alias", "b", versions_of("y")),
        [("y", "the alias 'b' names it, and it has no record")],
    ),
    "versions that are none": (
        "ed25519",
        lambda session, record: session.replace("minikms.alias", "a", b"[1]"),
        ["the versions of its alias 'a' cannot be read"],
    ),
    "versions that are none of no key": (
        "ed25519",
        lambda session, record: session.insert("minikms.alias", "b", b"y"),
        [("", "the versions of the alias 'b' cannot be read")],
    ),
    "long alias gone": (
        "ed25519",
        lambda session, record: put(session, record, aliases=("a", LONG)),
        [f"its alias {LONG!r} is missing"],
    ),
    "long alias not listed": (
        "hs256",
        lambda session, record: session.insert(
            "minikms.alias", alias_entry(LONG), versions_of(record.kid)
        ),
        [f"the alias {alias_entry(LONG)!r} names it, and its record does not list it"],
    ),
    "Askar key of no key": (
        "hs256",
        lambda session, record: session.insert_key("y", Key.generate("xc20p")),
        [("y", "it has material and no record")],
    ),
    "deletion gone": (
        "ed25519",
        lambda session, record: put(session, record, deletes=2**62),
        ["it is scheduled for deletion, and nothing would remove it"],
    ),
    "deletion of another time": (
        "hs256",
        lambda session, record: both(
            put(session, record, deletes=2**62),
            session.insert("minikms.deletion", record.kid, b"", {"~at": "1"}),
        ),
        ["its scheduled deletion does not match its record"],
    ),
    "deletion that is not its record's": (
        "hs256",
        lambda session, record: session.insert("minikms.deletion", record.kid, b"", {"~at": "1"}),
        ["its scheduled deletion does not match its record"],
    ),
    "deletion of no key": (
        "ed25519",
        lambda session, record: session.insert("minikms.deletion", "y", b"", {"~at": "1"}),
        [("y", "it is scheduled for deletion, and has no record")],
    ),
    "rotation gone": (
        "ed25519",
        lambda session, record: put(session, record, rotate_every=3600, rotates=2**62),
        ["its scheduled rotation does not match its record"],
    ),
    "rotation that is not its record's": (
        "hs256",
        lambda session, record: session.insert("minikms.rotation", record.kid, b"", {"~at": "1"}),
        ["its scheduled rotation does not match its record"],
    ),
    "rotation that comes too late": (
        "hs256",
        lambda session, record: both(
            put(session, record, retires=2**62),
            session.insert("minikms.rotation", record.kid, b"", {"~at": f"{2**62 + 1:020d}"}),
        ),
        ["its scheduled rotation does not match its record"],
    ),
    "rotation that comes too early": (
        "hs256",
        lambda session, record: both(
            put(session, record, retires=2**62),
            session.insert("minikms.rotation", record.kid, b"", {"~at": "1"}),
        ),
        ["its scheduled rotation does not match its record"],
    ),
    "next key missing": (
        "ed25519",
        lambda session, record: put(session, record, next_kid="y"),
        ["its next key y is missing"],
    ),
    "next key that is its own": (
        "ed25519",
        lambda session, record: put(session, record, next_kid=record.kid),
        ["its next key {kid} does not follow it"],
    ),
    "key before it missing": (
        "ed25519",
        lambda session, record: put(session, record, follows="y"),
        ["it is the next key of y, which is missing"],
    ),
    "key before it with another next key": (
        "ed25519",
        lambda session, record: put(session, record, follows=record.kid),
        ["it is not the next key of {kid}, which it follows"],
    ),
    "order gone": (
        "ed25519",
        lambda session, record: session.replace("minikms.sequence", "last", "1"),
        [("", "its next key would take another's place in the order of creation")],
    ),
    "order one behind": (
        "hs256",
        lambda session, record: session.replace(
            "minikms.sequence", "last", str(int(record.seq) - 1)
        ),
        [("", "its next key would take another's place in the order of creation")],
    ),
}
P521 = REGISTRY.get("p521").pack(REGISTRY.get("p521").generate())


@pytest.fixture(scope="module")
def with_key(tmp_path_factory):
    """Give an SQLite store to be copied, with keys of three algorithms, and the record of one."""
    key, made = StoreKey(new_raw_key()), {}

    async def give(alg):
        if alg not in made:
            path = tmp_path_factory.mktemp(alg) / "keys.db"
            async with service_of(StoreLocation.parse(f"sqlite://{path}"), key) as service:
                for name in ("ed25519", "hs256", "p521"):
                    policy = KeyPolicy(aliases=(f"of {name}",))
                    await service.creation.generate(DEFAULT_PROFILE, name, policy)
                policy = KeyPolicy(aliases=("a",), labels={"n": "1"})
                record = await service.creation.generate(DEFAULT_PROFILE, alg, policy)
                record = await service.operations.get(DEFAULT_PROFILE, KeyRef(kid=record.kid))
            made[alg] = await whole(path), key, record
        return made[alg]

    return give


# Askar returns the same rows for both kinds of stores, and the check reads only these.
@pytest.mark.parametrize("what", KEY_FAULTS)
async def test_a_key_that_does_not_fit_together(tmp_path, with_key, what):
    alg, work, expected = KEY_FAULTS[what]
    path, key, record = await with_key(alg)
    location = StoreLocation.parse(f"sqlite://{shutil.copy(path, tmp_path)}")
    async with KeyStore.open(location, key) as store:
        await damage(KeyService(REGISTRY, store), lambda session: work(session, record))
    faults, notes, _ = await check(location, key)
    found = [
        (record.kid, text.format(kid=record.kid)) if isinstance(text, str) else text
        for text in expected
    ]
    assert [fault[1:] for fault in faults] == found
    assert {fault[0] for fault in faults} == {DEFAULT_PROFILE}
    assert notes == []


async def test_a_key_in_each_state_of_a_rotation_has_no_fault(location, key):
    async with service_of(location, key) as service:
        for state in ("next", "replaced", "retired", "not made"):
            policy = KeyPolicy(
                aliases=(state,), rotate_every=86_400, publish_ahead=3600, retire_after=3600
            )
            made = (await service.creation.generate(DEFAULT_PROFILE, "hs256", policy)).kid
            if state != "not made":
                await service.rotation.make_next(DEFAULT_PROFILE, made)
            if state in ("replaced", "retired"):
                await service.rotation.rotate(DEFAULT_PROFILE, made)
            if state == "retired":
                at = {"retires": 1}
                await service.operations.store.change(
                    DEFAULT_PROFILE, made, lambda record, at=at: replace(record, **at)
                )
        await service.sweep()
    faults, notes, tally = await check(location, key)
    assert (faults, notes, tally.keys) == ([], [], 7)


async def test_a_step_that_was_postponed_is_no_fault(location, key):
    async with service_of(location, key) as service:
        policy = KeyPolicy(rotate_every=3600)  # without an alias, it is not rotated
        made = (await service.creation.generate(DEFAULT_PROFILE, "hs256", policy)).kid
        due = {"rotate_every": 3600, "rotates": 1}
        await service.changes.update(DEFAULT_PROFILE, made, due)
        await service.sweep()
        assert await service.operations.store.rotations.due(DEFAULT_PROFILE) == []
    assert (await check(location, key))[:2] == ([], [])


async def test_a_next_key_that_an_older_version_left_behind_is_named_and_can_be_deleted(
    location, key
):
    """Version 0.4.0 rotates a key without its next key, and keeps the record's other members."""
    async with service_of(location, key) as service:
        policy = KeyPolicy(aliases=("a",))
        old = (await service.creation.generate(DEFAULT_PROFILE, "ed25519", policy)).kid
        following = (await service.rotation.make_next(DEFAULT_PROFILE, old)).kid
        await service.rotation.rotate(DEFAULT_PROFILE, old)
        store = service.operations.store
        for kid, left in ((old, {"next_kid": following}), (following, {"follows": old})):
            await store.change(
                DEFAULT_PROFILE, kid, lambda record, left=left: replace(record, aliases=(), **left)
            )
        other = KeyPolicy(aliases=("a",))
        await service.creation.generate(DEFAULT_PROFILE, "ed25519", other)
    what = f"it is the next key of {old}, which another key has replaced"
    assert (await check(location, key))[0] == [(DEFAULT_PROFILE, following, what)]
    async with KeyStore.open(location, key) as store:
        await KeyService(REGISTRY, store).changes.delete(DEFAULT_PROFILE, KeyRef(following))
    assert (await check(location, key))[0] == []


async def damage(service, work, profile=DEFAULT_PROFILE):
    """Change entries of a profile, behind the service's back."""
    await service.operations.store._database.run(profile, work, write=True)


def system(work):
    """The same in the store's own profile."""

    async def change(service):
        async with service.operations.store._database._calls.transaction() as session:
            await work(session)

    return change


async def without_askar_profile(service):
    database = service.operations.store._database
    await database._pool.store.remove_profile(await database.directory.askar_profile("t"))


PROFILE_FAULTS = {
    "Askar has no profile for it": without_askar_profile,
    "its marker is missing or does not decrypt: nothing can be written": lambda service: damage(
        service, lambda session: session.remove("minikms.profile", "self"), "t"
    ),
}


@pytest.mark.parametrize("what", PROFILE_FAULTS)
async def test_a_profile_that_cannot_be_used(location, key, what):
    async with service_of(location, key) as service:
        await service.profiles.create("t")
        for profile in (DEFAULT_PROFILE, "t"):
            await service.creation.generate(profile, "ed25519", KeyPolicy())
        await PROFILE_FAULTS[what](service)
    faults, notes, tally = await check(location, key)
    assert (faults, notes) == ([("t", "", what)], [])
    assert tally.keys == 1


@pytest.mark.parametrize("jobs", [3, 100])  # 100 are more than the connections
async def test_profiles_that_are_checked_at_once_have_the_same_faults(location, key, jobs):
    names = [f"p{number}" for number in range(8)]
    async with service_of(location, key) as service:
        for profile in names:
            await service.profiles.create(profile)
            for _ in range(3):
                await service.creation.generate(profile, "ed25519", KeyPolicy(aliases=("a",)))
        for profile in names[::2]:
            kid = (await service.operations.get(profile, KeyRef(alias="a"))).kid
            await damage(
                service, lambda session, kid=kid: session.remove("minikms.key", kid), profile
            )
        await system(lambda session: session.remove("minikms.profile", "p1"))(service)
    faults, notes, tally = await check(location, key)
    assert len(faults) == 4
    found = await check(location, key, jobs=jobs)
    assert (sorted(found[0]), found[1:]) == (sorted(faults), (notes, tally))


async def test_rows_left_over_from_profiles_are_found(location, key):
    async with service_of(location, key) as service:
        await service.profiles.create("t")
        askar_profile = await service.operations.store._database.directory.askar_profile("t")
        await system(lambda session: session.replace("minikms.profile", "t", f"-{askar_profile}"))(
            service
        )
        await service.operations.store._database._pool.store.create_profile("stray")
    faults, notes, _ = await check(location, key)
    assert faults == []
    assert notes == [
        "the profile t was removed, but parts of it remain",
        "no profile uses Askar's profile stray",
    ]


@pytest.mark.parametrize("batch", [3, 4])
async def test_askar_keys_are_read_together_or_by_algorithm(location, key, monkeypatch, batch):
    monkeypatch.setattr("minikms.store.database.BATCH", batch)
    algs = {"1": "xc20p", "2": "p256", "3": "xc20p", "4": "p256"}

    async def insert(session):
        for name, alg in algs.items():
            await session.insert_key(name, Key.generate(alg))

    async with service_of(location, key) as service:
        await damage(service, insert)
    async with StoreInspector.open(location, key) as inspector:
        read = [keys async for keys in inspector.database.askar_keys(DEFAULT_PROFILE) if keys]
    assert sorted(entry.name for keys in read for entry in keys) == sorted(algs)
    assert len(read) == (1 if batch == 4 else 2)


# A byte that flipped


async def fill_sqlite(path, key):
    """A small store with every kind of thing in it; the record of a key of each kind."""
    async with service_of(StoreLocation.parse(f"sqlite://{path}"), key) as service:
        await service.profiles.create("t")
        records = []
        for profile, alg in ((DEFAULT_PROFILE, "ed25519"), (DEFAULT_PROFILE, "xc20p")):
            policy = KeyPolicy(aliases=(f"of {alg}",), labels={"n": "1"})
            record = await service.creation.generate(profile, alg, policy)
            records.append(await service.operations.get(profile, KeyRef(kid=record.kid)))
        await service.creation.import_key(
            "t", KeySource(jwk=records[0].jwk), KeyPolicy(aliases=("p",))
        )
    return records


COLUMNS = [
    ("items", "category"),
    ("items", "name"),
    ("items_tags", "name"),
    ("items_tags", "value"),
    ("profiles", "profile_key"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("table", "column"), COLUMNS)
async def test_no_byte_flips_unseen(tmp_path, key, flip, query, table, column):
    path = tmp_path / "keys.db"
    await fill_sqlite(path, key)
    # Not the store's own entries and key, without which it does not open.
    [(own,)] = query(path, "SELECT id FROM profiles WHERE name = 'minikms'")
    numbers = {
        "items": f"SELECT id FROM items WHERE profile_id != {own}",
        "items_tags": "SELECT id FROM items_tags",
        "profiles": f"SELECT id FROM profiles WHERE id != {own}",
    }
    for (number,) in query(path, numbers[table]):
        damaged = tmp_path / f"{number}.db"
        shutil.copy(path, damaged)
        flip(damaged, number, table, column)
        faults, _, _ = await check(StoreLocation.parse(f"sqlite://{damaged}"), key)
        assert faults, (table, column, number)


# Of the column that is missing above.
async def test_a_flipped_byte_is_told_by_name(tmp_path, key, flip, query):
    path = tmp_path / "keys.db"
    first, second = await fill_sqlite(path, key)
    [(own,)] = query(path, "SELECT id FROM profiles WHERE name = 'minikms'")
    found = Counter()
    for (number,) in query(path, f"SELECT id FROM items WHERE profile_id != {own}"):
        damaged = tmp_path / f"{number}.db"
        shutil.copy(path, damaged)
        flip(damaged, number)
        faults, _, _ = await check(StoreLocation.parse(f"sqlite://{damaged}"), key)
        assert faults, number
        found.update(faults)
    profile = {
        "its marker is missing or does not decrypt: nothing can be written",
        "The counter for the order of keys does not decrypt.",
    }
    record, material = "its record does not decrypt", "its material does not decrypt"
    assert found == Counter(
        [
            *((name, "", text) for name in (DEFAULT_PROFILE, "t") for text in profile),
            (DEFAULT_PROFILE, first.kid, record),
            *((DEFAULT_PROFILE, second.kid, text) for text in (record, material)),
            ("t", first.kid, record),
            (DEFAULT_PROFILE, first.kid, "its alias 'of ed25519' does not decrypt"),
            (DEFAULT_PROFILE, second.kid, "its alias 'of xc20p' does not decrypt"),
            ("t", first.kid, "its alias 'p' does not decrypt"),
            (DEFAULT_PROFILE, "", "Askar keys of an algorithm do not decrypt as a whole"),
        ]
    )


@pytest.mark.slow
async def test_flipped_bytes_among_many(tmp_path, key, flip, query):
    """More than one batch has, so that a cursor goes on behind it."""
    path = tmp_path / "keys.db"
    async with service_of(StoreLocation.parse(f"sqlite://{path}"), key) as service:
        await service.creation.generate_batch(DEFAULT_PROFILE, "hs256", 600, KeyPolicy())
    values = query(path, "SELECT id FROM items WHERE length(value) > 200 ORDER BY id")
    assert len(values) == 600
    damaged = (0, 1, 255, 256, 400, 599)
    for place in damaged:
        flip(path, *values[place])
    faults, _, tally = await check(StoreLocation.parse(f"sqlite://{path}"), key)
    assert faults == [
        (DEFAULT_PROFILE, "", "6 entries of minikms.key do not decrypt, nor do their names")
    ]
    assert tally.keys == 600


async def test_a_flipped_byte_in_the_directory(tmp_path, key, flip, query):
    path = tmp_path / "keys.db"
    await fill_sqlite(path, key)
    [(own,)] = query(path, "SELECT id FROM profiles WHERE name = 'minikms'")
    # The last entry written there belongs to t.
    [(number,)] = query(path, f"SELECT max(id) FROM items WHERE profile_id = {own}")
    flip(path, number)
    faults, notes, tally = await check(StoreLocation.parse(f"sqlite://{path}"), key)
    assert faults == [("", "", "1 entries of the directory of profiles do not decrypt")]
    assert re.fullmatch("no profile uses Askar's profile [0-9a-f]{40}", *notes)
    assert tally.profiles == 1


async def test_flipped_bytes_in_tokens_are_counted(tmp_path, key, flip, query):
    """A damaged token is refused, and its id cannot be read."""
    path = tmp_path / "keys.db"
    location = StoreLocation.parse(f"sqlite://{path}")
    async with KeyStore.create(location, key) as store:
        for name in "abc":
            await Tokens(store.database).create(name, ("sign",))
    records = query(await whole(path), "SELECT id FROM items ORDER BY length(value) DESC")[:3]
    flip(path, *records[0])
    faults, notes, _ = await check(location, key)
    assert (faults, notes) == ([("", "", "1 entries of tokens do not decrypt")], [])
    flip(path, *records[1])
    faults, notes, _ = await check(location, key)
    assert (faults, notes) == ([("", "", "2 entries of tokens do not decrypt")], [])


async def test_a_token_of_version_0_3_0_has_no_tags(location, key):
    """Nor has a token whose last use a service of that version has stored since."""
    async with service_of(location, key) as service:
        tokens = Tokens(service.operations.store.database)
        for tags in ({}, {"used": "7"}):
            _, record = await tokens.create("issuer", ("sign",))
            untagged = system(
                lambda s, each=record, tags=tags: s.replace(TOKENS, each.id, each.to_bytes(), tags)
            )
            await untagged(service)
    assert (await check(location, key))[:2] == ([], [])


# A store in use


def changed_while_read(act):
    """An inspector of a store that is changed between any two reads."""

    class Changed(StoreInspector):
        def __init__(self, database):
            super().__init__(database)
            batches, askar_keys = database.batches, database.askar_keys

            async def changed_batches(profile, category, **options):
                name = {ALIAS: "aliases", DELETION: "deletions"}.get(category)
                async for batch in batches(profile, category, **options):
                    if name:
                        await act(name, profile)
                    yield batch

            async def changed_keys(profile):
                async for keys in askar_keys(profile):
                    await act("askar_keys", profile)
                    yield keys

            database.batches, database.askar_keys = changed_batches, changed_keys

        async def records(self, profile, *, in_order=True):
            async for batch in super().records(profile, in_order=in_order):
                await act("records", profile)
                yield batch

        async def directory(self):
            found = await super().directory()
            await act("directory", None)
            return found

    return Changed


CHANGES = {
    "deleted": lambda service, kid: service.changes.delete(DEFAULT_PROFILE, KeyRef(kid)),
    "alias moved": lambda service, kid: service.aliases.associate(DEFAULT_PROFILE, kid, "of 3"),
    "alias removed": lambda service, kid: service.aliases.dissociate(DEFAULT_PROFILE, kid, "of 2"),
    "labelled": lambda service, kid: service.changes.update(
        DEFAULT_PROFILE, kid, {"labels": {"m": "2"}}
    ),
    "scheduled": lambda service, kid: service.changes.schedule_deletion(
        DEFAULT_PROFILE, KeyRef(kid), 10**12
    ),
    "restored": lambda service, kid: service.changes.restore(DEFAULT_PROFILE, OTHER[0]),
    "removed by a sweep": lambda service, kid: swept(service, OTHER[0]),
    "rotated": lambda service, kid: service.rotation.rotate(DEFAULT_PROFILE, kid),
    "made": lambda service, kid: service.creation.generate(
        DEFAULT_PROFILE, "p521", KeyPolicy(aliases=("new",))
    ),
    "profile removed": lambda service, kid: service.operations.store.remove_profile("t"),
    "profile made": lambda service, kid: service.profiles.create("u"),
}


OTHER = []


async def swept(service, kid):
    await service.operations.store.deletions.schedule(DEFAULT_PROFILE, KeyRef(kid), 1)
    await service.sweep()


MOMENTS = ["aliases", "deletions", "askar_keys", "directory"]


async def put_in_use(service):
    """Make keys in two profiles, one of them soft-deleted; gives the kids of one profile."""
    await service.profiles.create("t")
    await service.creation.generate("t", "hs256", KeyPolicy())
    kids = []
    for n in range(5):
        policy = KeyPolicy(aliases=(f"of {n}",))
        alg = ("ed25519", "hs256")[n % 2]
        kids.append((await service.creation.generate(DEFAULT_PROFILE, alg, policy)).kid)
    await service.changes.schedule_deletion(DEFAULT_PROFILE, KeyRef(kids[4]), 10**12)
    return kids


@pytest.fixture(scope="module")
async def in_use(tmp_path_factory):
    """An SQLite store to be copied, its key, and the kids of its keys."""
    path, key = tmp_path_factory.mktemp("in-use") / "keys.db", StoreKey(new_raw_key())
    async with service_of(StoreLocation.parse(f"sqlite://{path}"), key) as service:
        kids = await put_in_use(service)
    return await whole(path), key, kids


@asynccontextmanager
async def service_in_use(url, key, in_use):
    """A service on a store in use, its key, and the kids of its keys."""
    scheme, _, name = url.partition("://")
    if scheme != "sqlite":
        async with service_of(StoreLocation.parse(url), key) as service:
            yield service, key, await put_in_use(service)
        return
    path, key, kids = in_use
    shutil.copy(path, name)
    async with KeyStore.open(StoreLocation.parse(url), key) as store:
        yield KeyService(REGISTRY, store), key, kids


# On SQLite, each change comes at each moment, and only one moment is not `slow`. On PostgreSQL, at
# two.
@pytest.mark.parametrize(
    ("persistent_url", "when"),
    [
        ("sqlite", "records"),
        *(pytest.param("sqlite", moment, marks=pytest.mark.slow) for moment in MOMENTS),
        ("postgres", "aliases"),
        ("postgres", "records"),
    ],
    indirect=["persistent_url"],
)
@pytest.mark.parametrize("change", CHANGES)
async def test_changes_during_verification_are_no_findings(
    persistent_url, location, key, in_use, change, when
):
    done = []
    async with service_in_use(persistent_url, key, in_use) as (service, key, kids):
        OTHER[:] = kids[4:]

        async def act(moment, profile):
            if moment == when and profile in (None, DEFAULT_PROFILE) and not done:
                done.append(await CHANGES[change](service, kids[2]))

        faults, _, _ = await check(location, key, changed_while_read(act))
    assert faults == []
    assert len(done) == 1


async def test_a_profile_that_is_made_again_meanwhile(location, key):
    done = []
    async with service_of(location, key) as service:
        await service.profiles.create("t")
        for _ in range(3):
            await service.creation.generate("t", "hs256", KeyPolicy(aliases=("a",)))

        async def act(moment, profile):
            if moment == "records" and profile == "t":
                await service.operations.store.remove_profile("t")
                await service.profiles.create("t")
                done.append(
                    await service.creation.generate("t", "ed25519", KeyPolicy(aliases=("a",)))
                )

        faults, _, _ = await check(location, key, changed_while_read(act))
    assert faults == []
    assert len(done) == 1


async def test_a_profile_that_is_being_made_is_not_left_over(location, key):
    """Askar has a new profile first, and the directory last."""
    done = []
    async with service_of(location, key) as service:
        await service.creation.generate(DEFAULT_PROFILE, "hs256", KeyPolicy())

        async def act(moment, _):
            if moment == "records" and not done:
                store = service.operations.store._database._pool.store
                done.append(await store.create_profile("being made"))

        faults, notes, _ = await check(location, key, changed_while_read(act))
    assert (faults, notes) == ([], [])
    assert len(done) == 1


async def test_a_store_that_is_written_to(location, key):
    stopped = asyncio.Event()
    made = []

    async def write(service):
        while not stopped.is_set():
            record = await service.creation.generate(
                DEFAULT_PROFILE, "ed25519", KeyPolicy(aliases=("a",))
            )
            await service.creation.generate(DEFAULT_PROFILE, "hs256", KeyPolicy(aliases=("b",)))
            made.append(record.kid)
            await service.aliases.associate(DEFAULT_PROFILE, made[len(made) // 2], "c")
            if len(made) % 3 == 0:
                await service.changes.delete(DEFAULT_PROFILE, KeyRef(made.pop(0)))

    async with service_of(location, key) as service:
        policies = [KeyPolicy(aliases=(f"of {n}",)) for n in range(50)]
        await asyncio.gather(
            *(service.creation.generate(DEFAULT_PROFILE, "ed25519", policy) for policy in policies)
        )
        writer = asyncio.create_task(write(service))
        for _ in range(5):
            assert (await check(location, key))[:2] == ([], [])
        stopped.set()
        await writer
    assert made


async def test_a_marker_without_a_sealing_key_gets_no_other_one(location, key):
    """Askar's name of the profile follows from the key, so that no other one fits."""
    async with service_of(location, key) as service:
        await service.creation.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
        await damage(service, lambda s: s.replace("minikms.profile", "self", DEFAULT_PROFILE))
    faults, _, _ = await check(location, key)
    assert [fault[:2] for fault in faults] == [(DEFAULT_PROFILE, "")]
    async with KeyStore.open(location, key) as store:
        with pytest.raises(KeyUnreadable):
            await store.database.write(DEFAULT_PROFILE, ensure_sealing_key)


async def test_a_check_continues_after_profiles_without_faults(location, key, tmp_path):
    """Profiles with faults are checked again, so that the faults are told again."""
    names = ["p0", "p1", "p2"]
    async with service_of(location, key) as service:
        for profile in names:
            await service.profiles.create(profile)
            await service.creation.generate(profile, "ed25519", KeyPolicy(aliases=("a",)))
        kid = (await service.operations.get("p1", KeyRef(alias="a"))).kid
        await damage(service, lambda session: session.remove("minikms.key", kid), "p1")
    expected = await check(location, key)
    assert len(expected[0]) == 1
    path, facts = tmp_path / "progress", {"command": "store verify"}

    class StoppedError(Exception):
        pass

    def stop(note):
        raise StoppedError

    async with StoreInspector.open(location, key) as opened:
        await opened.database._pool.store.create_profile("stray")  # noted after the profiles
        with pytest.raises(StoppedError), Progress.open(path, facts, VERIFY_NOTES) as progress:
            await verify(opened, REGISTRY, lambda *_: None, stop, progress=progress)
        await opened.database._pool.store.remove_profile("stray")
    read = []

    class Reading(StoreInspector):
        def records(self, profile, *, in_order=True):
            read.append(profile)
            return super().records(profile, in_order=in_order)

    with Progress.open(path, facts, VERIFY_NOTES) as progress:
        assert await check(location, key, Reading, progress=progress) == expected
    assert read == ["p1"]
    assert not path.exists()
