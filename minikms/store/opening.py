"""Opens and makes Askar stores: checks them, and locks an SQLite file meanwhile."""

import asyncio
import logging
from pathlib import Path
from typing import Final, NamedTuple

from aries_askar import Store

from minikms.startup_errors import StoreError
from minikms.store.askar.files import is_open_elsewhere, require_one_name
from minikms.store.askar.identity import FIRST
from minikms.store.askar.layout import (
    LAYOUT,
    SYSTEM,
    UPGRADING,
    Layout,
    begin_upgrade,
    check_layout,
    lacks_statistics,
    note_statistics,
    require_current,
)
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.postgres import check_sessions, require_no_service
from minikms.store.askar.schema import check_schema
from minikms.store.askar.stores import (
    close_store,
    open_store,
    provision_store,
    write_statistics,
)
from minikms.store.askar.writer_lock import WriterLock
from minikms.store.connections import notices
from minikms.store.connections.counters import ChangeCounters, FileChangeCounters

LOGGER = logging.getLogger(__name__)

# Seconds that opening a store waits for the process that writes.
_OPEN_TIMEOUT: Final = 5.0


class OpenedStore(NamedTuple):
    """An open store of Askar's, and facts that were read when it was opened.

    `writer_lock` is None unless the store is an SQLite file. `rekeyed` is the store's note of its
    last change of key.
    """

    store: Store
    location: StoreLocation
    key: StoreKey
    writer_lock: WriterLock | None
    counters: ChangeCounters
    layout: Layout = LAYOUT
    rekeyed: bytes = b""
    identity: bytes = FIRST


async def open_checked(
    location: StoreLocation, key: StoreKey, *, serving: bool, upgrading: bool
) -> OpenedStore:
    """Open a store, as `Database.open` does."""
    if serving:
        location = location.limited()
    writer_lock = None
    if location.path and location.path.is_file():
        require_one_name(location.path)
        writer_lock = WriterLock(location.path)
        # A connection cannot be opened while another process writes.
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                await writer_lock.acquire()
        except TimeoutError:
            raise StoreError(f"Another process keeps the store at {location} locked.") from None
    try:
        # First: the check of the schema needs a transaction.
        unchecked = await check_sessions(location)
        checked = await check_schema(location)
        store = await open_store(location, key)
        if checked.unreadable:
            await close_store(store, location)
            raise StoreError(checked.unreadable)
        if unchecked:
            LOGGER.info("the sessions at %s are not checked: %s", location, unchecked)
        layout, rekeyed = await check_layout(store, location)
        if serving:
            require_current(layout, location)
        if upgrading and layout < LAYOUT:
            location.require_two_connections()  # before anything is changed
            store = await _unused_elsewhere(store, location, key)
            await begin_upgrade(store, location)
            layout = UPGRADING
        if serving and location.path and await lacks_statistics(store, location):
            store = await _with_statistics(store, location, key, location.path)
        counters = _counters(location)
        if isinstance(counters, FileChangeCounters):
            counters.repair()
        if (serving or upgrading) and writer_lock:
            writer_lock.exclude_older()
    finally:
        if writer_lock:
            writer_lock.release()
    return OpenedStore(
        store, location, key, writer_lock, counters, layout, rekeyed, checked.identity
    )


async def make_store(location: StoreLocation, key: StoreKey) -> OpenedStore:
    """Make a store, as `Database.create` does."""
    if location.path:
        require_one_name(location.path)
    store = await provision_store(location, key, SYSTEM)
    try:
        writer_lock = WriterLock(location.path) if location.path else None
        counters = _counters(location)
    except StoreError:
        await close_store(store, location)
        raise
    return OpenedStore(store, location, key, writer_lock, counters)


async def require_unused(location: StoreLocation) -> None:
    """Raise StoreError if another process uses a store; this one must have closed its file."""
    if location.path is None:
        await require_no_service(location)
    elif location.path.is_file() and is_open_elsewhere(location.path):
        raise StoreError(f"Another process has the store at {location} open: stop it first.")


async def _unused_elsewhere(store: Store, location: StoreLocation, key: StoreKey) -> Store:
    """Open the store again, unless another process uses it; raises StoreError."""
    if location.path is None:
        await require_unused(location)
        return store
    await close_store(store, location)
    await require_unused(location)
    return await open_store(location, key)


async def _with_statistics(
    store: Store, location: StoreLocation, key: StoreKey, path: Path
) -> Store:
    """Open the store again, with statistics in its SQLite file unless others have it open."""
    await close_store(store, location)
    written = not is_open_elsewhere(path) and write_statistics(path)
    store = await open_store(location, key)
    if written:
        await note_statistics(store, location)
    return store


def _counters(location: StoreLocation) -> ChangeCounters:
    """The change counters of a store; raises StoreError."""
    if location.backend == "postgres":
        return notices.postgres_counters(location)
    return FileChangeCounters(location.path) if location.path else ChangeCounters()
