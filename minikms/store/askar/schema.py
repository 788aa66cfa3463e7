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
from minikms.store.askar import postgres
from minikms.store.askar.identity import FIRST, identity_of
from minikms.store.askar.location import StoreLocation
from minikms.store.askar.postgres_schema import differences
from minikms.store.askar.stores import new_raw_key, until_closed


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
    """The identity of a store, and why its schema cannot be read; then the store is refused."""

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
            missing, differing = await differences(session)
    except postgres.ServerError as exc:
        return f"The schema of the store at {location} cannot be read: {exc}."
    if differing:
        raise _refused(str(location), differing)
    return f"There is no {min(missing)} at {location}." if missing else ""


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
