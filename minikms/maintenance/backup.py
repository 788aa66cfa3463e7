"""Backs up the file of an SQLite store as it is at one moment, and restores it."""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

from minikms.basics.shared_files import sync
from minikms.maintenance.inspect import StoreInspector
from minikms.startup_errors import StoreError
from minikms.store import StoreKey, StoreLocation
from minikms.store.internals import (
    connect,
    is_open_elsewhere,
    note_backup,
    require_askars_schema,
    require_one_name,
    set_new_identity,
)

# Seconds that a backup waits for another program that has locked the file.
_TIMEOUT: Final = 60.0

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


async def back_up(path: Path, target: Path, key: StoreKey | None) -> None:
    """Write the committed contents of a store, which may be in use, into a new file.

    The file appears once it is complete, on the disk, and checked, with `key` unless it is None.
    Raises StoreError.
    """
    require_one_name(path)  # the WAL may be beside the file's other name
    begun = time.time()
    with _new_backup(target) as new:
        await _fill(new, path, key)
    note_backup(path, begun)


@asynccontextmanager
async def backup_of(target: Path, key: StoreKey) -> AsyncIterator[StoreLocation]:
    """Yield the location of a store to make, whose contents are then the backup in a new file.

    The file appears once it is complete, like the file of `back_up`. Raises StoreError.
    """
    with _new_backup(target) as new:
        made = new.with_name("made.db")
        yield location_of(made)
        await _fill(new, made, key)


def location_of(file: Path) -> StoreLocation:
    """Return the location of the store in a file."""
    return StoreLocation.parse(f"sqlite://{quote(str(file.absolute()))}")


async def restore(path: Path, backup: Path, key: StoreKey | None) -> None:
    """Replace the store at a path, if it exists, by a backup, which is kept.

    The files beside the store are removed: a WAL applied to another file would corrupt it. After an
    interruption, either the old or the new store exists, complete. Raises StoreError if the backup
    is damaged or not a store, or if a process has the store open.
    """
    path = path.resolve()  # a link to the store stays
    if path.exists() and backup.exists() and path.samefile(backup):
        raise StoreError(f"{backup} is the store itself.")
    with _because(f"The store at {path} cannot be restored"), _new_file(path) as new:
        await _fill(new, backup, key)
        if path.exists():
            if is_open_elsewhere(path):
                raise _in_use(path)
            if os.geteuid() == 0:  # root may restore another user's store
                facts = path.stat()
                os.chown(new, facts.st_uid, facts.st_gid)
        with _held(path):
            for ending in ("wal", "shm", "journal"):
                Path(f"{path}-{ending}").unlink(missing_ok=True)
            os.replace(new, path)
            sync(path.parent)


async def _fill(new: Path, source: Path, key: StoreKey | None) -> None:
    """Copy an SQLite file and its WAL into one file; raises StoreError if it is not a store."""
    if not source.is_file():
        raise StoreError(f"There is no file {source}.")
    with closing(connect(source, "rw" if os.access(source, os.W_OK) else "ro", _TIMEOUT)) as file:
        await _check(file, source)
        # Without auto-vacuum, as store/askar/stores.py makes it.
        file.execute("PRAGMA auto_vacuum = NONE")
        file.execute("VACUUM INTO ?", (str(new),))
    if key is not None:
        location = location_of(new)
        try:
            await _check_profiles(location, key)
        except StoreError as exc:
            raise StoreError(str(exc).replace(str(location), str(source))) from None
    with closing(connect(new, "rw", _TIMEOUT)) as file:
        file.execute("PRAGMA journal_mode = DELETE")  # Askar turns it into a WAL file
        set_new_identity(file)
        await _check(file, new)
    sync(new)


async def _check_profiles(location: StoreLocation, key: StoreKey) -> None:
    """Raise StoreError if the key does not open a store, or a profile in it cannot be used."""
    async with StoreInspector.open(location, key, any_layout=True) as inspector:
        directory = await inspector.directory()
        for profile, askar_profile in directory.askar_profiles.items():
            if fault := await inspector.fault(profile, askar_profile):
                raise StoreError(f"Profile {profile} of the store at {location}: {fault}.")


async def _check(file: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError if an SQLite file is damaged, or its schema is not Askar's."""
    if (found := file.execute("PRAGMA integrity_check").fetchone()) != ("ok",):
        raise StoreError(f"{path} is damaged: {found[0].splitlines()[0]}.")
    await require_askars_schema(file, path)


@contextmanager
def _new_backup(target: Path) -> Iterator[Path]:
    """Yield a file that becomes the new file `target` at the end; raises StoreError."""
    if os.path.lexists(target):
        raise StoreError(f"{target} exists already.")
    with _because(f"The backup {target} cannot be made"), _new_file(target) as new:
        yield new
        os.link(new, target)  # never replaces a file
        sync(target.parent)


@contextmanager
def _new_file(beside: Path) -> Iterator[Path]:
    """Yield a file that only its user can read, in a temporary folder beside another file.

    The folder is removed at the end, with all files that opening a store puts into it.
    """
    with TemporaryDirectory(prefix=f"{beside.name}-", suffix=".part", dir=beside.parent) as folder:
        new = Path(folder, beside.name)
        new.touch(0o600)
        yield new


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep processes from opening the store at a path, if it exists, during the block.

    Its WAL is merged into the file, so that nothing is lost with the WAL. A damaged store stays
    unchanged.
    """
    if not path.exists():
        yield
        return
    with closing(connect(path, "rw", _TIMEOUT)) as file:
        try:
            file.execute("PRAGMA busy_timeout = 0")
            file.execute("PRAGMA locking_mode = EXCLUSIVE")
            if file.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
                raise _in_use(path)
            file.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise _in_use(path) from None
            if exc.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise
        yield


def _in_use(path: Path) -> StoreError:
    return StoreError(f"A process has the store at {path} open: stop it first.")


@contextmanager
def _because(what: str) -> Iterator[None]:
    """Turn an error of SQLite or the system into one sentence, which begins with `what`."""
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreError(f"{what}: {exc}.") from None
    except OSError as exc:
        raise StoreError(f"{what}: {exc.strerror}.") from None
