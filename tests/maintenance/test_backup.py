"""Backups of stores; tests/cli/test_store_backup.py runs the commands."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest
from filled_stores import REGISTRY
from proc_files import needs_root
from sqlite_copies import whole

from minikms.credentials.jose.jws import SignJws
from minikms.errors import OverRate, RuleViolated
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.keys.signing import Sign, SignOptions
from minikms.maintenance import backup
from minikms.maintenance.backup import back_up, restore
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.rules import Rules
from minikms.startup_errors import StoreError
from minikms.store.askar.files import last_backup
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore


async def test_a_journal_that_was_left_beside_the_store_does_not_undo_a_restore(tmp_path):
    """SQLite takes a rollback journal beside a file for one of a program that was killed."""
    path, file, key = tmp_path / "keys.db", tmp_path / "backup.db", StoreKey(new_raw_key())
    journal, kept = tmp_path / "keys.db-journal", tmp_path / "kept"
    location = StoreLocation.parse(f"sqlite://{path}")
    async with KeyStore.create(location, key) as store:
        await store.directory.create("before")
    with closing(sqlite3.connect(await whole(path), isolation_level=None)) as database:
        for statement in (
            "PRAGMA journal_mode = DELETE",
            "PRAGMA synchronous = OFF",  # the journal is whole before it is synced
            "BEGIN IMMEDIATE",
            *(f"UPDATE {table} SET name = name || x'00'" for table in ("profiles", "items")),
        ):
            database.execute(statement)
        shutil.copy(journal, kept)
        database.execute("ROLLBACK")
        database.execute("PRAGMA journal_mode = WAL")
    async with KeyStore.open(location, key) as store:
        await store.directory.create("after")
    await back_up(await whole(path), file, key)
    path.unlink()
    kept.rename(journal)
    await restore(path, file, key)
    assert not journal.exists()
    async with KeyStore.open(location, key) as store:
        assert await store.directory.names() == ["after", "before", DEFAULT_PROFILE]


# Has the file of a store open until its input ends.
HOLDER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute("SELECT count(*) FROM items").fetchone()
print("open", flush=True)
sys.stdin.read()
file.close()
"""


@pytest.mark.process
async def test_a_damaged_store_that_a_process_has_open_is_not_replaced(tmp_path):
    """SQLite itself cannot lock a file that is not a database."""
    path, file, key = tmp_path / "keys.db", tmp_path / "backup.db", StoreKey(new_raw_key())
    async with KeyStore.create(StoreLocation.parse(f"sqlite://{path}"), key):
        pass
    await back_up(await whole(path), file, key)
    damaged = b"no store" * 1000
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it cannot end well
    ) as holder:
        assert holder.stdout.readline() == b"open\n"
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="stop it first"):
            await restore(path, file, key)
        assert path.read_bytes() == damaged
        holder.stdin.close()
    await restore(path, file, key)
    assert path.read_bytes() != damaged


async def test_a_file_whose_index_does_not_match_its_table_is_not_copied(tmp_path):
    """SQLite would copy the table without noticing it."""
    path, damaged, key = tmp_path / "keys.db", tmp_path / "damaged.db", StoreKey(new_raw_key())
    async with KeyStore.create(StoreLocation.parse(f"sqlite://{path}"), key):
        pass
    before = (await whole(path)).read_bytes()
    shutil.copy(path, damaged)
    index = "ix_items_tags_item_id"
    for statements in (
        (
            "CREATE TABLE hidden AS SELECT * FROM sqlite_schema WHERE name = '{index}'",
            "DELETE FROM sqlite_schema WHERE name = '{index}'",
        ),
        (
            "DELETE FROM items_tags WHERE id = (SELECT min(id) FROM items_tags)",
            "INSERT INTO sqlite_schema SELECT * FROM hidden",
        ),
        ("DROP TABLE hidden",),
    ):
        with closing(sqlite3.connect(damaged, isolation_level=None)) as database:
            database.execute("PRAGMA writable_schema = ON")
            for statement in statements:
                database.execute(statement.format(index=index))
    with pytest.raises(StoreError, match="is damaged"):
        await back_up(damaged, tmp_path / "backup.db", key)
    assert not (tmp_path / "backup.db").exists()
    with pytest.raises(StoreError, match="is damaged"):
        await restore(path, damaged, key)
    assert path.read_bytes() == before


async def test_a_link_to_a_store_stays_when_the_store_is_restored(tmp_path):
    path, file, key = tmp_path / "keys.db", tmp_path / "backup.db", StoreKey(new_raw_key())
    location, link = StoreLocation.parse(f"sqlite://{path}"), tmp_path / "elsewhere" / "link.db"
    async with KeyStore.create(location, key):
        pass
    await back_up(await whole(path), file, key)
    async with KeyStore.open(location, key) as store:
        await store.directory.create("after")
    await whole(path)
    link.parent.mkdir()
    link.symlink_to(path)
    await restore(link, file, key)
    assert link.readlink() == path
    async with KeyStore.open(location, key) as store:
        assert await store.directory.names() == [DEFAULT_PROFILE]


async def test_a_restored_backup_has_rules_and_the_uses_of_the_day(tmp_path):
    path, file, key = tmp_path / "keys.db", tmp_path / "backup.db", StoreKey(new_raw_key())
    location = StoreLocation.parse(f"sqlite://{path}")
    rules = Rules.parse({"jws": {}, "per_day": 2})
    jws = SignJws(b"{}", {})
    async with KeyStore.create(location, key) as store:
        service = KeyService(REGISTRY, store)
        made = await service.creation.generate(DEFAULT_PROFILE, "p256", KeyPolicy(rules=rules))
        by = KeyRef(kid=made.kid)
        await service.operations.perform(DEFAULT_PROFILE, by, jws)
    await back_up(await whole(path), file, key)
    path.unlink()
    await restore(path, file, key)
    async with KeyStore.open(location, key) as store:
        service = KeyService(REGISTRY, store)
        assert (await service.operations.get(DEFAULT_PROFILE, by)).rules == rules
        with pytest.raises(RuleViolated):
            await service.operations.perform(DEFAULT_PROFILE, by, Sign(b"", SignOptions()))
        await service.operations.perform(DEFAULT_PROFILE, by, jws)
        with pytest.raises(OverRate):
            await service.operations.perform(DEFAULT_PROFILE, by, jws)


async def test_a_backup_is_as_old_as_its_beginning(tmp_path, monkeypatch):
    """A backup lacks later writes."""
    path, key, written = tmp_path / "keys.db", StoreKey(new_raw_key()), []
    async with KeyStore.create(StoreLocation.parse(f"sqlite://{path}"), key):
        pass
    fill, begun = backup._fill, time.time()

    async def and_write(*args):
        await fill(*args)
        written.append(time.time())

    monkeypatch.setattr(backup, "_fill", and_write)
    await back_up(path, tmp_path / "backup.db", key)
    assert begun <= last_backup(path) < written[0]


async def test_a_store_is_not_restored_from_itself_by_another_name(tmp_path):
    path, key, link = tmp_path / "keys.db", StoreKey(new_raw_key()), tmp_path / "link.db"
    async with KeyStore.create(StoreLocation.parse(f"sqlite://{path}"), key):
        pass
    before = (await whole(path)).read_bytes()
    link.symlink_to(path)
    for store, file in ((path, link), (link, path)):
        with pytest.raises(StoreError, match="is the store itself"):
            await restore(store, file, key)
        assert path.read_bytes() == before


@needs_root
async def test_a_store_that_root_restores_still_belongs_to_its_user(tmp_path):
    """The service runs as this user, and could not open a file of root's."""
    path, file, key = tmp_path / "keys.db", tmp_path / "backup.db", StoreKey(new_raw_key())
    async with KeyStore.create(StoreLocation.parse(f"sqlite://{path}"), key):
        pass
    await back_up(await whole(path), file, key)
    os.chown(path, 4001, 4002)
    await restore(path, file, key)
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (4001, 4002, 0o600)
