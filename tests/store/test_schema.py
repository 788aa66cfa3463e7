"""A database whose schema Askar did not make: no command opens, copies or restores it."""

import asyncio
import contextlib
import logging
import shutil
import sqlite3

import pytest
from minikms_processes import refused
from proxy import Proxy
from sqlite_copies import whole

from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreLocation
from minikms.store.keys.key_store import KeyStore

KEEP = "CREATE TRIGGER keep AFTER DELETE ON items BEGIN {}; END".format(
    "INSERT INTO items SELECT old.id, old.profile_id, old.kind, old.category, old.name, "
    "old.value, old.expiry"
)
VIEW = ("ALTER TABLE items RENAME TO kept", "CREATE VIEW items AS SELECT * FROM kept")

SQLITE = {
    "trigger keep": [KEEP],
    "view items": VIEW,
    "view of_items": ["CREATE VIEW of_items AS SELECT * FROM items"],
    "table other": ["CREATE TABLE other (a)"],
    "index other": ["CREATE INDEX other ON items (value)"],
    "table config": [
        "ALTER TABLE config RENAME TO before",
        "CREATE TABLE config (name TEXT PRIMARY KEY ON CONFLICT IGNORE, value TEXT)",
        "INSERT INTO config SELECT * FROM before",
        "DROP TABLE before",
    ],
    "index ix_items_uniq": [
        "DROP INDEX ix_items_uniq",
        "CREATE UNIQUE INDEX ix_items_uniq ON items (profile_id, kind, category, name, value)",
    ],
    "index ix_profile_name": ["DROP INDEX ix_profile_name"],
}

FUNCTION = (
    "CREATE FUNCTION same({0} {1}) RETURNS {2} IMMUTABLE LANGUAGE plpgsql "
    "AS 'BEGIN RETURN {3}; END'"
)
OF_BYTES = FUNCTION.format("value", "bytea", "bytea", "value")
TRUE = FUNCTION.format("value", "bytea", "boolean", "true")
POSTGRES = {
    "trigger keep": [
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER keep BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION keep()",
    ],
    "rule keep": ["CREATE RULE keep AS ON DELETE TO items DO INSTEAD NOTHING"],
    "table items": VIEW,
    "policy hidden": [
        "CREATE POLICY hidden ON items USING (false)",
        "ALTER TABLE items FORCE ROW LEVEL SECURITY",
    ],
    "table public.more within postgres.items": ["CREATE TABLE public.more () INHERITS (items)"],
    "constraint evil": [TRUE, "ALTER TABLE items ADD CONSTRAINT evil CHECK (same(value))"],
    "column items.expiry": ["ALTER TABLE items ALTER expiry SET DEFAULT now()"],
    "column items.value": [
        "CREATE DOMAIN evil AS bytea",
        "ALTER TABLE items ALTER value TYPE evil",
    ],
    "index other": ["CREATE INDEX other ON items (expiry)"],
    "index ix_items_tags_name_enc": [
        OF_BYTES,
        "DROP INDEX ix_items_tags_name_enc",
        "CREATE INDEX ix_items_tags_name_enc ON items_tags (name, same(value)) WHERE plaintext = 0",
    ],
    "index ix_items_tags_name_plain": [
        TRUE,
        "DROP INDEX ix_items_tags_name_plain",
        "CREATE INDEX ix_items_tags_name_plain ON items_tags (name, value) WHERE same(value)",
    ],
    # If a profile is removed, rows here go with it, which a trigger can answer.
    "constraint of_profile": [
        "CREATE TABLE public.kept (id bigint CONSTRAINT of_profile REFERENCES profiles (id)"
        " ON DELETE CASCADE)",
    ],
    "index ix_items_tags_item_id": [
        "CREATE OPERATOR CLASS hostile FOR TYPE bigint USING btree AS OPERATOR 1 <, OPERATOR 2 <=,"
        " OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint8cmp(bigint, bigint)",
        "DROP INDEX ix_items_tags_item_id",
        "CREATE INDEX ix_items_tags_item_id ON items_tags (item_id hostile)",
    ],
    # Without it, an alias could name two keys.
    "index ix_items_uniq": ["DROP INDEX ix_items_uniq"],
    "index ix_profile_name": [
        "DROP INDEX ix_profile_name",
        "CREATE INDEX ix_profile_name ON profiles (name)",
    ],
    "constraint items_tags_item_id_fkey": [
        "ALTER TABLE items_tags DROP CONSTRAINT items_tags_item_id_fkey",
        "ALTER TABLE items_tags ADD CONSTRAINT items_tags_item_id_fkey"
        " FOREIGN KEY (item_id) REFERENCES items (id)",
    ],
    "column items.name": ["ALTER TABLE items ALTER name DROP NOT NULL"],
    # Rows are lost if the server is killed.
    "table items_tags": ["ALTER TABLE items_tags SET UNLOGGED"],
    "statistics hostile": [
        OF_BYTES,
        "CREATE STATISTICS hostile ON same(value), name FROM items",
    ],
    "function public.count": [
        "CREATE FUNCTION public.count() RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT 0::bigint'"
    ],
    "operator public.||": [
        "CREATE FUNCTION public.tag(smallint, text) RETURNS text IMMUTABLE LANGUAGE sql"
        " AS $$SELECT ''$$",
        "CREATE OPERATOR public.|| (LEFTARG = smallint, RIGHTARG = text, FUNCTION = public.tag)",
    ],
}
DATABASES = [
    *(pytest.param("sqlite", what, id=f"sqlite {what}") for what in SQLITE),
    *(pytest.param("postgres", what, id=f"postgres {what}") for what in POSTGRES),
]


@pytest.fixture
def location(persistent_url):
    return StoreLocation.parse(persistent_url)


@pytest.fixture
async def made(location, key, change_rows):
    async with KeyStore.create(location, key):
        pass
    return change_rows


@pytest.mark.parametrize(("persistent_url", "what"), DATABASES, indirect=["persistent_url"])
async def test_a_schema_unlike_askars_is_refused(location, key, made, what):
    await made(*(SQLITE if location.path else POSTGRES)[what])
    with pytest.raises(StoreError, match=f"schema at .* not the one that Askar makes.* {what}"):
        async with KeyStore.open(location, key):
            pass


@pytest.fixture
def role(postgres_server):
    """A role with a database, and the URL of a store there."""
    url = postgres_server.create_database()
    name = url.rpartition("/")[2]
    postgres_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'p'")
    postgres_server.execute(f"GRANT CREATE ON DATABASE {name} TO {name}")
    return name, f"postgres://{name}:p@127.0.0.1:{postgres_server.port}/{name}"


async def test_the_path_of_a_role_hides_no_trigger(role, postgres_server, key):
    name, url = role
    async with KeyStore.create(StoreLocation.parse(url), key):
        pass
    postgres_server.execute(
        f"""
        CREATE SCHEMA evil;
        GRANT USAGE ON SCHEMA evil TO {name};
        CREATE VIEW evil.pg_trigger AS SELECT * FROM pg_catalog.pg_trigger WHERE false;
        CREATE VIEW evil.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
        GRANT SELECT ON evil.pg_trigger, evil.pg_class TO {name};
        SET search_path = {name};
        {POSTGRES["trigger keep"][0]};
        {POSTGRES["trigger keep"][1]};
        ALTER ROLE {name} SET search_path = evil, pg_catalog, {name};
        """,
        name,
    )
    with pytest.raises(StoreError, match="trigger keep"):
        async with KeyStore.open(StoreLocation.parse(url), key):
            pass


async def test_the_tables_that_askars_statements_find_are_checked(role, postgres_server, key):
    """A view in a schema that comes first in the search path replaces Askar's table."""
    name, url = role
    async with KeyStore.create(StoreLocation.parse(url), key):
        pass
    postgres_server.execute(
        f"""
        CREATE SCHEMA evil;
        GRANT USAGE ON SCHEMA evil TO {name};
        CREATE VIEW evil.items_tags AS SELECT * FROM {name}.items_tags WHERE plaintext = 0;
        GRANT ALL ON evil.items_tags TO {name};
        ALTER ROLE {name} SET search_path = evil, {name};
        """,
        name,
    )
    with pytest.raises(StoreError, match="table items_tags"):
        async with KeyStore.open(StoreLocation.parse(url), key):
            pass


@pytest.mark.parametrize("persistent_url", ["postgres"], indirect=True)
async def test_it_is_read_through_a_proxy_that_does_not_end_connections(
    persistent_url, key, made, postgres_server, caplog
):
    caplog.set_level(logging.INFO, "minikms.store.askar.postgres")
    async with Proxy(postgres_server.port, ends=False) as proxy:
        location = StoreLocation.parse(proxy.url(persistent_url))
        async with KeyStore.open(location, key) as store:
            await store.ping()
        await made(*POSTGRES["trigger keep"])
        with pytest.raises(StoreError, match="trigger keep"):
            async with KeyStore.open(location, key):
                pass
    assert "are not checked" not in caplog.text


@pytest.mark.parametrize("persistent_url", ["postgres"], indirect=True)
async def test_extensions_and_settings_of_tables_are_accepted(persistent_url, key, made):
    await made(
        "CREATE EXTENSION citext SCHEMA public",
        "ALTER TABLE items_tags SET (autovacuum_enabled = false)",
        "ALTER INDEX ix_items_tags_name_plain SET (fillfactor = 70)",
        "CREATE STATISTICS public.own ON kind, category FROM items",
        "CREATE TABLE public.notes (id bigint PRIMARY KEY)",
    )
    async with KeyStore.open(StoreLocation.parse(persistent_url), key) as store:
        await store.ping()


async def test_maintenance_by_sqlite_and_operators_is_accepted(location, key, made):
    if location.path:
        await made("ANALYZE", "VACUUM", "REINDEX")
    else:
        await made("ANALYZE", "CREATE SCHEMA other", "CREATE TABLE other.items ()")
        await made("REINDEX TABLE items", "CREATE VIEW public.sizes AS SELECT count(*) FROM items")
    async with KeyStore.open(location, key) as store:
        await store.ping()


@pytest.mark.process
@pytest.mark.parametrize("what", ["trigger keep", "view items"])
async def test_every_command_refuses_it(run, command, sqlite, key, what):
    good, bad = sqlite.with_name("good.db"), sqlite.with_name("bad.db")
    await whole(sqlite)
    for copy in (good, bad):
        shutil.copy(sqlite, copy)
    with contextlib.closing(sqlite3.connect(bad)) as file, file:
        for statement in SQLITE[what]:
            file.execute(statement)

    async def sentence(*args, store):
        started = run if args[0] == "serve" else command
        options = {"STORE": f"sqlite://{store}", "STORE_KEY": key.secret}
        return refused(await asyncio.to_thread(started, *args, **options))

    for args in (("serve", "--port", "0"), ("store", "verify")):
        assert what in await sentence(*args, store=bad)
    assert what in await sentence("store", "backup", f"{bad}-backup", store=bad)
    before = good.read_bytes()
    assert what in await sentence("store", "restore", str(bad), store=good)
    assert good.read_bytes() == before
    restore = "store", "restore", str(bad)
    assert refused(await asyncio.to_thread(command, *restore, STORE=f"sqlite://{good}"))  # no key
    assert sorted(path.name for path in sqlite.parent.glob("*backup*")) == []
