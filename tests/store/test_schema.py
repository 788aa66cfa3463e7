"""A database whose schema Askar did not make: no command opens, copies or restores it."""

import contextlib
import shutil
import sqlite3

import pytest
from sqlite_files import whole
from stores import refused

from minikms.startup_errors import StoreError
from minikms.store.keys import KeyStore
from minikms.store.location import StoreLocation

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
    "the relation items, which is not a table": VIEW,
    "policy hidden": [
        "CREATE POLICY hidden ON items USING (false)",
        "ALTER TABLE items FORCE ROW LEVEL SECURITY",
    ],
    "table more within items": ["CREATE TABLE public.more () INHERITS (items)"],
    "constraint evil": [TRUE, "ALTER TABLE items ADD CONSTRAINT evil CHECK (same(value))"],
    "default of items.expiry": ["ALTER TABLE items ALTER expiry SET DEFAULT now()"],
    "type of items.value": [
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
async def test_every_command_refuses_it(run, sqlite, key, what):
    good, bad = sqlite.with_name("good.db"), sqlite.with_name("bad.db")
    await whole(sqlite)
    for copy in (good, bad):
        shutil.copy(sqlite, copy)
    with contextlib.closing(sqlite3.connect(bad)) as file, file:
        for statement in SQLITE[what]:
            file.execute(statement)

    def sentence(*args, store):
        return refused(run(*args, STORE=f"sqlite://{store}", STORE_KEY=key.secret))

    for command in (("serve", "--port", "0"), ("store", "verify")):
        assert what in sentence(*command, store=bad)
    assert what in sentence("store", "backup", f"{bad}-backup", store=bad)
    before = good.read_bytes()
    assert what in sentence("store", "restore", str(bad), store=good)
    assert good.read_bytes() == before
    assert refused(run("store", "restore", str(bad), STORE=f"sqlite://{good}"))  # without the key
    assert sorted(path.name for path in sqlite.parent.glob("*backup*")) == []
