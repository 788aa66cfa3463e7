"""Permits to use a connection to the store, and time limits for calls that have one."""

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
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


@dataclass(slots=True, eq=False)
class _Call:
    """A call under way: whether it has sent a commit, or its caller has given up before that."""

    commit_sent: bool = False
    given_up: bool = False


_CURRENT: Final[contextvars.ContextVar[_Call | None]] = contextvars.ContextVar("call", default=None)


def begin_commit() -> None:
    """Note that the current call sends a commit.

    Raises StoreUnavailable if its caller has given up, and was told that nothing was changed.
    """
    if (call := _CURRENT.get()) is not None:
        if call.given_up:
            raise StoreUnavailable()
        call.commit_sent = True


class Pool(NamedTuple):
    """The state of the connections: how many there may be, and how many are in use.

    `waiting` are the calls that have none yet, `reopened` how often the store was reopened.
    """

    connections: int
    in_use: int
    waiting: int
    reopened: int


class _PermitSet:
    """The permits of one pool of connections; `unused` is set while none is in use."""

    def __init__(self, location: StoreLocation, writer_lock: WriterLock | None) -> None:
        self.in_use = 0
        self.unused = asyncio.Event()
        self.unused.set()
        connections = asyncio.Semaphore(location.max_connections)
        # Never every connection for writers, since writers of one profile wait for each other; and
        # one writer alone where the database takes no more.
        writers = location.max_connections // 2 if location.backend == "postgres" else 1
        self.reading: list[Permit] = [connections]
        self.writing: list[Permit] = [
            asyncio.Semaphore(max(writers, 1)),
            *([writer_lock] if writer_lock else []),
            connections,
        ]

    def take(self) -> None:
        """Count a connection as in use."""
        self.in_use += 1
        self.unused.clear()

    def release(self, permits: Iterable[Permit]) -> None:
        """Give permits back, of a connection that is no longer in use."""
        self.in_use -= 1
        if not self.in_use:
            self.unused.set()
        for permit in permits:
            permit.release()


class Permits:
    """As many permits as the store has connections, of which fewer may write.

    A call waits for its permit, and raises StoreUnavailable where it waits too long, or where the
    database does not answer in time. `timeout`, in seconds, replaces both limits, for maintenance
    that no caller waits for. `ready` is called before a permit is waited for, `prepare` with every
    permit that was granted, and `on_silence` if the database did not answer in time.
    """

    def __init__(
        self,
        location: StoreLocation,
        writer_lock: WriterLock | None,
        ready: Callable[[], Awaitable[None]],
        prepare: Callable[[], Awaitable[None]],
        on_silence: Callable[[], None],
        timeout: float | None = None,
    ) -> None:
        self.timeout = timeout or location.timeout + 0.5
        self.waiting = 0
        self._permit_timeout = timeout or PERMIT_TIMEOUT
        self._ready = ready
        self._prepare = prepare
        self._on_silence = on_silence
        self._location = location
        self._writer_lock = writer_lock
        self._calls: dict[asyncio.Task[Any], _Call] = {}
        self._current = _PermitSet(location, writer_lock)

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return self._current.in_use

    def renew(self) -> Coroutine[Any, Any, object]:
        """Count all permits as free, for a pool of new connections.

        Gives what waits until no permit of before is in use.
        """
        old, self._current = self._current, _PermitSet(self._location, self._writer_lock)
        return old.unused.wait()

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
            release = await self._acquire(write=write)
        except BaseException:
            call.close()
            raise
        task = self._start(call)

        def done(task: "asyncio.Task[ResultT]") -> None:
            release()
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
            if write or self._writer_lock is None:
                raise
        return await self.run(call(), write=True, timeout=timeout)

    async def run_held(self, call: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a call on a connection that is held already, and give its result."""
        return await self._result(self._start(call))

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold a permit to read until the end of the block."""
        release = await self._acquire(write=False)
        try:
            yield
        finally:
            release()

    async def drain(self) -> None:
        """Wait for the calls that are under way."""
        if self._calls:
            await asyncio.wait(self._calls)

    def _start(self, call: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        context, state = contextvars.copy_context(), _Call()
        context.run(_CURRENT.set, state)
        self._calls[task := asyncio.create_task(call, context=context)] = state
        task.add_done_callback(self._calls.pop)
        return task

    async def _acquire(self, *, write: bool) -> Callable[[], None]:
        """Wait for a permit; gives what releases it."""
        held = list[Permit]()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._permit_timeout):
                await self._ready()
                current = self._current
                for permit in current.writing if write else current.reading:
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
        current.take()
        return partial(current.release, held)

    async def _result(self, task: "asyncio.Task[ResultT]", timeout: float | None = None) -> ResultT:
        """The result of a call, which goes on by itself where it takes too long."""
        began, call = time.monotonic(), self._calls[task]
        finished, _ = await asyncio.wait({task}, timeout=timeout or self.timeout)
        if not finished:
            call.given_up = not call.commit_sent
            self._on_silence()
            raise StoreUnavailable("The key store does not answer.", unknown=call.commit_sent)
        try:
            return task.result()
        except AskarError as exc:
            if exc.code in (AskarErrorCode.BACKEND, AskarErrorCode.BUSY):
                # Askar's pool may have got no connection, since those that hang are in it.
                if time.monotonic() - began >= self._location.timeout:
                    self._on_silence()
                raise StoreUnavailable(unknown=call.commit_sent) from exc
            raise
