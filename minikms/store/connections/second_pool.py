"""Opens a second pool of connections, to replace a pool that does not answer."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

from aries_askar import AskarError, Store

from minikms.startup_errors import StoreError
from minikms.store.askar.layout import check_layout, read_layout
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sessions import Transaction
from minikms.store.askar.stores import no_answer, open_store

# Closes a store in the background.
CloseLater: TypeAlias = Callable[[Coroutine[Any, Any, object]], None]


async def open_second(
    location: StoreLocation, key: StoreKey, timeout: float, close_later: CloseLater
) -> Store:
    """Open a second pool of connections on a store, and commit a transaction there.

    After `timeout` seconds, the pool is given to `close_later`. Raises StoreError.
    """
    opening = asyncio.create_task(_open_writable(location, key))
    try:
        await asyncio.wait({opening}, timeout=timeout)
        if opening.done():
            return opening.result()
    finally:
        if not opening.done():
            close_later(_discard(opening))
    raise StoreError(no_answer(location))


async def close_after(unused: asyncio.Event, store: Store) -> None:
    """Close a store once its connections are unused."""
    await unused.wait()
    await store.close()


async def _open_writable(location: StoreLocation, key: StoreKey) -> Store:
    """Open a second pool; raises StoreError unless a transaction can be committed there."""
    store = await open_store(location, key)
    try:
        await check_layout(store, location)
        async with store.transaction() as opened:
            transaction = Transaction(opened, None, [])
            await read_layout(transaction)
            await transaction.commit()
    except (StoreError, AskarError) as exc:
        await store.close()
        if isinstance(exc, StoreError):
            raise
        raise StoreError(f"The store at {location} cannot be written.") from None
    return store


async def _discard(opening: "asyncio.Task[Store]") -> None:
    """Close a store that nobody waits for any more, once it is open."""
    with suppress(StoreError):
        await (await opening).close()
