"""Opens and makes Askar stores, and says in one sentence why a store cannot be opened."""

import asyncio
import os
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from aries_askar import AskarError, AskarErrorCode, Store

from minikms.startup_errors import AbsentStoreError, StoreError
from minikms.store.askar.errors import check_error_codes, message_of
from minikms.store.askar.files import disk_fault, is_open_here
from minikms.store.askar.location import StoreKey, StoreLocation

# SQLite's statistics of a large store (https://sqlite.org/fileformat2.html#stat1tab): for an index
# of Askar's, the number of rows, and the numbers of rows that share a value in its first column, in
# its first two, and so on. They say that a profile has far more rows than one value of a tag.
_STATISTICS: Final = (
    ("items", "ix_items_uniq", "10000000 100000 50000 50000 1"),
    ("items_tags", "ix_items_tags_item_id", "30000000 3"),
    ("items_tags", "ix_items_tags_name_enc", "20000000 100000 10"),
    ("items_tags", "ix_items_tags_name_plain", "10000000 100000 1"),
)


# Seconds that a closed store may keep its SQLite file open.
_CLOSE_TIMEOUT: Final = 60.0

# The number of stores that this process has open, by their SQLite files.
_OPEN: Final = Counter[Path | None]()


def new_raw_key() -> str:
    """A random raw key, in Askar's base58."""
    return Store.generate_raw_key()


async def check_key(key: StoreKey) -> None:
    """Raise StoreError if the key is not valid for its method."""
    if key.method != "raw":  # every string is a valid passphrase; deriving a key takes 0.7 s
        return
    try:
        store = await Store.provision("sqlite://:memory:", key.askar_method, key.secret)
    except AskarError as exc:
        if exc.code is not AskarErrorCode.INPUT:
            raise
        raise StoreError(f"The new key is not a {key.method} key.") from None
    await store.close()


async def open_store(location: StoreLocation, key: StoreKey) -> Store:
    """Open a store; raises StoreError, and changes nothing."""
    await check_error_codes()
    _set_driver_environment(location)
    try:
        store = await Store.open(location.uri, key.askar_method, key.secret)
    except AskarError as exc:
        raise _refusal(exc, location, key) from None
    _OPEN[location.path] += 1
    return store


async def close_store(store: Store, location: StoreLocation) -> None:
    """Close a store, and return once this process no longer has its SQLite file open.

    Askar 0.5.0 goes on closing a connection in the background if a session has just used it: a pool
    of sqlx 0.8 does not wait for a connection that is being returned. Until then, nobody else in
    this process may open the file: Python's SQLite does not see the locks of Askar's. Raises
    StoreError if closing takes too long.
    """
    _OPEN[location.path] -= 1
    await store.close()
    if location.path and not _OPEN[location.path]:
        await until_closed(location.path)


async def until_closed(path: Path) -> None:
    """Return once this process no longer has a file open; raises StoreError after a time limit."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            while is_open_here(path):
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise StoreError(f"The file {path} cannot be closed: its disk hangs.") from None


async def provision_store(location: StoreLocation, key: StoreKey, profile: str) -> Store:
    """Open the store with this key and this default profile, or make it.

    Raises StoreError, and then changes nothing.
    """
    await check_error_codes()
    _set_driver_environment(location)
    before = os.umask(0o077)  # for SQLite's file, and the files beside it
    try:
        if location.path and not location.path.exists():
            _make_file(location.path)
        store = await Store.provision(location.uri, key.askar_method, key.secret, profile=profile)
    except AskarError as exc:
        if exc.code is AskarErrorCode.ENCRYPTION:
            raise StoreError(f"There is a store at {location} already.") from None
        why = str(_refusal(exc, location, key))
        if location.path and location.path.parent.is_dir() and not location.path.exists():
            why = f"The directory {location.path.parent} cannot be written."
        if "no rows returned" in why:  # there is a store, without this profile
            why = f"There is a store of another program at {location}."
        raise StoreError(why) from None
    finally:
        os.umask(before)
    _OPEN[location.path] += 1
    if await store.get_default_profile() != profile:
        await close_store(store, location)
        raise StoreError(f"There is a store of another program at {location}.")
    return store


def write_statistics(path: Path) -> bool:
    """Tell SQLite how many rows a store's tables have, so that it finds rows by their tags.

    Without statistics, SQLite assumes that a profile has ten rows, and reads all of its rows for a
    query by tag. Returns False if the file cannot be written. The process must not have a
    connection to the file: closing the file gives up all locks of the process on it.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as file, file:
        file.execute("ANALYZE sqlite_schema")  # makes the empty table of statistics
        file.execute("DELETE FROM sqlite_stat1")
        file.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", _STATISTICS)
        return True
    return False


def _set_driver_environment(location: StoreLocation) -> None:
    """Set the variables that Askar's PostgreSQL driver reads whenever a store is opened.

    They stay set: the environment must not change while a thread looks up a host.
    """
    for name, value in location.driver_environment.items():
        if os.environ.get(name) != value:
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _make_file(path: Path) -> None:
    """Make an SQLite file without auto-vacuum, which Askar's own files have and never use.

    With auto-vacuum, each connection that Askar opens writes a page, so that it cannot be opened on
    a full disk, or while another process writes.
    """
    # If this fails, Askar also fails, and says why.
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA auto_vacuum = NONE")
        file.execute("PRAGMA journal_mode = WAL")
    write_statistics(path)


def _refusal(exc: AskarError, location: StoreLocation, key: StoreKey) -> StoreError:
    """The error for a store that cannot be opened or made, with the reason in one sentence."""
    code, error = exc.code, message_of(exc)
    cause = error.splitlines()[-1].removeprefix("Caused by: ")
    absent = AbsentStoreError(f"There is no store at {location}: `minikms store init` makes one.")
    if code is AskarErrorCode.ENCRYPTION:
        return StoreError(f"The key does not open the store at {location}.")
    if code is AskarErrorCode.INPUT and "parameter" in error:
        return StoreError(f"An option in the URL of the store at {location} is not valid.")
    if code is AskarErrorCode.INPUT:
        return StoreError(
            f"The key is not a {key.method} key, or the store at {location} was made with another "
            "method."
        )
    if location.path is not None:
        folder = location.path.parent
        if not folder.is_dir():
            return StoreError(f"The directory {folder} does not exist.")
        if not location.path.exists():
            return absent
        if not os.access(location.path, os.R_OK | os.W_OK):
            return StoreError(f"The file {location.path} cannot be read and written.")
        if "database is locked" in cause:
            return StoreError(f"The file {location.path} is locked by another program.")
        if fault := disk_fault(folder):
            return StoreError(f"The store at {location} cannot be opened: its {fault}.")
        return StoreError(f"{location} is not a store of Mini KMS: {cause}.")
    if code is AskarErrorCode.NOT_FOUND or 'relation "config" does not exist' in cause:
        return absent
    # sqlx reads 0x00 if the connection has ended.
    silent = "timed out", "error communicating with database", "SSLRequest: 0x00"
    if any(text in cause for text in silent):
        return StoreError(no_answer(location))
    return StoreError(f"The database at {location} cannot be used: {cause}.")


def no_answer(location: StoreLocation) -> str:
    """The message for a database that cannot be reached."""
    return f"The database at {location} does not answer, or a proxy in front of it has no primary."
