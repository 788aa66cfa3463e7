"""Permits to use a connection to the store, and time limits for calls that have one."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from aries_askar import AskarError, AskarErrorCode

from minikms.errors import StoreUnavailable
from minikms.store.location import StoreLocation
from minikms.store.writer_lock import WriterLock

LOGGER = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# In seconds: how long a call waits for its permit, and how long what concerns all keys of a profile
# or of the store may take.
PERMIT_TIMEOUT: Final = 2.0
LONG_TIMEOUT: Final = 60.0

Permit: TypeAlias = asyncio.Semaphore | WriterLock


class Pool(NamedTuple):
    """The state of the connections: how many there may be, and how many are in use.

    `waiting` are the calls that have none yet, `reopened` how often the store was reopened.
    """

    connections: int
    in_use: int
    waiting: int
    reopened: int


class Permits:
    """As many permits as the store has connections, of which fewer may write.

    A call waits for its permit, and raises StoreUnavailable where it waits too long, or where the
    database does not answer in time. `timeout`, in seconds, replaces both limits, for maintenance
    that no caller waits for. `prepare` is called with every permit that was granted.
    """

    def __init__(
        self,
        location: StoreLocation,
        writer_lock: WriterLock | None,
        prepare: Callable[[], Awaitable[None]],
        timeout: float | None = None,
    ) -> None:
        self.timeout = timeout or location.timeout + 0.5
        self.in_use = self.waiting = 0
        self._permit_timeout = timeout or PERMIT_TIMEOUT
        self._prepare = prepare
        self._calls: set[asyncio.Task[Any]] = set()
        self._connections = asyncio.Semaphore(location.max_connections)
        # Never every connection for writers, since writers of one profile wait for each other; and
        # one writer alone where the database takes no more.
        writers = location.max_connections // 2 if location.backend == "postgres" else 1
        self._reading: list[Permit] = [self._connections]
        self._writing: list[Permit] = [
            asyncio.Semaphore(max(writers, 1)),
            *([writer_lock] if writer_lock else []),
            self._connections,
        ]
        self._has_writer_lock = writer_lock is not None

    async def run(
        self,
        call: Coroutine[Any, Any, ResultT],
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> ResultT:
        """Run a call of Askar's with a permit, and give its result.

        The call goes on where its caller stops waiting: Askar's calls cannot be cancelled, and its
        session must be closed.
        """
        try:
            held = await self._acquire(self._writing if write else self._reading)
        except BaseException:
            call.close()
            raise
        task = self._start(call)

        def done(task: "asyncio.Task[ResultT]") -> None:
            self._release(held)
            if not task.cancelled() and isinstance(task.exception(), AskarError):
                LOGGER.debug("the store refused a call: %s", task.exception())

        task.add_done_callback(done)
        return await self._result(task, timeout)

    async def read_or_write(
        self,
        call: Callable[[], Coroutine[Any, Any, ResultT]],
        *,
        write: bool,
        timeout: float | None = None,
    ) -> ResultT:
        """Run a call; one that reads an SQLite file is tried again with the writer lock.

        Reading needs no such lock, but the connection that is opened for it may.
        """
        try:
            return await self.run(call(), write=write, timeout=timeout)
        except StoreUnavailable:
            if write or not self._has_writer_lock:
                raise
        return await self.run(call(), write=True, timeout=timeout)

    async def run_held(self, call: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a call on a connection that is held already, and give its result."""
        return await self._result(self._start(call))

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold a permit to read until the end of the block."""
        held = await self._acquire(self._reading)
        try:
            yield
        finally:
            self._release(held)

    async def drain(self) -> None:
        """Wait for the calls that are under way."""
        if self._calls:
            await asyncio.wait(self._calls)

    def _start(self, call: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        self._calls.add(task := asyncio.create_task(call))
        task.add_done_callback(self._calls.discard)
        return task

    async def _acquire(self, permits: Iterable[Permit]) -> list[Permit]:
        held: list[Permit] = []
        self.waiting += 1
        try:
            async with asyncio.timeout(self._permit_timeout):
                for permit in permits:
                    await permit.acquire()
                    held.append(permit)
            await self._prepare()
        except BaseException as exc:
            for permit in held:
                permit.release()
            if isinstance(exc, TimeoutError):
                raise StoreUnavailable("Too many calls wait for the key store.") from None
            raise
        finally:
            self.waiting -= 1
        self.in_use += 1
        return held

    def _release(self, held: Iterable[Permit]) -> None:
        self.in_use -= 1
        for permit in held:
            permit.release()

    async def _result(self, task: "asyncio.Task[ResultT]", timeout: float | None = None) -> ResultT:
        """The result of a call, which goes on by itself where it takes too long."""
        finished, _ = await asyncio.wait({task}, timeout=timeout or self.timeout)
        if not finished:
            raise StoreUnavailable("The key store does not answer.")
        try:
            return task.result()
        except AskarError as exc:
            if exc.code in (AskarErrorCode.BACKEND, AskarErrorCode.BUSY):
                raise StoreUnavailable() from exc
            raise
