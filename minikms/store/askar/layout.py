"""Entries of a store about itself: its layout, whether it is finished, its last change of key."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Self

from aries_askar import AskarError, Store

from minikms.errors import StoreUnavailable
from minikms.startup_errors import AbsentStoreError, StoreError
from minikms.store.askar.location import StoreLocation
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import STORE


class Layout(NamedTuple):
    """The version of a store's contents, and of the messages between the processes that use it.

    `major` is raised if an older process could not read the store. `minor` is raised if an older
    process would not announce changes as others need it.
    """

    major: int
    minor: int

    @classmethod
    def of(cls, stored: bytes) -> Self:
        """The layout in an entry."""
        major, _, minor = stored.decode().partition("_")
        return cls(int(major), int(minor or 0))

    @property
    def stored(self) -> str:
        """The entry."""
        return f"{self.major}_{self.minor}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


# The layout of this version (docs/internals/store.md).
LAYOUT: Final = Layout(4, 0)
# The previous layout, which `minikms store upgrade` accepts.
BEFORE: Final = Layout(3, 0)
# The layout of a store whose upgrade has begun: older versions refuse it as newer.
UPGRADING: Final = Layout(3, 1)

# Askar's name of the store's own profile, its default one, which no caller reaches.
SYSTEM: Final = "minikms"

# The names of the entries of `STORE`.
_LAYOUT, _REKEYED, _MAKING, _STATISTICS = "layout", "rekeyed", "making", "statistics"


async def check_layout(store: Store, location: StoreLocation) -> tuple[Layout, bytes]:
    """Read the store's layout, and the record of its last change of key.

    Raises StoreError if the store is not ours, or this version cannot upgrade its layout.
    """
    async with _session(store, location, "read") as session:
        layout = await session.fetch(STORE, _LAYOUT)
        rekeyed = await session.fetch(STORE, _REKEYED)
    if layout is None or rekeyed is None:
        raise AbsentStoreError(
            f"The store at {location} was never finished, or is not one of Mini KMS: "
            "run the command that made it again."
        )
    version = Layout.of(layout.value)
    if version > LAYOUT:
        raise StoreError(
            f"The store at {location} has the layout {version} of a newer Mini KMS; "
            f"this one knows {LAYOUT}."
        )
    if version < BEFORE:
        raise StoreError(
            f"The store at {location} has the layout {version} of a Mini KMS before 0.3: "
            "run `minikms store upgrade` of release 0.3 first, then of this one."
        )
    return version, rekeyed.value


def require_current(layout: Layout, location: StoreLocation) -> None:
    """Raise StoreError for an older layout, whose aliases this version does not read."""
    if layout == UPGRADING:
        raise StoreError(
            f"The upgrade of the store at {location} was begun and not finished: "
            "run `minikms store upgrade` again."
        )
    if layout < LAYOUT:
        raise StoreError(
            f"The store at {location} has the layout {layout} of an older Mini KMS; this one "
            f"needs {LAYOUT}: stop its services, make a backup, and run `minikms store upgrade`."
        )


async def begin_upgrade(store: Store, location: StoreLocation) -> None:
    """Mark the store: services refuse it until it has this layout; raises StoreError."""
    async with _session(store, location, "written") as session:
        await session.replace(STORE, _LAYOUT, UPGRADING.stored)


async def finish_upgrade(store: Store, location: StoreLocation) -> None:
    """Give a store this layout; raises StoreError."""
    async with _session(store, location, "written") as session:
        await session.replace(STORE, _LAYOUT, LAYOUT.stored)


async def lacks_statistics(store: Store, location: StoreLocation) -> bool:
    """Tell whether an SQLite file may lack its statistics (`store/askar/stores.py`)."""
    async with _session(store, location, "read") as session:
        return await session.fetch(STORE, _STATISTICS) is None


async def note_statistics(store: Store, location: StoreLocation) -> None:
    """Record that an SQLite file has its statistics; raises StoreError."""
    async with _session(store, location, "written") as session:
        await session.insert(STORE, _STATISTICS, b"")


async def begin_making(
    session: Transaction, location: StoreLocation, earlier: bytes = b""
) -> bytes:
    """Empty the store's own profile, and mark the store as being made.

    Returns the mark, which is unique. If `earlier` is the mark of an interrupted process, nothing
    is changed. Raises StoreError if the store is finished, or has another mark.
    """
    if await session.fetch(STORE, _LAYOUT) is not None:
        raise StoreError(f"There is a store at {location} already.")
    if earlier:
        making = await session.fetch(STORE, _MAKING)
        if making is None or making.value != earlier:
            raise StoreError(f"The unfinished store at {location} is not the one to continue.")
        return earlier
    await session.remove_all()  # including tokens and entries of audit logs
    mark = secrets.token_bytes(16)
    await session.insert(STORE, _MAKING, mark)
    return mark


async def finish_making(session: Transaction, location: StoreLocation, mark: bytes) -> None:
    """Mark the store as finished; raises StoreError if another process also makes it."""
    making = await session.fetch(STORE, _MAKING)
    if making is None or making.value != mark:
        raise StoreError(f"Another process also makes a store at {location}.")
    await session.remove(STORE, _MAKING)
    await session.insert(STORE, _REKEYED, b"")
    if location.path is not None:
        await session.insert(STORE, _STATISTICS, b"")  # the file was made with them
    await session.insert(STORE, _LAYOUT, LAYOUT.stored)


async def note_rekey(session: Transaction) -> bytes:
    """Record that the store gets another key; return the record."""
    note = secrets.token_bytes(16)
    await session.replace(STORE, _REKEYED, note)
    return note


async def require_not_rekeyed(session: Session, rekeyed: bytes) -> None:
    """Raise StoreUnavailable if the store's key has changed since the record `rekeyed`."""
    entry = await session.fetch(STORE, _REKEYED)
    if entry is not None and entry.value != rekeyed:
        raise StoreUnavailable("The store's key has changed: restart the service.")


async def read_layout(session: Session) -> None:
    """Read one small entry, to see that the store answers."""
    await session.fetch(STORE, _LAYOUT)


@asynccontextmanager
async def _session(store: Store, location: StoreLocation, use: str) -> AsyncIterator[Any]:
    """Open a session on the store's own profile; raises StoreError, whose message has `use`."""
    try:
        async with store.session() as session:
            yield session
    except AskarError:
        raise StoreError(f"The store at {location} cannot be {use}.") from None
