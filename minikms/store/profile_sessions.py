"""Work in sessions on the profiles of a store, which other processes may remove and make again."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final, TypeVar

from aries_askar import AskarError, AskarErrorCode, KeyAlg

from minikms.errors import AliasNotFound, KeyNotFound
from minikms.store.askar_errors import UndecryptableError
from minikms.store.cache import Cache
from minikms.store.counters import CONTENTS, ChangeCounters
from minikms.store.directory import (
    PROFILE,
    ProfileDirectory,
    StaleProfileError,
    require_profile,
)
from minikms.store.handle import SYSTEM, StoreHandle
from minikms.store.layout import read_layout
from minikms.store.permits import Permits
from minikms.store.rows import BATCH, Rows
from minikms.store.sessions import Entry, KeyEntry, Session, Transaction
from minikms.store.write_groups import Work, WriteFailed, WriteGroup, WriteQueues

ResultT = TypeVar("ResultT")

# Of how many profiles the last place is remembered.
_PLACES: Final = 1000


class ProfileSessions:
    """Sessions on profiles, by the names that tenants have, and on the store's own profile."""

    def __init__(
        self,
        handle: StoreHandle,
        permits: Permits,
        rows: Rows,
        directory: ProfileDirectory,
        counters: ChangeCounters,
    ) -> None:
        self.counters = counters
        self.directory = directory
        # Never valid where another process may have written, and its change is not counted yet.
        self._places = Cache[int](counters, _PLACES, ttl=0)
        self._handle = handle
        self._permits = permits
        self._rows = rows
        self._queues = WriteQueues(permits, self._commit)

    async def ping(self) -> None:
        """Return once the store has answered; in a transaction where the last one failed."""

        async def work() -> None:
            async with self._handle.own_session() as session:
                await read_layout(session)

        async def write() -> None:
            async with self._handle.transaction() as transaction:
                await read_layout(transaction)

        if self._handle.writes_fail:
            await self._permits.run(write(), write=True)
        else:
            await self._permits.run(work())

    async def run(
        self,
        profile: str,
        work: Callable[[Session], Awaitable[ResultT]],
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> ResultT:
        """The result of `work` in a session on a profile; with `write`, in its own transaction.

        `work` is called again where another process has removed the profile and made it again, and
        has `timeout` seconds where that is given. Raises ProfileNotFound.
        """
        attempt = partial(self._attempt, profile, work, write=write)
        return await self._permits.read_or_write(attempt, write=write, timeout=timeout)

    async def write(
        self, profile: str, work: Work[ResultT], *, timeout: float | None = None
    ) -> ResultT:
        """The result of `work`, which writes, in a transaction that it may share with others.

        `work` is called again like that of `run`, and where another write of its transaction has
        failed. With `timeout`, in seconds, it has that time and a transaction of its own. Raises
        ProfileNotFound.
        """
        if timeout is None:
            return await self._queues.run(profile, work)
        attempt = partial(self._attempt, profile, work, write=True)
        return await self._permits.read_or_write(attempt, write=True, timeout=timeout)

    async def run_own(
        self, work: Callable[[Session], Awaitable[ResultT]], *, write: bool = False
    ) -> ResultT:
        """The result of `work` in a session on the store's own profile; otherwise like `run`."""

        async def attempt() -> ResultT:
            if not write:
                async with self._handle.session() as session:
                    return await work(session)
            async with self._handle.transaction() as transaction:
                await self._handle.require_own_key(transaction)
                return await work(transaction)

        return await self._permits.read_or_write(attempt, write=write)

    async def batches(
        self, profile: str | None, category: str
    ) -> AsyncGenerator[list[Entry | None], None]:
        """All entries of a category in the order of rows, as they are now, in batches.

        `profile` None is the store's own. None stands for an entry that does not decrypt.
        """
        askar_profile = SYSTEM
        if profile is not None:
            askar_profile = await self.directory.checked_askar_profile(profile)
        async with aclosing(self._rows.batches(askar_profile, category)) as batches:
            async for batch in batches:
                yield batch

    async def askar_keys(self, profile: str) -> AsyncGenerator[list[KeyEntry] | None, None]:
        """All keys of Askar's: a few together, many one algorithm after the other.

        None stands for those of an algorithm of which one does not decrypt: Askar gives all of them
        or none.
        """
        few = None
        with suppress(UndecryptableError):
            few = await self.run(profile, partial(Session.all_keys, limit=BATCH + 1))
        if few is not None and len(few) <= BATCH:
            yield few
            return
        for alg in KeyAlg:
            try:
                found = await self.run(profile, partial(Session.all_keys, alg=alg))
            except UndecryptableError:
                yield None
            else:
                yield found

    async def _commit(self, profile: str, group: WriteGroup) -> None:
        """Do the writes of a group in one transaction, or each in its own where one has failed."""
        try:
            await self._attempt(profile, group.run, write=True)
        except WriteFailed as failed:
            for single in group.split(failed):
                try:
                    await self._attempt(profile, single.run, write=True)
                except WriteFailed as alone:
                    single.split(alone)
                except Exception as exc:
                    single.fail(exc)
                else:
                    single.succeed()
        else:
            group.succeed()

    async def _attempt(
        self, profile: str, work: Callable[[Any], Awaitable[ResultT]], *, write: bool
    ) -> ResultT:
        known = self.directory.known(profile) or await self.directory.look_up(profile)
        try:
            return await self._once(profile, known, work, write=write)
        except (AskarError, StaleProfileError) as exc:
            # How a session fails that outlives its profile depends on the database.
            unclear = AskarErrorCode.BACKEND, AskarErrorCode.BUSY, AskarErrorCode.NOT_FOUND
            if isinstance(exc, AskarError) and exc.code not in unclear:
                raise
            current = await self.directory.look_up(profile)
            if current == known:
                raise
        return await self._once(profile, current, work, write=write)

    async def _once(
        self,
        profile: str,
        askar_profile: str,
        work: Callable[[Any], Awaitable[ResultT]],
        *,
        write: bool,
    ) -> ResultT:
        if write:
            async with self._handle.transaction(askar_profile, profile) as transaction:
                transaction.set_stored_place(await self._last_place(transaction, askar_profile))
                result = await work(transaction)
            # While this process may still write, and no other.
            sources = (CONTENTS, profile), (PROFILE, profile)
            self._places.start_fill().fill(askar_profile, transaction.place, *sources)
            return result
        async with self._handle.session(askar_profile) as session:
            try:
                return await work(session)
            except (KeyNotFound, AliasNotFound):
                await require_profile(session)
                raise

    async def _last_place(self, transaction: Transaction, askar_profile: str) -> int:
        """The last place in a profile, which is read where it may not be what it was; 0 for none.

        Raises StaleProfileError where the profile no longer exists.
        """
        place = self._places.get(askar_profile) or await transaction.last_place()
        # SQLite gives the number of a removed profile to the next that is made, and a session that
        # still has it would write there. It does not find the place then.
        if not place:
            await require_profile(transaction)
        return place
