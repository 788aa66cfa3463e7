"""Reads keys: reads that wait at the same time share a session, and end together.

A session costs more than most reads in it, and waking callers together costs less than waking them
one by one. So a task with a session does a few waiting reads, one after the other, and then wakes
their callers. Between reads, the session stays open for a moment. Use it only for reads of a few
entries, since others wait for them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from aries_askar import AskarError

from minikms.errors import KmsError, StoreUnavailable
from minikms.events import CURRENT, AuditEvent
from minikms.store.askar.sessions import Session
from minikms.store.connections.calls import LOST, StoreCalls

ResultT = TypeVar("ResultT")
Read: TypeAlias = Callable[[Session], Awaitable[ResultT]]

# The number of reads that end together.
_MOST: Final = 8

# The number of reads that wait for each session of a profile before another one begins.
_EACH: Final = 4

# Seconds that a session is used. The next one is on a connection that the pool has checked again.
_LONGEST: Final = 0.25

# Seconds that other reads wait for a read, which may hang.
_PATIENCE: Final = 0.5


class AnsweredError(Exception):
    """An error of a read that the store has answered: the next read may use its session."""


@dataclass(slots=True, eq=False, repr=False)
class _Waiting:
    """A queued read: its work, its audit event, its future, and queueing time `since`.

    The value of the future may be secret.
    """

    work: Read[Any]
    future: "asyncio.Future[Any]"
    event: AuditEvent | None
    since: float
    value: Any = None
    error: Exception | None = None

    def wake(self) -> None:
        """Give the caller the value or the error, unless it has one or is gone."""
        if self.error is not None:
            self.fail(self.error)
        elif not self.future.done():
            self.future.set_result(self.value)

    def fail(self, exc: Exception) -> None:
        """Raise `exc` for the caller, unless it has a result or is gone."""
        if not self.future.done():
            self.future.set_exception(exc)


@dataclass(slots=True, eq=False)
class _Reader:
    """A task with a session of Askar's, once it is open.

    `read` is under way since `began`, and None once its time is over. `done` have ended, but their
    callers wait for the others. `idle` is the future that an idle reader waits for. `is_old` says
    that the session ends after this read.
    """

    session: Any = None
    read: _Waiting | None = None
    began: float = 0
    done: list[_Waiting] = field(default_factory=list)
    idle: "asyncio.Future[None] | None" = None
    is_old: bool = False

    def wake_callers(self) -> None:
        """Give the callers their results: they go on in the same turn of the event loop."""
        for read in self.done:
            read.wake()
        self.done.clear()


@dataclass(slots=True, eq=False)
class _Profile:
    """The readers of one of Askar's profiles, and the waiting reads.

    `moved` is the time when a read ended, or a reader began.
    """

    askar_profile: str
    moved: float = 0
    readers: list[_Reader] = field(default_factory=list)
    waiting: deque[_Waiting] = field(default_factory=deque)

    def next(self) -> _Waiting | None:
        """The read that has waited longest, unless none waits; callers who are gone do not."""
        while self.waiting:
            read = self.waiting.popleft()
            if not read.future.done():
                return read
        return None


class Reads:
    """Runs reads in profiles, in few sessions."""

    def __init__(self, calls: StoreCalls) -> None:
        self._calls = calls
        self._pool = calls.pool
        # The other connections are for writes and listings.
        self._most_idle = calls.pool.location.max_connections // 2
        self._most = max(self._most_idle, 1)
        self._profiles: dict[str, _Profile] = {}
        # The longest idle one first.
        self._idle: dict[_Reader, None] = {}
        calls.pool.on_short = self._close_longest_idle

    async def shared(self, askar_profile: str, work: Read[ResultT]) -> ResultT:
        """The result of `work` in a session on one of Askar's profiles.

        Raises StoreUnavailable after a time limit, and AskarError, also if the session, which may
        be older than the call, is lost.
        """
        loop = asyncio.get_running_loop()
        profile = self._profiles.get(askar_profile)
        if profile is None:
            profile = self._profiles[askar_profile] = _Profile(askar_profile)
            self._look(profile)
        future: asyncio.Future[ResultT] = loop.create_future()
        profile.waiting.append(_Waiting(work, future, CURRENT.get(), loop.time()))
        readers = profile.readers
        for reader in readers:
            if reader.idle is not None:
                self._wake(reader)
                break
        else:
            if len(profile.waiting) > _EACH * len(readers) and len(readers) < self._most:
                self._begin(profile)
        return await future

    @property
    def is_busy(self) -> bool:
        """Tell whether a read waits or is under way."""
        return any(
            profile.waiting or any(reader.read for reader in profile.readers)
            for profile in self._profiles.values()
        )

    def _begin(self, profile: _Profile) -> None:
        """Begin a reader, which goes on if nobody waits for it."""
        profile.readers.append(reader := _Reader())
        profile.moved = asyncio.get_running_loop().time()
        self._calls.begin(self._serve(profile, reader))

    async def _serve(self, profile: _Profile, reader: _Reader) -> None:
        """Do reads of a profile in a session, as long as it may be used."""
        try:
            release = await self._pool.acquire(write=False)
        except Exception as exc:
            if (read := profile.next()) is not None:
                read.fail(exc)
            self._leave(profile, reader)
            return
        try:
            store = self._pool.store
            opening: Any = store.session(profile.askar_profile)  # its annotations are wrong
            asyncio.get_running_loop().call_later(_LONGEST, self._expire, reader)
            while not reader.is_old and store is self._pool.store:
                await self._do_some(profile, reader, opening)
                if self._pool.is_short:
                    break
                if not profile.waiting and not reader.is_old:
                    await self._rest(reader)
        finally:
            self._leave(profile, reader)
            try:
                if reader.session is not None:
                    await reader.session.close()
            finally:
                release()

    async def _do_some(self, profile: _Profile, reader: _Reader, opening: Awaitable[Any]) -> None:
        """Do a few waiting reads, then wake their callers; the first read opens the session."""
        loop = asyncio.get_running_loop()
        sealing_key = self._calls.sealing_keys.get(profile.askar_profile, b"")
        while (read := profile.next()) is not None:
            reader.read, reader.began = read, loop.time()
            CURRENT.set(read.event)
            try:
                if reader.session is None:
                    reader.session = await opening
                read.value = await read.work(Session(reader.session, sealing_key))
            except (KmsError, AnsweredError) as exc:
                read.error = exc
            except Exception as exc:
                reader.is_old = True
                read.error = exc
                took = loop.time() - reader.began
                is_final = took >= self._pool.location.statement_timeout  # no time for another one
                if is_final and isinstance(exc, AskarError) and exc.code in LOST:
                    read.error = self._pool.on_error(exc, took)()
            self._pool.observe("read", loop.time() - reader.began)
            reader.read, profile.moved = None, loop.time()
            reader.done.append(read)
            if reader.is_old or len(reader.done) == _MOST:
                break
        reader.wake_callers()

    def _rest(self, reader: _Reader) -> "asyncio.Future[None]":
        """Keep a session idle until a read comes, or until it is to be closed."""
        reader.idle = idle = asyncio.get_running_loop().create_future()
        self._idle[reader] = None
        if len(self._idle) > self._most_idle:
            self._close_longest_idle()
        return idle

    def _wake(self, reader: _Reader) -> None:
        """Wake a reader if it is idle."""
        if reader.idle is not None:
            del self._idle[reader]
            reader.idle.set_result(None)
            reader.idle = None

    def _expire(self, reader: _Reader) -> None:
        """End the time of a session; if a read uses it, after that."""
        reader.is_old = True
        self._wake(reader)

    def _close_longest_idle(self) -> None:
        if self._idle:
            self._expire(next(iter(self._idle)))

    def _leave(self, profile: _Profile, reader: _Reader) -> None:
        """Remove a reader; begin another one if reads wait."""
        if reader not in profile.readers:
            return
        profile.readers.remove(reader)
        if profile.waiting:
            self._begin(profile)
        elif not profile.readers:
            del self._profiles[profile.askar_profile]

    def _look(self, profile: _Profile) -> None:
        """Refuse reads that wait or hang for too long; begin a reader beside a hanging one."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for reader in list(profile.readers):  # one may begin or leave
            if reader.read is None or now - reader.began <= _PATIENCE:
                continue
            reader.wake_callers()
            if now - reader.began > self._pool.timeout:
                reader.read.fail(StoreUnavailable("The key store does not answer."))
                reader.read, reader.is_old = None, True
                self._pool.on_silence()
                self._leave(profile, reader)
        waiting = profile.waiting
        while waiting and now - waiting[0].since > self._pool.acquire_timeout:
            waiting.popleft().fail(StoreUnavailable("Too many calls wait for the key store."))
        if waiting and now - profile.moved > _PATIENCE:
            self._begin(profile)
        if self._profiles.get(profile.askar_profile) is profile:
            loop.call_later(_PATIENCE / 5, self._look, profile)

    def close(self) -> None:
        """Close the idle sessions."""
        while self._idle:
            self._close_longest_idle()
