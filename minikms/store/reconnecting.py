"""New connections to a PostgreSQL whose old ones are dead.

Connections may die without a word, by a network that drops packets, or a proxy or a server that
stands still: calls of Askar's, which cannot be cancelled, then hang for as long as TCP does, a
quarter of an hour and more. After a restart of the server, each old connection fails one call.
"""

import asyncio
import logging
import math
import time
from contextlib import suppress
from typing import Final

from aries_askar import Store

from minikms.startup_errors import StoreError
from minikms.store.askar import no_answer
from minikms.store.counters import ChangeCounters
from minikms.store.handle import StoreHandle
from minikms.store.location import StoreLocation
from minikms.store.permits import Permits

LOGGER = logging.getLogger(__name__)

# In seconds: how long between attempts that fail, and how long at least between those that succeed,
# since a server that is only slow is not helped by more connections.
_PAUSE: Final = 1.0
_LONG_PAUSE: Final = 5.0

# How long a call waits for new connections, in seconds, before it tries the old ones.
_WAIT: Final = 1.5

# How many old pools may wait for calls that hang. Beyond it, no new one is opened until one of
# these is closed, which TCP has happen in the end.
_MOST_OLD: Final = 5


class Reconnector:
    """Opens the store again, in the background, if its connections are dead or do not answer.

    The new pool has permits of its own, and the old one is closed once its calls have ended.
    """

    def __init__(
        self,
        location: StoreLocation,
        handle: StoreHandle,
        permits: Permits,
        counters: ChangeCounters,
    ) -> None:
        self._location = location
        self._handle = handle
        self._permits = permits
        self._counters = counters
        self._task: asyncio.Task[None] | None = None
        self._replaced_at = -math.inf
        self._alive = asyncio.Event()
        self._alive.set()

    def on_silence(self) -> None:
        """Open the store again after a call that had no answer, unless that was just done."""
        if not self._is_opening() and time.monotonic() - self._replaced_at >= _LONG_PAUSE:
            LOGGER.warning("%s does not answer: connecting again", self._location)
            self._task = asyncio.create_task(self._reconnect())

    def on_loss(self) -> None:
        """Open the store again after a connection ended: all others have ended with it."""
        self._alive.clear()
        if not self._is_opening():
            self._task = asyncio.create_task(self._reconnect())

    async def wait(self) -> None:
        """Wait a little for new connections if all are known to have ended."""
        if not self._alive.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT):
                    await self._alive.wait()

    def _is_opening(self) -> bool:
        return self._task is not None and not self._task.done()

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _reconnect(self) -> None:
        said = set[str]()
        while True:
            why = f"{len(self._handle.closing)} pools of connections wait for calls that hang"
            if len(self._handle.closing) < _MOST_OLD:
                try:
                    store = await self._open()
                    break
                except StoreError as exc:
                    why = str(exc)
            if why not in said:
                LOGGER.warning("no new connections: %s", why)
                said.add(why)
            await asyncio.sleep(_PAUSE)
        self._handle.replace(store, self._permits.renew())
        self._counters.count()  # it may be another server, or what hung was done
        self._replaced_at = time.monotonic()
        self._alive.set()
        LOGGER.warning("%s answers again, on new connections", self._location)

    async def _open(self) -> Store:
        opening = asyncio.create_task(self._handle.open_again())
        try:
            await asyncio.wait({opening}, timeout=self._permits.timeout)
            if opening.done():
                return opening.result()
        finally:
            if not opening.done():
                self._handle.close_later(_discard(opening))
        raise StoreError(no_answer(self._location))


async def _discard(opening: "asyncio.Task[Store]") -> None:
    """Close a store that nobody waits for any more, once it is open."""
    with suppress(StoreError):
        await (await opening).close()
