"""Checks that a store's database has the schema that Askar makes.

A trigger could restore deleted entries, and a view could replace a table. Neither needs a key of
the store, and a backup copies both.
"""

import sqlite3
from collections.abc import Iterable, Set
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, NamedTuple

from aries_askar import Store

from minikms.startup_errors import StoreError
from minikms.store import postgres
from minikms.store.askar import new_raw_key, until_closed
from minikms.store.identity import FIRST, identity_of
from minikms.store.location import StoreLocation


class _Object(NamedTuple):
    """A row of SQLite's own table of a schema."""

    type: str
    name: str
    table: str
    sql: str | None


# Tables that ANALYZE makes; which of them depends on how SQLite was built.
_STATISTICS: Final = frozenset(
    _Object("table", name, name, f"CREATE TABLE {name}({columns})")
    for name, columns in (
        ("sqlite_stat1", "tbl,idx,stat"),
        ("sqlite_stat4", "tbl,idx,neq,nlt,ndlt,sample"),
    )
)

# Objects attached to Askar's tables that run code, hide rows or add some.
_FOREIGN: Final = r"""
WITH named AS (
    SELECT name, to_regclass(name) AS id
    FROM unnest(ARRAY['config', 'profiles', 'items', 'items_tags']) AS name
), ours AS (
    SELECT oid, relname, relkind FROM pg_class WHERE oid IN (SELECT id FROM named)
)
SELECT 'no table ' || name FROM named WHERE id IS NULL
UNION ALL SELECT 'the relation ' || relname || ', which is not a table'
    FROM ours WHERE relkind <> 'r'
UNION ALL SELECT 'the trigger ' || tgname
    FROM pg_trigger JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT 'the rule ' || rulename
    FROM pg_rewrite JOIN ours ON ours.oid = ev_class WHERE relkind = 'r'
UNION ALL SELECT 'the policy ' || polname FROM pg_policy JOIN ours ON ours.oid = polrelid
UNION ALL SELECT 'the table ' || inhrelid::regclass || ' within ' || relname
    FROM pg_inherits JOIN ours ON ours.oid = inhparent
UNION ALL SELECT 'the constraint ' || conname
    FROM pg_constraint JOIN ours ON ours.oid = conrelid WHERE contype NOT IN ('p', 'f', 'n')
UNION ALL SELECT 'the default of ' || relname || '.' || attname
    FROM pg_attrdef JOIN ours ON ours.oid = adrelid
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE pg_get_expr(adbin, adrelid) !~ '^nextval\(''[^'']*''::regclass\)$'
UNION ALL SELECT 'the type of ' || relname || '.' || attname
    FROM pg_attribute JOIN ours ON ours.oid = attrelid JOIN pg_type ON pg_type.oid = atttypid
    WHERE typnamespace <> 'pg_catalog'::regnamespace
UNION ALL SELECT 'the index ' || pg_class.relname
    FROM pg_index JOIN ours ON ours.oid = indrelid JOIN pg_class ON pg_class.oid = indexrelid
    WHERE pg_class.relname NOT IN (
        'config_pkey', 'profiles_pkey', 'ix_profile_name', 'items_pkey', 'ix_items_uniq',
        'items_tags_pkey', 'ix_items_tags_item_id', 'ix_items_tags_name_enc',
        'ix_items_tags_name_plain')
    OR pg_get_expr(indexprs, indrelid) <> 'substr(value, 1, 12)'
    OR pg_get_expr(indpred, indrelid) NOT IN ('(plaintext = 0)', '(plaintext = 1)')
"""


def connect(path: Path, mode: Literal["ro", "rw"], timeout: float) -> sqlite3.Connection:
    """A connection to an existing SQLite file, which waits `timeout` seconds for a lock.

    Closing it releases all locks of this process on the file (POSIX). A connection that can write
    also removes the WAL when it is closed, so this process must not have another one open.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=timeout)


async def require_askars_schema(file: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError if an SQLite file does not have the schema that Askar makes."""
    found, known = _read(file), await _schema_of_new_file()
    if not found & known:
        raise StoreError(f"{path} is not a store of Mini KMS.")
    if differing := {f"the {kind} {name}" for kind, name, _, _ in found - _STATISTICS ^ known}:
        raise _refused(str(path), differing)


class CheckedSchema(NamedTuple):
    """The identity of a store, and a sentence if its schema cannot be read: nobody may use it."""

    identity: bytes = FIRST
    unreadable: str = ""


async def check_schema(location: StoreLocation) -> CheckedSchema:
    """Raise StoreError if a store's database has objects that Askar does not make.

    PostgreSQL is not checked without the extra `postgres`.
    """
    if location.path and location.path.is_file():
        try:
            with closing(connect(location.path, "ro", location.timeout)) as file:
                if _read(file):  # of an empty file, Askar's own error says more
                    await require_askars_schema(file, location.path)
                return CheckedSchema(identity_of(file))
        except sqlite3.Error as exc:
            return CheckedSchema(unreadable=f"The schema of {location.path} cannot be read: {exc}.")
    if location.backend == "postgres" and postgres.installed():
        return CheckedSchema(unreadable=await _check_postgres(location))
    return CheckedSchema()


async def _check_postgres(location: StoreLocation) -> str:
    try:
        async with postgres.connected(location) as session:
            found = {str(row[0]) for row in await session.fetch(_FOREIGN)}
    except postgres.ServerError as exc:
        return f"The schema of the store at {location} cannot be read: {exc}."
    missing = {what for what in found if what.startswith("no table ")}
    if foreign := found - missing:
        raise _refused(str(location), foreign)
    return f"There is {min(missing)} at {location}." if missing else ""


def _refused(where: str, differing: Iterable[str]) -> StoreError:
    return StoreError(
        f"The schema at {where} is not the one that Askar makes, and may restore deleted keys: "
        f"{', '.join(sorted(differing))}. Remove the difference, or restore an earlier backup."
    )


def _read(file: sqlite3.Connection) -> Set[_Object]:
    rows = file.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    return {_Object(*row) for row in rows}


async def _schema_of_new_file() -> Set[_Object]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "new.db")
        store = await Store.provision(f"sqlite://{path}", "raw", new_raw_key())
        await store.close()
        await until_closed(path)
        with closing(connect(path, "ro", 5)) as file:
            return _read(file)
