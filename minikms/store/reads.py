"""The way of a read of a key: in a session that reads of a profile hand from one to the next.

A session costs more than most reads do in it. A read that comes alone begins one, and does not
wait. While it reads, others of its profile wait, and get its session. Between reads it stays open
for a moment. Only reads of a few entries come this way, since others wait for them.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from aries_askar import AskarError, AskarErrorCode, Store

from minikms.errors import KmsError, StoreUnavailable
from minikms.store.calls import LOST, StoreCalls
from minikms.store.entries import DueError
from minikms.store.pool import ACQUIRE_TIMEOUT
from minikms.store.sessions import Session

ResultT = TypeVar("ResultT")
Read: TypeAlias = Callable[[Session], Awaitable[ResultT]]

# The number of reads that wait for each session of a profile before the next read begins another.
_EACH: Final = 4

# Seconds that a session is used. The next one is on a connection that the pool has checked again.
_LONGEST: Final = 0.25

# Seconds after which a read begins a session of its own if none was handed on: they may hang.
_PATIENCE: Final = 0.5

# Seconds between two attempts to close a session that Askar still uses.
_PAUSE: Final = 0.05


@dataclass(slots=True, eq=False)
class _Shared:
    """A session on a profile, which `opening` opens on a connection of `store`.

    `is_old` says that its time is over.
    """

    store: Store
    opening: "asyncio.Task[Any]"
    release: Callable[[], None]
    session: Session | None = None
    is_old: bool = False

    async def close(self) -> None:
        """Close the session once no call of Askar's uses it, and release its connection then.

        A read may be over before its call, which cannot be cancelled.
        """
        try:
            session = await self.opening
            while True:
                try:
                    await session.close()
                    return
                except AskarError as exc:
                    if exc.code is not AskarErrorCode.BUSY:
                        raise
                await asyncio.sleep(_PAUSE)
        finally:
            self.release()


# A read waits for a session, or for None if it is to begin one, which is counted already.
_Waiting: TypeAlias = asyncio.Future[_Shared | None]


@dataclass(slots=True, eq=False)
class _Profile:
    """The sessions on one of Askar's profiles, and the reads that wait for one of them.

    `sessions` counts them, `idle` has those that no read uses, and `handed_on` counts how often a
    read gave its session to the next.
    """

    askar_profile: str
    sessions: int = 0
    handed_on: int = 0
    idle: list[_Shared] = field(default_factory=list)
    waiting: deque[_Waiting] = field(default_factory=deque)

    def next(self) -> _Waiting | None:
        """The read that has waited longest, unless none waits; callers who are gone do not."""
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                return future
        return None

    def look(self, future: _Waiting, handed_on: int, until: float) -> None:
        """Let a read begin a session if none was handed on; refuse it if it has waited too long."""
        if future.done():
            return
        loop = future.get_loop()
        if loop.time() > until:
            self.waiting.remove(future)
            future.set_exception(StoreUnavailable("Too many calls wait for the key store."))
        elif handed_on == self.handed_on:
            self.waiting.remove(future)
            self.sessions += 1
            future.set_result(None)
        else:
            loop.call_later(_PATIENCE, self.look, future, self.handed_on, until)


class Reads:
    """Reads in profiles: those that wait at the same time have few sessions."""

    def __init__(self, calls: StoreCalls) -> None:
        self._calls = calls
        self._pool = calls.pool
        # The other connections are for writes and listings.
        self._most_idle = calls.pool.location.max_connections // 2
        self._most = max(self._most_idle, 1)
        self._profiles: dict[str, _Profile] = {}
        # The longest idle one first.
        self._idle: OrderedDict[_Shared, _Profile] = OrderedDict()
        calls.pool.on_short = self._close_longest_idle

    async def shared(self, askar_profile: str, work: Read[ResultT]) -> ResultT:
        """The result of `work` in a session on one of Askar's profiles.

        Raises StoreUnavailable after a time limit, and AskarError, also if the session, which may
        be older than the call, is lost.
        """
        shared = self._take_idle(askar_profile)
        profile = self._profiles.get(askar_profile)
        if profile is None:
            profile = self._profiles[askar_profile] = _Profile(askar_profile)
        if shared is None:
            if profile.sessions >= self._most or len(profile.waiting) < _EACH * profile.sessions:
                shared = await self._wait(profile)
            else:
                profile.sessions += 1
        began = time.monotonic()
        try:
            if shared is None:
                shared = await self._begin(askar_profile)
                began = time.monotonic()  # it may have waited for a connection
            async with asyncio.timeout(self._pool.timeout):
                if shared.session is None:
                    sealing_key = self._calls.sealing_keys.get(askar_profile, b"")
                    opened = await asyncio.shield(shared.opening)
                    shared.session = Session(opened, sealing_key)
                result = await work(shared.session)
        except (KmsError, DueError):
            self._end(profile, shared)
            raise
        except BaseException as exc:
            self._close(profile, shared)
            lost = isinstance(exc, AskarError) and exc.code in LOST
            late = lost and time.monotonic() - began >= self._pool.location.timeout
            if late or isinstance(exc, TimeoutError):
                self._pool.on_silence()
                raise StoreUnavailable("The key store does not answer.") from exc
            raise
        self._end(profile, shared)
        return result

    async def _wait(self, profile: _Profile) -> _Shared | None:
        """Wait for a session; None if the caller is to begin one."""
        loop = asyncio.get_running_loop()
        future: _Waiting = loop.create_future()
        profile.waiting.append(future)
        until = loop.time() + ACQUIRE_TIMEOUT
        timer = loop.call_later(_PATIENCE, profile.look, future, profile.handed_on, until)
        try:
            return await future
        except asyncio.CancelledError:
            # Unless a session was given, or the read refused, at the same moment.
            if not future.cancelled() and future.exception() is None:
                self._end(profile, future.result())
            raise
        finally:
            timer.cancel()

    async def _begin(self, askar_profile: str) -> _Shared:
        """Begin a session as soon as a connection is free."""
        release = await self._pool.acquire(write=False)
        store = self._pool.store
        shared = _Shared(store, asyncio.create_task(_opened(store, askar_profile)), release)
        asyncio.get_running_loop().call_later(_LONGEST, self._expire, shared)
        return shared

    def _take_idle(self, askar_profile: str) -> _Shared | None:
        """An idle session on a profile; closes those that may not be used any more."""
        while (profile := self._profiles.get(askar_profile)) is not None and profile.idle:
            shared = profile.idle.pop()
            del self._idle[shared]
            if self._is_valid(shared):
                return shared
            self._close(profile, shared)
        return None

    def _end(self, profile: _Profile, shared: _Shared | None) -> None:
        """Hand a session on, or keep it idle for a moment, unless it may not be used any more."""
        if shared is None or self._pool.is_short or not self._is_valid(shared):
            self._close(profile, shared)
        elif (future := profile.next()) is not None:
            profile.handed_on += 1
            future.set_result(shared)
        else:
            profile.idle.append(shared)
            self._idle[shared] = profile
            if len(self._idle) > self._most_idle:
                self._close_longest_idle()

    def _is_valid(self, shared: _Shared) -> bool:
        """Tell whether a session is not old, and is one of the present connections."""
        return not shared.is_old and shared.store is self._pool.store

    def _expire(self, shared: _Shared) -> None:
        """End the time of a session; the read that has it closes it."""
        shared.is_old = True
        self._close_idle(shared)

    def _close_longest_idle(self) -> None:
        if self._idle:
            self._close_idle(next(iter(self._idle)))

    def _close_idle(self, shared: _Shared) -> None:
        """Close a session if it is idle."""
        profile = self._idle.pop(shared, None)
        if profile is not None:
            profile.idle.remove(shared)
            self._close(profile, shared)

    def _close(self, profile: _Profile, shared: _Shared | None) -> None:
        """Close a session; the next read begins another one."""
        if shared is not None:
            self._calls.begin(shared.close())
        if (future := profile.next()) is not None:
            future.set_result(None)
            return
        profile.sessions -= 1
        if not profile.sessions:
            del self._profiles[profile.askar_profile]

    def close(self) -> None:
        """Close the idle sessions."""
        while self._idle:
            self._close_longest_idle()


async def _opened(store: Store, askar_profile: str) -> Any:
    session: Any = store.session(askar_profile)  # its annotations are wrong
    return await session
