"""`minikms store upgrade` of a store of layout 3.0, whole, cut short, and with faults."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import orjson
import pytest
from filled_stores import options_of, write_key
from layouts.layout_calls import send
from layouts.store_3_0 import EXPECTED, KEY, put_old_store
from minikms_processes import complaints, refused
from ports import free_port
from sqlite_copies import whole

from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.upgrade import numbers_of_keys, upgrade
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.startup_errors import StoreError
from minikms.store.askar.layout import BEFORE, LAYOUT, UPGRADING
from minikms.store.askar.location import StoreLocation
from minikms.store.categories import ALIAS, PROFILE
from minikms.store.categories import KEY as KEYS
from minikms.store.database import Database

pytestmark = pytest.mark.process

one_file = pytest.mark.parametrize("persistent_url", ["sqlite"], indirect=True)

# Upgrades a store, and kills itself at one step: a write, a commit, or a change of the layout.
# Without such a step, prints the number of steps, and which ones are commits.
KILLED = """
import asyncio, json, os, signal, sys
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.upgrade import numbers_of_keys, upgrade
from minikms.store import database, opening
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sessions import Transaction

location, key, last = StoreLocation.parse(sys.argv[1]), StoreKey(sys.argv[2]), int(sys.argv[3])
steps, commits = 0, []


def count(owner, name):
    call = getattr(owner, name)

    async def counted(*args, **kwargs):
        global steps
        steps += 1
        if name == "commit":
            commits.append(steps)
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return await call(*args, **kwargs)

    setattr(owner, name, counted)


def leave(*fault):
    raise AssertionError(fault)


async def main():
    for name in ("insert", "replace", "remove", "remove_all", "commit"):
        count(Transaction, name)
    count(opening, "begin_upgrade")
    count(database, "finish_upgrade")
    async with database.Database.open(location, key, upgrading=True) as opened:
        numbers = await numbers_of_keys(StoreInspector(opened), leave)
        await upgrade(opened, numbers, leave, lambda number: None)


asyncio.run(main())
print(json.dumps([steps, commits]))
"""


@pytest.fixture
def server(request, persistent_url):
    """The server of the database; None for a file."""
    is_file = persistent_url.startswith("sqlite")
    return None if is_file else request.getfixturevalue("postgres_server")


@pytest.fixture
async def old(persistent_url, server):
    """The URL of a store of layout 3.0."""
    await put_old_store(persistent_url, server)
    return persistent_url


@pytest.fixture
def options(old, tmp_path):
    """The options of a command on the old store."""
    return options_of(old, write_key(tmp_path / "key", EXPECTED["store_key"]))


@pytest.fixture
def answers(serve, options):
    """Start a service, and send calls until the end of the test."""

    def start():
        doors = {name: free_port() for name in ("aws", "vault")}
        ports = [str(each) for name in doors for each in (f"--{name}-port", doors[name])]
        begun = serve("--port", "0", "--auth", "token", *ports, *options)
        service = {name: f"127.0.0.1:{port}" for name, port in doors.items()}
        service |= {"rest": f"127.0.0.1:{begun.port}", "token": EXPECTED["token"]}
        return begun, lambda call: send(service, call)

    return start


def trimmed(call, answer):
    """An answer as layout 4.0 gives it: without the keys of versions that were trimmed."""
    body = answer[1]
    if call[0] == "rest" and isinstance(body, dict) and body.get("aliases") == ["trimmed"]:
        return [answer[0], {**body, "predecessors": body["predecessors"][:2]}]
    return answer


def without_new_members(answer):
    """An answer without the members that version 0.5 adds, which are null in an old store."""
    if isinstance(answer, list):
        return [without_new_members(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    added = ("next", "jwks_max_age")
    return {
        name: without_new_members(value)
        for name, value in answer.items()
        if name not in added or value is not None
    }


def differences(ask):
    """The calls whose answers are not as they were, with both answers."""
    asked = (
        (call, trimmed(call, before), without_new_members(ask(call)))
        for call, before in EXPECTED["calls"]
    )
    return [each for each in asked if each[1] != each[2]]


@pytest.mark.timeout(120)  # several services, one after the other
def test_every_answer_stays_as_it_was(run, command, options, answers):
    for workers in ("1", "2"):
        ended = run("serve", "--port", "0", "--workers", workers, *options)
        assert ended.stderr.count("`minikms store upgrade`") == 1
    ended = command("store", "upgrade", *options)
    assert (ended.returncode, complaints(ended)) == (0, [])
    again = command("store", "upgrade", *options)
    assert (again.returncode, complaints(again)) == (0, [])
    assert again.stdout.endswith(f"already has the layout {LAYOUT}.\n")
    verified = command("store", "verify", *options)
    assert verified.returncode == 0, verified.stdout
    service, ask = answers()
    assert differences(ask) == []

    def rest(method, path, body=None):
        status, answer = ask(["rest", method, path, body, DEFAULT_PROFILE])
        assert status == 200, answer
        return answer

    for alias, number in (("rotated", 3), ("often", 16), ("moved", 3)):
        before = rest("GET", f"/key?alias={alias}")
        kid = rest("POST", f"/key/{before['kid']}/rotate")["kid"]
        after = rest("GET", f"/key/{kid}")["predecessors"]
        assert after == [before["kid"], *before["predecessors"]][:16]
        assert len(after) == number
    path = "/v1/transit/keys/trimmed"
    _, rotated = ask(["vault", "POST", f"{path}/rotate", {}, ""])
    assert rotated["data"]["latest_version"] == 6
    assert [*rotated["data"]["keys"]] == ["3", "4", "5", "6"]
    service.stop()
    verified = command("store", "verify", *options)
    assert verified.returncode == 0, verified.stdout


def test_commands_that_read_keys_need_the_upgrade(command, old, options, tmp_path):
    copy = f"sqlite://{tmp_path}/copy.db"
    for names in (["verify"], ["copy", "--to", copy]):
        assert "run `minikms store upgrade`" in refused(command("store", *names, *options))
    assert not (tmp_path / "copy.db").exists()
    if old.startswith("sqlite"):
        backup = str(tmp_path / "backup.db")
        assert command("store", "backup", *options, backup).returncode == 0
    assert f"\nLayout: {BEFORE}\n" in command("store", "info", *options).stdout


@one_file
async def test_a_backup_undoes_the_upgrade(command, old, options, tmp_path):
    before = await contents(old)
    backup = str(tmp_path / "backup.db")
    ended = await asyncio.to_thread(command, "store", "backup", *options, backup)
    assert ended.returncode == 0
    ended = await asyncio.to_thread(command, "store", "upgrade", *options)
    assert ended.returncode == 0
    assert await contents(old) != before
    ended = await asyncio.to_thread(command, "store", "restore", *options, backup)
    assert ended.returncode == 0
    assert await contents(old) == before


async def contents(url):
    """The layout of a store, and of each profile its records and its aliases."""
    location = StoreLocation.parse(url)
    async with StoreInspector.open(location, KEY, any_layout=True) as inspector:
        found = {}
        for profile in await inspector.profiles():
            found[profile] = [
                (category, row.name, row.value, row.tags)
                for category in (KEYS, ALIAS)
                async for batch in inspector.database.batches(profile, category)
                for row in batch
            ]
        layout = inspector.database.layout
    if location.path:
        await whole(location.path)
    return layout, found


def upgraded_in_a_process(url, last=0):
    """Upgrade a store in a process, which kills itself at a step; return its output."""
    return subprocess.run(
        [sys.executable, "-c", KILLED, url, EXPECTED["store_key"], str(last)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


@pytest.mark.kill
@pytest.mark.timeout(600)  # twenty processes and more, one after the other
async def test_an_upgrade_killed_at_any_step_completes_when_run_again(old, server, tmp_path):
    """Each profile is unchanged or upgraded; a second run completes the upgrade."""
    before = await contents(old)

    async def again(number):
        """The URL of another store that is like the first."""
        url = server.create_database() if server else f"sqlite://{tmp_path}/{number}.db"
        await put_old_store(url, server)
        return url

    url = await again(0)
    whole_one = upgraded_in_a_process(url)
    assert whole_one.returncode == 0, whole_one.stderr
    steps, commits = json.loads(whole_one.stdout)
    after = await contents(url)
    assert (before[0], after[0]) == (BEFORE, LAYOUT)
    points = sorted({1, 2, steps // 2, steps, *commits, *(commit + 1 for commit in commits)})
    seen = []
    for number, point in enumerate(points, 1):
        url = await again(number)
        killed = upgraded_in_a_process(url, point)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        layout, found = await contents(url)
        done = {profile for profile in found if found[profile] != before[1][profile]}
        assert {each: found[each] for each in done} == {each: after[1][each] for each in done}
        seen.append((layout, len(done)))
        if layout == UPGRADING:
            with pytest.raises(StoreError, match="begun and not finished"):
                async with Database.open(StoreLocation.parse(url), KEY, serving=True):
                    pass
        async with Database.open(StoreLocation.parse(url), KEY, upgrading=True) as database:
            assert await upgraded(database) == []
        assert await contents(url) == after
    assert seen == sorted(seen)
    assert seen[0] == (BEFORE, 0)
    assert {layout for layout, _ in seen[1:]} == {UPGRADING}
    changed = sum(before[1][name] != after[1][name] for name in after[1])
    assert {number for _, number in seen} == {*range(changed + 1)}


def faults_alone(*fault):
    raise AssertionError(fault)


async def upgraded(database, advance=lambda number: None):
    """Upgrade an open store; return the faults of keys."""
    faults = []
    numbers = await numbers_of_keys(StoreInspector(database), faults_alone)
    await upgrade(database, numbers, lambda *fault: faults.append(fault), advance)
    return faults


@one_file
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "its alias 'older' is missing"),
        (b"y", "its alias 'older' does not name it"),
        (b'{kid}\n{"kids":[],"first":1}', "the versions of its alias 'older' cannot be read"),
        (b"{kid}\n[1]", "the versions of its alias 'older' cannot be read"),
    ],
)
async def test_an_alias_that_cannot_be_read_stays_and_is_named(old, value, fault):
    async def damage(session):
        entry = await session.fetch(ALIAS, "older")
        if value is None:
            await session.remove(ALIAS, "older")
        else:
            await session.replace(ALIAS, "older", value.replace(b"{kid}", entry.value))
        return entry.value.decode()

    async with Database.open(StoreLocation.parse(old), KEY, upgrading=True) as database:
        kid = await database.run(DEFAULT_PROFILE, damage, write=True)
        assert await upgraded(database) == [(DEFAULT_PROFILE, kid, fault)]
        others = await database.run(
            DEFAULT_PROFILE, lambda session: session.fetch(ALIAS, "younger")
        )
    assert orjson.loads(others.value)["kids"]["2"] == kid


async def rows_of_profiles(old, query):
    """Askar's number of each profile."""
    location = StoreLocation.parse(old)
    async with StoreInspector.open(location, KEY, any_layout=True) as inspector:
        names = (await inspector.directory()).askar_profiles
    ids = dict(query(await whole(location.path), "SELECT name, id FROM profiles"))
    return {name: ids[names[name]] for name in names}


@one_file
async def test_a_record_without_the_members_of_3_0_is_upgraded_as_well(old):
    """Release 0.3 left the public keys of earlier versions as they were."""

    async def strip(session):
        kid = (await session.fetch(ALIAS, "plain")).value.decode()
        entry = await session.fetch(KEYS, kid)
        record, _, sealed = entry.value.partition(b"\0")
        members = orjson.loads(record)
        del members["predecessors"], members["versioned"]
        value = orjson.dumps(members) + b"\0" + sealed
        await session.replace(KEYS, kid, value, entry.tags)
        return kid

    async with Database.open(StoreLocation.parse(old), KEY, upgrading=True) as database:
        kid = await database.run(DEFAULT_PROFILE, strip, write=True)
        assert await upgraded(database) == []
        entry = await database.run(DEFAULT_PROFILE, lambda session: session.fetch(ALIAS, "plain"))
    assert orjson.loads(entry.value) == {"kids": {"1": kid}}


@one_file
async def test_entries_of_objects_that_no_key_names_are_removed(old):
    """The new layout has no such entries; `minikms store destroy-orphans` finds the objects."""
    category = "minikms.object"

    async def announce(session):
        await session.insert(category, "a" * 32, "hsm\n0\n", {"~at": f"{0:020d}"})

    async def left(session):
        return await session.count(category)

    async with Database.open(StoreLocation.parse(old), KEY, upgrading=True) as database:
        await database.run(DEFAULT_PROFILE, announce, write=True)
        await database.run_own(announce, write=True)
        assert await upgraded(database) == []
        assert (await database.run(DEFAULT_PROFILE, left), await database.run_own(left)) == (0, 0)


@one_file
async def test_faults_end_the_command_with_1_and_a_service_starts(
    command, serve, old, options, query, flip
):
    path, of = old.removeprefix("sqlite://"), (await rows_of_profiles(old, query))["default"]
    # The last place in the order: 20 digits, with a nonce and a tag.
    order = f"length(value) = 20 + 12 + 16 AND profile_id = {of}"
    [(number,)] = query(path, f"SELECT id FROM items WHERE {order}")
    flip(path, number)
    ended = await asyncio.to_thread(command, "store", "upgrade", *options)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "default - The counter for the order of keys does not decrypt." in ended.stdout
    serve("--port", "0", *options)


@one_file
async def test_a_record_that_does_not_decrypt_stays_and_is_counted(old, flip, query):
    """No kid is named: the kid is in the record."""
    path = old.removeprefix("sqlite://")
    plain = "items JOIN items_tags ON item_id = items.id WHERE plaintext"
    largest = f"SELECT item_id FROM {plain} ORDER BY length(items.value) DESC LIMIT 1"
    [(number,)] = query(path, largest)  # no token has as many bytes
    flip(path, number)
    value = f"SELECT value FROM items WHERE id = {number}"
    before = query(path, value)
    async with Database.open(StoreLocation.parse(old), KEY, upgrading=True) as database:
        faults = await upgraded(database)
    assert [fault[1:] for fault in faults] == [("", "1 records do not decrypt")]
    assert query(path, value) == before


@one_file
async def test_a_profile_whose_entry_does_not_decrypt_is_counted(
    command, old, options, flip, query
):
    """No profile is named: the name is in the entry of the directory."""
    location = StoreLocation.parse(old)
    async with Database.open(location, KEY) as database:
        await database.run_own(
            lambda session: session.insert(PROFILE, "last", b"x" * 9), write=True
        )
    [(number,)] = query(await whole(location.path), "SELECT max(id) FROM items")
    flip(location.path, number)
    ended = await asyncio.to_thread(command, "store", "upgrade", *options)
    assert (ended.returncode, ended.stderr) == (1, "")
    first, *_ = ended.stdout.splitlines()
    assert first == "- - 1 entries of the directory of profiles do not decrypt"


@one_file
async def test_exchanged_profiles_stay_as_they_are_and_are_named(command, old, options, query):
    path, ids = old.removeprefix("sqlite://"), await rows_of_profiles(old, query)
    both = [ids[name] for name in ("t", "published")]
    rows = f"SELECT * FROM items WHERE profile_id IN ({both[0]}, {both[1]}) ORDER BY id"
    before = query(path, rows)
    exchange(path, "profiles", "name", *both)
    ended = await asyncio.to_thread(command, "store", "upgrade", *options)
    assert (ended.returncode, ended.stderr) == (1, "")
    *lines, _, _ = ended.stdout.splitlines()
    assert [line.split(": ")[0] for line in sorted(lines)] == [
        "published - Askar's profile for it belongs to t",
        "t - Askar's profile for it belongs to published",
    ]
    assert query(path, rows) == before


def exchange(path, table, column, *of):
    """Exchange a value of two rows, without the store's key."""
    with closing(sqlite3.connect(path)) as file, file:
        read = f"SELECT {column} FROM {table} WHERE id = ?"
        one, other = (file.execute(read, (row,)).fetchone()[0] for row in of)
        for value, row in (("x", of[0]), (one, of[1]), (other, of[0])):
            file.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (value, row))


@one_file
async def test_exchanged_records_stay_as_they_are_and_are_named(old):
    """Damage by someone with the key, or by a fault."""
    kids = []

    async def exchange_records(session):
        for alias in ("older", "rotated"):
            kids.append((await session.fetch(ALIAS, alias)).value.decode())
        entries = [await session.fetch(KEYS, kid) for kid in kids]
        values = [(entry.value, entry.tags) for entry in entries]
        for kid, (value, tags) in zip(kids, reversed(values), strict=True):
            await session.replace(KEYS, kid, value, tags)

    async def values(session):
        return [(await session.fetch(KEYS, kid)).value for kid in kids]

    async with Database.open(StoreLocation.parse(old), KEY, upgrading=True) as database:
        await database.run(DEFAULT_PROFILE, exchange_records, write=True)
        before = await database.run(DEFAULT_PROFILE, values)
        faults = await upgraded(database)
        assert await database.run(DEFAULT_PROFILE, values) == before
    what = "its record belongs to another key"
    assert sorted(faults) == sorted((DEFAULT_PROFILE, kid, what) for kid in kids)


@one_file
def test_a_store_that_cannot_be_read_meanwhile_stays_as_it_is(run, old, options):
    limited = [each.replace(old, f"{old}?max_connections=1") for each in options]
    assert "max_connections" in refused(run("store", "upgrade", *limited))
    assert f"\nLayout: {BEFORE}\n" in run("store", "info", *options).stdout


async def test_a_cancelled_upgrade_leaves_the_profile_unchanged(old):
    """A cancelled upgrade, as by Ctrl-C, stops at the next key and commits nothing."""
    before = await contents(old)
    async with Database.open(StoreLocation.parse(old), KEY, upgrading=True) as database:

        def advance(number):
            task.cancel()

        task = asyncio.create_task(upgraded(database, advance))
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await contents(old) == (UPGRADING, before[1])
