"""Statistics by which SQLite and PostgreSQL find rows, and settings of PostgreSQL's tables."""

import asyncio
import json
import sqlite3
import subprocess
from contextlib import closing

import pytest
from stored import fill

from minikms.maintenance.write import StoreWriter
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreLocation
from minikms.store.categories import STORE
from minikms.store.keys.key_store import KeyStore

# Askar's query for a page.
PAGE = """
    SELECT i.id FROM items i WHERE i.profile_id = 2
    AND (i.kind = 2 OR 2 IS NULL) AND (i.category = 'a' OR 'a' IS NULL)
    AND i.id IN
        (SELECT item_id FROM items_tags WHERE name = 'b' AND value IN ('1', '2') AND plaintext = 1)
"""


@pytest.fixture
def location(sqlite):
    return StoreLocation.parse(f"sqlite://{sqlite}")


def plan(location):
    """The plan of SQLite for a page."""
    with closing(sqlite3.connect(location.path)) as file:
        return file.execute(f"EXPLAIN QUERY PLAN {PAGE}").fetchall()[0][-1]


async def forget(location, key):
    """Make the store as it was before files had statistics."""
    async with (
        KeyStore.open(location, key) as store,
        store.database._pool.store.session() as session,
    ):
        await session.remove(STORE, "statistics")
    with closing(sqlite3.connect(location.path)) as file:
        file.execute("DROP TABLE sqlite_stat1")
        file.commit()


async def opened(location, key, **options):
    async with KeyStore.open(location, key, **options) as store:
        await store.ping()
    return plan(location)


async def test_a_new_file_has_them(location):
    assert plan(location) == "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"


async def test_a_service_writes_them_once_to_an_older_file(location, key, monkeypatch):
    await forget(location, key)
    assert "ix_items_uniq" in plan(location)
    assert "ix_items_uniq" in await opened(location, key)
    assert "PRIMARY KEY" in await opened(location, key, serving=True)

    def fails(path):
        raise AssertionError(f"{path} is written again")

    monkeypatch.setattr("minikms.store.opening.write_statistics", fails)
    assert "PRIMARY KEY" in await opened(location, key, serving=True)


async def test_an_older_file_that_another_process_has_open_stays(location, key, monkeypatch):
    await forget(location, key)
    with monkeypatch.context() as patch:
        patch.setattr("minikms.store.opening.is_open_elsewhere", lambda _: True)
        assert "ix_items_uniq" in await opened(location, key, serving=True)
    assert "PRIMARY KEY" in await opened(location, key, serving=True)


async def analyzed(server, url):
    """The rows of the table of tags, by PostgreSQL's statistics."""
    query = "SELECT reltuples FROM pg_class WHERE relname = 'items_tags'"
    return int(float(server.execute(query, url.rpartition("/")[2])))


async def grow(store, server, url):
    """Let a store grow until its tables are analyzed."""
    # The server's own housekeeping would do it too, a minute later.
    off = "ALTER TABLE items_tags SET (autovacuum_enabled = false)"
    server.execute(off, url.rpartition("/")[2])
    await fill(StoreWriter(store.database), DEFAULT_PROFILE, 0, 490)
    assert await analyzed(server, url) <= 0
    await fill(StoreWriter(store.database), DEFAULT_PROFILE, 490, 520)
    async with asyncio.timeout(20):
        while await analyzed(server, url) <= 0:
            await asyncio.sleep(0.1)


async def test_tables_in_postgresql_are_analyzed_while_they_grow(postgres_server, key):
    url = postgres_server.create_database()
    async with KeyStore.create(StoreLocation.parse(url), key) as store:
        await grow(store, postgres_server, url)
    assert await analyzed(postgres_server, url) >= 510
    counted = "SELECT most_common_freqs[1] > 0.1 FROM pg_stats_ext WHERE tablename = 'items_tags'"
    assert postgres_server.execute(counted, url.rpartition("/")[2]) == "t\n"
    async with KeyStore.open(StoreLocation.parse(url), key):
        pass


@pytest.mark.parametrize("keys", [20, 600])
async def test_a_copy_in_postgresql_is_analyzed_when_it_is_finished(postgres_server, key, keys):
    url = postgres_server.create_database()
    async with StoreWriter.create(StoreLocation.parse(url), key) as writer:
        await writer.directory.create(DEFAULT_PROFILE)
        await fill(writer, DEFAULT_PROFILE, 0, keys, batch=keys)
    assert await analyzed(postgres_server, url) >= keys


async def test_tables_are_analyzed_without_the_right_to_create(postgres_server, key):
    url = postgres_server.create_database()
    name = url.rpartition("/")[2]
    postgres_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'p'")
    postgres_server.execute(f"GRANT CREATE ON DATABASE {name} TO {name}")
    # Askar makes the tables in a schema of the role's name.
    postgres_server.execute(f"ALTER DATABASE {name} SET search_path = {name}")
    restricted = f"postgres://{name}:p@127.0.0.1:{postgres_server.port}/{name}"
    async with KeyStore.create(StoreLocation.parse(restricted), key) as store:
        postgres_server.execute(f"REVOKE CREATE ON SCHEMA {name} FROM {name}", name)
        postgres_server.execute("DROP STATISTICS minikms_items, minikms_tags", name)
        await grow(store, postgres_server, url)
    assert await analyzed(postgres_server, url) >= 510
    assert postgres_server.execute("SELECT stxname FROM pg_statistic_ext", name) == ""


# Profiles with keys, each with the tags of Askar's: hashes for what Askar encrypts.
PROFILES, KEYS = 200, 500
FILL = f"""
    ALTER TABLE items SET (autovacuum_enabled = false);
    ALTER TABLE items_tags SET (autovacuum_enabled = false);
    CREATE TEMPORARY VIEW keys AS SELECT 1000 + k * {PROFILES} + p AS id, k, p
    FROM generate_series(1, {KEYS}) AS k, generate_series(1, {PROFILES}) AS p;
    INSERT INTO profiles (id, name) SELECT 100 + p, p FROM generate_series(1, {PROFILES}) AS p;
    INSERT INTO items (id, profile_id, kind, category, name, value)
    SELECT id, 100 + p, 2, sha256(p::text::bytea), sha256(id::text::bytea), repeat('v', 300)::bytea
    FROM keys;
    INSERT INTO items_tags (item_id, name, value, plaintext)
    SELECT id, 'seq', lpad(k::text, 20, '0')::bytea, 1 FROM keys
    UNION ALL SELECT id, sha256(p::text::bytea), sha256(p::text::bytea), 0 FROM keys;
"""
# As Askar reads a page in PostgreSQL.
PAGE_OF_ONE = f"""
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT i.id, i.name, i.value FROM items i
    WHERE i.profile_id = 150
    AND (i.kind = 2 OR 2 IS NULL) AND (i.category = sha256('50') OR sha256('50') IS NULL)
    AND i.id IN (SELECT item_id FROM items_tags WHERE name = 'seq' AND plaintext = 1
    AND value IN ({", ".join(f"'{place:020d}'" for place in range(1, 129))}))
"""


def buffers(server, name):
    """The buffers that a page of one profile touches."""
    [found] = json.loads(server.execute(PAGE_OF_ONE, name))
    return found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]


def extended(server, name):
    return server.execute("SELECT stxname FROM pg_statistic_ext ORDER BY 1", name).split()


@pytest.mark.postgres
async def test_a_page_of_one_of_many_profiles_does_not_read_each_of_its_keys(postgres_server, key):
    url = postgres_server.create_database()
    name, location = url.rpartition("/")[2], StoreLocation.parse(url)
    async with KeyStore.create(location, key):
        pass
    assert extended(postgres_server, name) == ["minikms_items", "minikms_tags"]
    postgres_server.execute("DROP STATISTICS minikms_items", name)  # as in a store of 0.4.0
    subprocess.run(postgres_server.psql(name), input=FILL, text=True, check=True)
    postgres_server.execute("ANALYZE items, items_tags", name)
    before = buffers(postgres_server, name)
    async with KeyStore.open(location, key, serving=True) as store:
        async with asyncio.timeout(60):
            while buffers(postgres_server, name) > before / 2:
                await asyncio.sleep(0.1)
        # These profiles are not in the directory, so their keys are not counted one by one.
        keys, *_ = await store.totals()
        assert keys == pytest.approx(PROFILES * KEYS, rel=0.05)
    assert extended(postgres_server, name) == ["minikms_items", "minikms_tags"]


SETTINGS = {
    "items": {"autovacuum_vacuum_scale_factor=0.02", "fillfactor=90"},
    "items_tags": {"autovacuum_vacuum_scale_factor=0.02"},
}


def settings(server, name):
    query = "SELECT relname || ' ' || unnest(reloptions) FROM pg_class WHERE relkind = 'r'"
    found = {table: set() for table in SETTINGS}
    for line in server.execute(query, name).splitlines():
        table, setting = line.split()
        found[table].add(setting)
    return found


@pytest.mark.postgres
async def test_a_service_sets_what_its_tables_lack_and_keeps_what_others_set(postgres_server, key):
    url = postgres_server.create_database()
    name, location = url.rpartition("/")[2], StoreLocation.parse(url)
    async with KeyStore.create(location, key):
        assert settings(postgres_server, name) == SETTINGS  # from its first key on
    for table in SETTINGS:  # as in a store of 0.4.0
        reset = f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor, fillfactor)"
        postgres_server.execute(reset, name)
    own = "ALTER TABLE items_tags SET (autovacuum_vacuum_scale_factor = 0.3)"
    postgres_server.execute(own, name)
    async with KeyStore.open(location, key, serving=True):
        async with asyncio.timeout(20):
            while settings(postgres_server, name)["items"] != SETTINGS["items"]:
                await asyncio.sleep(0.1)
    kept = {"autovacuum_vacuum_scale_factor=0.3"}
    assert settings(postgres_server, name)["items_tags"] == kept


@pytest.mark.postgres
async def test_changed_keys_need_no_new_entries_in_indexes(postgres_server, key):
    """Since each page has room for one more version of a row."""
    url = postgres_server.create_database()
    name, location = url.rpartition("/")[2], StoreLocation.parse(url)
    async with KeyStore.create(location, key) as store:
        await fill(StoreWriter(store.database), DEFAULT_PROFILE, 0, 1_000)
    changed = """
        ALTER TABLE items SET (autovacuum_enabled = false);
        SELECT pg_stat_force_next_flush();
        CREATE TABLE before AS SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
        WHERE relname = 'items';
        UPDATE items SET value = value WHERE id % 20 = 0;
        SELECT pg_stat_force_next_flush();
        SELECT n.n_tup_upd - b.n_tup_upd, n.n_tup_hot_upd - b.n_tup_hot_upd
        FROM pg_stat_user_tables AS n, before AS b WHERE relname = 'items'
    """
    command = postgres_server.psql(name)
    said = subprocess.run(command, input=changed, stdout=subprocess.PIPE, text=True, check=True)
    rows, in_their_pages = map(int, said.stdout.split()[-1].split("|"))
    assert rows > 40
    assert in_their_pages == rows


@pytest.mark.postgres
async def test_few_keys_are_counted_without_a_connection_for_an_estimate(postgres_server, key):
    url = postgres_server.create_database()
    name = url.rpartition("/")[2]

    def sessions():
        """The connections that were ever made to the database, the asking one included."""
        asked = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        return int(postgres_server.execute(asked, name))

    async with KeyStore.create(StoreLocation.parse(url), key) as store:
        assert (await store.totals())[:2] == (0, 1)
        before = sessions()
        for _ in range(10):
            assert (await store.totals())[:2] == (0, 1)
        assert sessions() - before < 5
