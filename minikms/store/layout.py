"""What a store says of itself: its layout, whether it is finished, and its last change of key."""

import secrets
from typing import Final

from aries_askar import AskarError, Store

from minikms.errors import StoreUnavailable
from minikms.startup_errors import StoreError
from minikms.store.location import StoreLocation
from minikms.store.sessions import Session

# The layout of what is in a store, raised where an older service would misread it.
LAYOUT: Final = 1

# The category of these entries, in the store's own profile.
STORE: Final = "minikms.store"
_LAYOUT, _REKEYED, _MAKING = "layout", "rekeyed", "making"


async def check_layout(store: Store, location: StoreLocation) -> tuple[int, bytes]:
    """The store's layout, and its note of its last change of key.

    Raises StoreError for a store that is not ours, or of a layout that is not known here.
    """
    try:
        async with store.session() as session:
            layout = await session.fetch(STORE, _LAYOUT)
            rekeyed = await session.fetch(STORE, _REKEYED)
    except AskarError:
        raise StoreError(f"The store at {location} cannot be read.") from None
    if layout is None or rekeyed is None:
        raise StoreError(
            f"The store at {location} was never finished, or is not one of Mini KMS: "
            "what made it can be run again."
        )
    version = int(layout.value)
    if version > LAYOUT:
        raise StoreError(
            f"The store at {location} has the layout {version} of a newer Mini KMS; "
            f"this one knows {LAYOUT}."
        )
    return version, rekeyed.value


async def begin_making(session: Session, location: StoreLocation) -> bytes:
    """Empty the store's own profile, and mark the store as one that is being made.

    Gives the mark, which is this maker's alone. Raises StoreError where the store is finished.
    """
    if await session.fetch(STORE, _LAYOUT) is not None:
        raise StoreError(f"There is a store at {location} already.")
    await session.remove_all()  # tokens, and what belongs to audit logs, too
    mark = secrets.token_bytes(16)
    await session.insert(STORE, _MAKING, mark)
    return mark


async def finish_making(session: Session, location: StoreLocation, mark: bytes) -> None:
    """Mark the store as finished; raises StoreError where another process makes it, too."""
    making = await session.fetch(STORE, _MAKING)
    if making is None or making.value != mark:
        raise StoreError(f"The store at {location} is being made elsewhere too.")
    await session.remove(STORE, _MAKING)
    await session.insert(STORE, _REKEYED, b"")
    await session.insert(STORE, _LAYOUT, str(LAYOUT))


async def note_rekey(session: Session) -> bytes:
    """Note that the store gets another key; gives the note."""
    note = secrets.token_bytes(16)
    await session.replace(STORE, _REKEYED, note)
    return note


async def require_not_rekeyed(session: Session, rekeyed: bytes) -> None:
    """Raise StoreUnavailable where the store's note of its last change of key is another one."""
    entry = await session.fetch(STORE, _REKEYED)
    if entry is not None and entry.value != rekeyed:
        raise StoreUnavailable("The store has got another key: restart the service.")


async def read_layout(session: Session) -> None:
    """Read one small entry, to see that the store answers."""
    await session.fetch(STORE, _LAYOUT)
