"""`minikms store upgrade` cut short, and a store that has faults."""

import asyncio
import gzip
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import aclosing, closing
from pathlib import Path

import pytest
from stores import REGISTRY, options_of, refused, write_key

from minikms.errors import RuleViolated
from minikms.keys.service import KeyService
from minikms.keys.signing import Sign, SignOptions
from minikms.maintenance.copy import copy
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.upgrade import numbers_of_keys, upgrade
from minikms.maintenance.verify import verify
from minikms.maintenance.write import StoreWriter
from minikms.records import DEFAULT_PROFILE, KeyRef
from minikms.rules import Rules
from minikms.store.askar.layout import LAYOUT
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.database import Database
from minikms.store.keys.entries import KEY, fetch_record, replace_record
from minikms.store.keys.key_store import KeyStore

HERE = Path(__file__).parent

pytestmark = pytest.mark.process

# Kills itself at one step of an upgrade, then looks at what is left, upgrades it, and looks again;
# for steps that are spread over all, and after each profile. A step is a write, a commit, or a
# change of the layout.
KILLED = """
import asyncio, gc, json, os, signal, sys
from pathlib import Path
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.upgrade import numbers_of_keys
from minikms.maintenance.upgrade import upgrade as upgrade_store
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store import database
from minikms.store.askar.layout import LAYOUT
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sessions import Transaction

template, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
location, key = StoreLocation.parse(f"sqlite://{path}"), StoreKey(sys.argv[3])
steps, commits = 0, []


def count(call, last):
    async def counted(*args, **kwargs):
        global steps
        steps += 1
        if call.__name__ == "commit":
            commits.append(steps)
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return await call(*args, **kwargs)

    return counted


async def upgrade(last):
    for name in ("insert", "replace", "remove", "remove_key", "commit"):
        setattr(Transaction, name, count(getattr(Transaction, name), last))
    for name in ("begin_upgrade", "finish_upgrade"):
        setattr(database, name, count(getattr(database, name), last))
    async with database.Database.open(location, key, upgrading=True) as opened:
        numbers = await numbers_of_keys(StoreInspector(opened), leave)
        await upgrade_store(opened, registry, numbers, leave, lambda number: None)
    return steps, commits


def leave(*fault):
    raise AssertionError(fault)


async def look():
    async with StoreInspector.open(location, key) as inspector:
        kinds = {}
        for profile in await inspector.profiles():
            found = kinds[profile] = {}
            async for batch in inspector.records(profile):
                materials = await inspector.material(profile, [entry.record for entry in batch])
                for entry, material in zip(batch, materials, strict=True):
                    secret = material if type(material) is bytes else material.get_secret_bytes()
                    assert type(material) is bytes or entry.record.material == "askar"
                    kind = "sealed" if entry.record.sealed else entry.record.material
                    found[entry.kid] = kind, secret.hex()
        return str(inspector.layout), kinds


async def finish():
    left = await look()
    await upgrade(0)
    return left, await look()


def in_child(call):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the command says
        os.write(write, json.dumps(asyncio.run(call)).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        result = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, json.loads(result or "null")


def begin():
    for old in path.parent.glob(path.name + "*"):
        old.unlink()
    path.write_bytes(template)


registry = AlgorithmRegistry.from_installed()
gc.freeze()
begin()
_, (last, commits) = in_child(upgrade(0))
spread = 20 - len(commits)
points = [1 + (last - 1) * number // (spread - 1) for number in range(spread)]
begin()
print(json.dumps(in_child(finish())[1]))
for point in sorted([*points, *(commit + 1 for commit in commits)]):
    begin()
    status, _ = in_child(upgrade(point))
    assert status == -signal.SIGKILL, status
    print(json.dumps(in_child(finish())[1]), flush=True)
"""


@pytest.fixture
def version():
    """The version of the store, unless a test names another one."""
    return "0.1.0"


@pytest.fixture
def store_key(version):
    expected = gzip.decompress((HERE / f"expected-{version}.json.gz").read_bytes())
    return json.loads(expected)["store_key"]


@pytest.fixture
def old(tmp_path, version):
    """The file of a store of an older layout."""
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress((HERE / f"store-{version}.db.gz").read_bytes()))
    return path


@pytest.mark.kill
@pytest.mark.timeout(300)  # twenty processes, one after the other
@pytest.mark.parametrize(("version", "layout"), [("0.1.0", "1.0"), ("0.2.0", "2.0")])
def test_an_upgrade_killed_at_twenty_points_completes_when_run_again(
    old, store_key, tmp_path, layout
):
    """Each profile is as it was, or upgraded; run again, all is as after an upgrade of one go."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(old), str(tmp_path / "work.db"), store_key],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert ended.returncode == 0, ended.stderr
    (before, after), *killed = map(json.loads, ended.stdout.splitlines())
    assert (before[0], after[0]) == (layout, "3.0")
    secrets = [
        {kid: secret for keys in found.values() for kid, (_, secret) in keys.items()}
        for _, found in (before, after)
    ]
    assert secrets[0] == secrets[1]
    assert len(killed) == 20
    upgraded = []
    for (left, found), again in killed:
        assert again == after
        done = {profile for profile in found if found[profile] != before[1][profile]}
        assert {profile: after[1][profile] for profile in done} == {
            profile: found[profile] for profile in done
        }
        upgraded.append((left, len(done)))
    assert upgraded == sorted(upgraded)
    assert upgraded[0] == (layout, 0)
    assert {left for left, _ in upgraded[1:]} == {"2.1"}
    assert len({*upgraded}) == 1 + 1 + sum(before[1][name] != after[1][name] for name in after[1])


def test_a_key_that_does_not_decrypt_stays_and_is_named(run, serve, old, store_key, flip, query):
    [(number, *_)] = query(old, "SELECT max(id) FROM items WHERE kind = 1")
    flip(old, number)
    options = options_of(f"sqlite://{old}", write_key(old.with_name("key"), store_key))
    ended = run("store", "upgrade", *options)
    assert (ended.returncode, ended.stderr) == (1, "")
    *lines, done, left = ended.stdout.splitlines()
    assert " its material does not decrypt" in lines[0]
    assert len(lines) == 1
    assert " now has the layout 3.0. " in done
    assert "`minikms store verify`" in left
    serve("--port", "0", *options)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
async def test_a_record_that_does_not_decrypt_stays_and_is_counted(old, store_key, flip, query):
    """No kid is named: the kid is in the record."""
    [(number,)] = query(old, "SELECT item_id FROM items_tags WHERE plaintext LIMIT 1")
    flip(old, number)
    value = f"SELECT value FROM items WHERE id = {number}"
    before, faults = query(old, value), []
    location, key = StoreLocation.parse(f"sqlite://{old}"), StoreKey(store_key)
    async with Database.open(location, key, upgrading=True) as database:
        numbers = await numbers_of_keys(StoreInspector(database), faults_alone)
        await upgrade(
            database, REGISTRY, numbers, lambda *fault: faults.append(fault), lambda _: None
        )
    assert [fault[1:] for fault in faults] == [("", "1 records do not decrypt")]
    assert query(old, value) == before


def test_a_profile_whose_order_does_not_decrypt_stays_and_is_named(
    run, serve, old, store_key, flip, query
):
    # The last place in the order: 20 digits, with a nonce and a tag.
    [(number,), *_] = query(old, "SELECT id FROM items WHERE length(value) = 20 + 12 + 16")
    flip(old, number)
    options = options_of(f"sqlite://{old}", write_key(old.with_name("key"), store_key))
    ended = run("store", "upgrade", *options)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "default - The order in which keys were made does not decrypt." in ended.stdout
    serve("--port", "0", *options)


def exchange(path, table, column, *of):
    """Exchange a value of two rows, without the store's key."""
    with closing(sqlite3.connect(path)) as file, file:
        read = f"SELECT {column} FROM {table} WHERE id = ?"
        one, other = (file.execute(read, (row,)).fetchone()[0] for row in of)
        for value, row in (("x", of[0]), (one, of[1]), (other, of[0])):
            file.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (value, row))


async def kids_of(database, alg):
    """The kids of two keys of an algorithm."""
    batches = StoreInspector(database).records(DEFAULT_PROFILE)
    records = [entry.record async for batch in batches for entry in batch]
    return [record.kid for record in records if record.alg == alg][:2]


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
async def test_exchanged_profiles_stay_as_they_are_and_are_named(run, old, store_key, query):
    location = StoreLocation.parse(f"sqlite://{old}")
    async with StoreInspector.open(location, StoreKey(store_key)) as inspector:
        names = (await inspector.directory()).askar_profiles
    ids = dict(query(old, "SELECT name, id FROM profiles"))
    both = [ids[names[name]] for name in ("t", "published")]
    rows = f"SELECT * FROM items WHERE profile_id IN ({both[0]}, {both[1]}) ORDER BY id"
    before = query(old, rows)
    exchange(old, "profiles", "name", *both)
    ended = run(
        "store",
        "upgrade",
        *options_of(f"sqlite://{old}", write_key(old.with_name("key"), store_key)),
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    *lines, _, _ = ended.stdout.splitlines()
    assert [line.split(": ")[0] for line in sorted(lines)] == [
        "published - Askar's profile for it belongs to t",
        "t - Askar's profile for it belongs to published",
    ]
    assert query(old, rows) == before
    exchange(old, "profiles", "name", *both)
    async with StoreInspector.open(location, StoreKey(store_key)) as inspector:
        assert inspector.layout == LAYOUT
        for name in ("t", "published"):
            assert await inspector.fault(name, names[name]) is None


async def test_exchanged_keys_stay_as_they_are_and_are_named(old, store_key, query):
    # Askar keys, whose values are bound to their names.
    of = [row for (row,) in query(old, "SELECT id FROM items WHERE kind = 1 ORDER BY id LIMIT 2")]
    exchange(old, "items", "value", *of)
    values = f"SELECT value FROM items WHERE id IN ({of[0]}, {of[1]}) ORDER BY id"
    before, faults = query(old, values), []
    location, key = StoreLocation.parse(f"sqlite://{old}"), StoreKey(store_key)
    async with Database.open(location, key, upgrading=True) as database:
        numbers = await numbers_of_keys(StoreInspector(database), faults_alone)
        await upgrade(
            database, REGISTRY, numbers, lambda *fault: faults.append(fault), lambda _: None
        )
    assert [what for _, _, what in faults] == ["its material does not decrypt"] * 2
    assert len({kid for _, kid, _ in faults}) == 2
    assert query(old, values) == before


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
async def test_exchanged_records_stay_as_they_are_and_are_named(old, store_key):
    """By somebody with the key, or a fault: no material is sealed for another key."""
    location, key, faults = StoreLocation.parse(f"sqlite://{old}"), StoreKey(store_key), []

    async def exchange_records(session):
        entries = [await session.fetch(KEY, kid) for kid in kids]
        values = [(entry.value, entry.tags) for entry in entries]
        for kid, (value, tags) in zip(kids, reversed(values), strict=True):
            await session.replace(KEY, kid, value, tags)

    async def values(session):
        return [(await session.fetch(KEY, kid)).value for kid in kids]

    async with Database.open(location, key, upgrading=True) as database:
        kids = await kids_of(database, "p256")
        await database.run(DEFAULT_PROFILE, exchange_records, write=True)
        before = await database.run(DEFAULT_PROFILE, values)
        numbers = await numbers_of_keys(StoreInspector(database), faults_alone)
        await upgrade(
            database, REGISTRY, numbers, lambda *fault: faults.append(fault), lambda _: None
        )
        assert await database.run(DEFAULT_PROFILE, values) == before
    what = "its record belongs to another key"
    assert sorted(faults) == sorted((DEFAULT_PROFILE, kid, what) for kid in kids)


async def test_exchanged_materials_stay_as_they_are_and_are_named(old, store_key):
    location, key, faults = StoreLocation.parse(f"sqlite://{old}"), StoreKey(store_key), []

    async def exchange_materials(session):
        materials = [await session.fetch_key(kid) for kid in kids]
        for kid, material in zip(kids, reversed(materials), strict=True):
            await session.remove_key(kid)
            await session.insert_key(kid, material)

    async def secrets(session):
        return [(await session.fetch_key(kid)).get_secret_bytes() for kid in kids]

    async with Database.open(location, key, upgrading=True) as database:
        kids = await kids_of(database, "p256")
        await database.run(DEFAULT_PROFILE, exchange_materials, write=True)
        before = await database.run(DEFAULT_PROFILE, secrets)
        numbers = await numbers_of_keys(StoreInspector(database), faults_alone)
        await upgrade(
            database, REGISTRY, numbers, lambda *fault: faults.append(fault), lambda _: None
        )
        assert await database.run(DEFAULT_PROFILE, secrets) == before
    what = "its material does not match its public key"
    assert {kid for _, kid, fault in faults if fault == what} == set(kids)


def test_a_store_that_cannot_be_read_meanwhile_stays_as_it_is(run, old, store_key):
    key_file = write_key(old.with_name("key"), store_key)
    ended = run("store", "upgrade", *options_of(f"sqlite://{old}?max_connections=1", key_file))
    assert "max_connections" in refused(ended)
    info = run("store", "info", *options_of(f"sqlite://{old}", key_file))
    assert "\nLayout: 1.0\n" in info.stdout


def faults_alone(*fault):
    raise AssertionError(fault)


async def upgraded(database, advance=lambda number: None):
    """Upgrade a store without faults."""
    numbers = await numbers_of_keys(StoreInspector(database), faults_alone)
    return await upgrade(database, REGISTRY, numbers, faults_alone, advance)


async def test_a_cancelled_upgrade_leaves_the_profile_unchanged(old, store_key):
    """As by Ctrl-C: the transaction ends with the next key, and is not committed."""
    location, key = StoreLocation.parse(f"sqlite://{old}"), StoreKey(store_key)
    async with Database.open(location, key, upgrading=True) as database:

        def advance(number):
            task.cancel()

        task = asyncio.create_task(upgraded(database, advance))
        with pytest.raises(asyncio.CancelledError):
            await task
    async with StoreInspector.open(location, key) as inspector:
        assert inspector.layout < LAYOUT
        for profile in await inspector.profiles():
            async for batch in inspector.records(profile):
                assert not any(entry.record.sealed for entry in batch)


async def test_a_copy_of_a_store_that_is_upgraded_meanwhile(old, store_key, tmp_path):
    key, source = StoreKey(store_key), StoreLocation.parse(f"sqlite://{old}")
    target = StoreLocation.parse(f"sqlite://{tmp_path}/copy.db")

    class Upgraded(StoreInspector):
        async def records(self, profile, *, in_order=True):
            async for batch in super().records(profile, in_order=in_order):
                async with Database.open(source, key) as database:
                    await upgraded(database)
                yield batch

    async with (
        Upgraded.open(source, key) as opened,
        StoreWriter.create(target, key) as made,
        aclosing(copy(opened, made, REGISTRY, lambda number: None)) as copies,
    ):
        assert [copied async for copied in copies]
    async with StoreInspector.open(target, key) as contents:
        await verify(contents, REGISTRY, faults_alone, faults_alone)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
async def test_an_upgrade_keeps_rules(old, store_key):
    """A later version may have written the key before the upgrade was run again."""
    location, key, rules = StoreLocation.parse(f"sqlite://{old}"), StoreKey(store_key), Rules(False)
    async with Database.open(location, key, upgrading=True) as database:
        kids = [
            entry.kid
            async for batch in StoreInspector(database).records(DEFAULT_PROFILE)
            for entry in batch
            if "sign" in entry.record.operations and entry.record.current_state == "enabled"
        ]

        async def give_rules(session):
            for kid in kids:
                record = await fetch_record(session, kid)
                await replace_record(session, record.with_rules(rules))

        await database.write(DEFAULT_PROFILE, give_rules)
        await upgraded(database)
    assert kids
    async with KeyStore.open(location, key) as store:
        service = KeyService(REGISTRY, store)
        for kid in kids:
            by = KeyRef(kid=kid)
            assert (await service.get(DEFAULT_PROFILE, by)).rules == rules
            with pytest.raises(RuleViolated):
                await service.perform(DEFAULT_PROFILE, by, Sign(b"", SignOptions()))
