"""An Askar store as this service uses it; the only module that opens Askar sessions.

Askar's own profiles have random names. A directory, kept in the profile `minikms`, says which of
them is the tenant's: Askar keeps the keys of profiles in each process by their names, and would go
on using those of a profile that another process has deleted and made again.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn, Self, TypeAlias, TypeVar

from aries_askar import AskarError, AskarErrorCode, Entry, Session, Store
from aries_askar.store import Scan

from minikms import events
from minikms.errors import (
    AliasNotFound,
    AuditUnavailable,
    KeyNotFound,
    KeyUnreadable,
    ProfileExists,
    ProfileNotFound,
    StoreUnavailable,
)
from minikms.startup_errors import StoreError
from minikms.store import notices
from minikms.store.askar import (
    DuplicateError,
    UndecryptableError,
    check_key,
    listed,
    open_store,
    provision_store,
)
from minikms.store.counters import CONTENTS, ChangeCounters, FileChangeCounters, slot_of
from minikms.store.location import StoreKey, StoreLocation
from minikms.store.writer_lock import WriterLock

LOGGER = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# The layout of what is in a store, raised where an older service would misread it.
LAYOUT: Final = 1

_SYSTEM: Final = "minikms"
_STORE, PROFILE = "minikms.store", "minikms.profile"

# What has this category changes with each new key, which nobody depends on by itself.
SEQUENCE: Final = "minikms.sequence"

_LAYOUT, _REKEYED, _MAKING, _SELF = "layout", "rekeyed", "making", "self"
_REMOVED = b"-"

# How long a call waits for its turn, how long what concerns all keys of a profile or of the store
# may take, and how long an opening waits for whoever writes, in seconds.
_TURN: Final = 2.0
LONG: Final = 60.0
_OPENING: Final = 5.0

# Rows that are read from a cursor in one step.
BATCH: Final = 256


class StaleProfileError(Exception):
    """The Askar profile that was taken for the tenant's is there no more."""


class Directory(NamedTuple):
    """What the directory says: Askar's name of each profile.

    `removed` are those whose removal was cut short, `unreadable` how many entries do not decrypt.
    """

    homes: dict[str, str]
    removed: dict[str, str]
    unreadable: int


class Pool(NamedTuple):
    """What goes on at the connections to the store: how many there may be, and are in use.

    `waiting` are the calls without one, `reopened` how often all of them were made anew.
    """

    connections: int
    in_use: int
    waiting: int
    reopened: int


Turn: TypeAlias = asyncio.Semaphore | WriterLock


class _Transaction(Session):
    """A transaction that notes what it replaces and removes, and that it writes in a profile.

    What it inserts was not there, and nobody remembers of any one entry that it is not there.
    `profile` is None for the store's own.
    """

    def __init__(self, session: Session, profile: str | None) -> None:
        super().__init__(session._store, session.handle, session.is_transaction)
        self._profile = profile
        self.changed: set[int] = set()

    async def insert(self, category: str, name: str, *args: Any, **kwargs: Any) -> None:
        self._note_contents()
        await super().insert(category, name, *args, **kwargs)

    async def replace(self, category: str, name: str, *args: Any, **kwargs: Any) -> None:
        self._note(category, name)
        await super().replace(category, name, *args, **kwargs)

    async def remove(self, category: str, name: str) -> None:
        self._note(category, name)
        await super().remove(category, name)

    async def remove_all(self, *args: Any, **kwargs: Any) -> int:
        self._note_contents()
        removed: int = await super().remove_all(*args, **kwargs)
        return removed

    def _note(self, category: str, name: str) -> None:
        if category != SEQUENCE:
            self.changed.add(slot_of(category, name))
        self._note_contents()

    def _note_contents(self) -> None:
        if self._profile is not None:
            self.changed.add(slot_of(CONTENTS, self._profile))


class Database:
    """An opened Askar store.

    A call waits for its turn, of which there are as many as connections, and raises
    StoreUnavailable where it takes too long, or where the database does not answer. `patient`
    makes that a minute, for whoever has no caller that waits.
    """

    def __init__(
        self,
        store: Store,
        location: StoreLocation,
        key: StoreKey,
        writer_lock: WriterLock | None,
        counters: ChangeCounters,
        *,
        patient: bool = False,
        layout: int = LAYOUT,
        rekeyed: bytes = b"",
    ) -> None:
        self._store = store
        self._location = location
        self._key = key
        self.counters = counters
        self._patient = patient
        self._patience = LONG if patient else location.patience + 0.5
        self.layout = layout
        self._rekeyed = rekeyed
        self._making = b""
        self._profiles: dict[str, str] = {}
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[Any]] = set()
        self._turns = asyncio.Semaphore(location.max_connections)
        # Never every connection for writers, since those of one profile wait for each other; and
        # one alone where the database takes no more.
        writers = location.max_connections // 2 if location.backend == "postgres" else 1
        self._write_turns: list[Turn] = [
            asyncio.Semaphore(max(writers, 1)),
            *([writer_lock] if writer_lock else []),
            self._turns,
        ]
        self._file_turn = writer_lock
        self._sound = True
        self._reopening = asyncio.Lock()
        self._in_use = self._waiting = self._reopened = 0

    # Opening and making

    @classmethod
    @asynccontextmanager
    async def open(
        cls, location: StoreLocation, key: StoreKey, *, patient: bool = False
    ) -> AsyncIterator[Self]:
        """The store that is there; raises StoreError, and changes nothing."""
        writer_lock = None
        if location.path and location.path.is_file():
            writer_lock = WriterLock(location.path)
            # A connection is not made while another process writes.
            try:
                async with asyncio.timeout(_OPENING):
                    await writer_lock.acquire()
            except TimeoutError:
                raise StoreError(f"Another process keeps the store at {location}.") from None
        try:
            store = await open_store(location, key)
            layout, rekeyed = await _check_layout(store, location)
            counters = _counters(location)
            if isinstance(counters, FileChangeCounters):
                counters.repair()
        finally:
            if writer_lock:
                writer_lock.release()
        database = cls(
            store,
            location,
            key,
            writer_lock,
            counters,
            patient=patient,
            layout=layout,
            rekeyed=rekeyed,
        )
        async with aclosing(database):
            yield database

    @classmethod
    @asynccontextmanager
    async def create(
        cls, location: StoreLocation, key: StoreKey, *, patient: bool = False
    ) -> AsyncIterator[Self]:
        """A new store, which counts as there once the caller has called `finish`.

        One that was begun and never finished is begun anew. Raises StoreError where there is one
        already, or none can be made.
        """
        store = await provision_store(location, key, _SYSTEM)
        try:
            writer_lock = WriterLock(location.path) if location.path else None
            counters = _counters(location)
        except StoreError:
            await store.close()
            raise
        made = cls(store, location, key, writer_lock, counters, patient=patient)
        async with aclosing(made) as database, AsyncExitStack() as stack:
            if location.backend == "memory":
                # All of it is gone with its last connection, and the pool closes each that is half
                # an hour old, but for one that is in use: this one, from now to the end.
                held = await stack.enter_async_context(store.session(_SYSTEM))
                await held.count(_STORE)
            await database._in_turn(database._begin(), write=True, patience=LONG)
            yield database

    async def aclose(self) -> None:
        """Close the store, once what is under way has ended.

        Calls whose callers were cancelled are so, too: their sessions are to end as they would.
        """

        async def close() -> None:
            if self._under_way:
                await asyncio.wait(self._under_way)
            await self._store.close()

        closing = {asyncio.create_task(close()), *self._closing}
        await asyncio.wait(closing, timeout=self._patience)
        await self.counters.aclose()
        if self._file_turn:
            self._file_turn.close()

    async def _begin(self) -> None:
        """Take the store for one that is being made."""
        self._making = secrets.token_bytes(16)
        async with self._transaction() as session:
            if await session.fetch(_STORE, _LAYOUT) is not None:
                raise StoreError(f"There is a store at {self._location} already.")
            await session.remove_all()  # tokens, and what belongs to audit logs, too
            await session.insert(_STORE, _MAKING, self._making)
        for name in await self._store.list_profiles():
            if name != _SYSTEM:
                await self._store.remove_profile(name)

    async def finish(self) -> None:
        """Let the store that was made count as there.

        Raises StoreError where somebody else has begun it anew meanwhile.
        """

        async def work() -> None:
            async with self._transaction() as session:
                making = await session.fetch(_STORE, _MAKING)
                if making is None or making.value != self._making:
                    raise StoreError(f"The store at {self._location} is being made elsewhere too.")
                await session.remove(_STORE, _MAKING)
                await session.insert(_STORE, _REKEYED, b"")
                await session.insert(_STORE, _LAYOUT, str(LAYOUT))

        await self._in_turn(work(), write=True)

    async def rekey(self, key: StoreKey) -> None:
        """Let another key open the store from now on; raises StoreError for what is none.

        Whoever has the store open makes no more profiles, which would be under the old key.
        """
        await check_key(key)

        async def work() -> None:
            rekeyed = secrets.token_bytes(16)
            async with self._transaction() as session:
                await self._require_own_key(session)
                await session.replace(_STORE, _REKEYED, rekeyed)
            await self._store.rekey(key.askar_method, key.secret)
            self._key, self._rekeyed = key, rekeyed

        await self._in_turn(work(), write=True, patience=LONG)

    @property
    def pool(self) -> Pool:
        """The connections, as of now."""
        most = self._location.max_connections
        return Pool(most, self._in_use, self._waiting, self._reopened)

    async def ping(self) -> None:
        """Return once the store has answered."""

        async def work() -> None:
            async with self._store.session() as session:
                await session.fetch(_STORE, _LAYOUT)

        await self._in_turn(work())

    # Profiles

    async def create_profile(self, name: str) -> None:
        """Make an empty profile; raises ProfileExists."""
        await self._in_turn(self._create_profile(name), write=True)

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all that is in it; False where it is not there."""
        await self.ping()  # whoever waits for a store that does not answer is told sooner
        return await self._in_turn(self._remove_profile(name), write=True, patience=LONG)

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""

        async def work() -> list[str]:
            async with self._store.session() as session:
                entries = listed(await session.fetch_all(PROFILE))
            return sorted(entry.name for entry in entries if not _is_removed(entry.value))

        return await self._read_or_write(work, write=False)

    async def directory(self) -> Directory:
        """All that the directory says."""
        rows = [row async for batch in self.batches(None, PROFILE) for row in batch]
        homes: dict[str, str] = {}
        removed: dict[str, str] = {}
        for row in filter(None, rows):
            (removed if _is_removed(row.value) else homes)[row.name] = _home_of(row.value)
        return Directory(homes, removed, rows.count(None))

    async def home(self, name: str) -> str:
        """Askar's name of a profile, of which there is never another; raises ProfileNotFound."""
        return await self._in_turn(self._look_up(name), write=True)

    async def homes(self) -> set[str]:
        """Askar's names of all its profiles but the store's own."""

        async def work() -> set[str]:
            return set(await self._store.list_profiles()) - {_SYSTEM}

        return await self._in_turn(work(), write=True)

    async def owner(self, name: str) -> str | None:
        """The name that a profile has for itself."""

        async def work(session: Session) -> str | None:
            entry = await session.fetch(PROFILE, _SELF)
            return None if entry is None else entry.value.decode()

        return await self.run(name, work)

    async def _create_profile(self, name: str) -> None:
        exists = ProfileExists(f"The profile {name!r} already exists.")
        entry = await self._directory_entry(name)
        if entry is not None and not _is_removed(entry):
            raise exists
        if entry is not None:  # whoever removed it was cut short
            await self._finish_removal(name, entry)
        within = secrets.token_hex(16)
        await self._store.create_profile(within)
        try:
            async with self._store.session(within) as session:
                await session.insert(PROFILE, _SELF, name)
            # In the directory last: what is not there is seen by nobody.
            async with self._transaction() as session:
                await self._require_own_key(session)
                await session.insert(PROFILE, name, within)
        except (AskarError, AuditUnavailable, StoreUnavailable) as exc:
            await self._store.remove_profile(within)
            if isinstance(exc, DuplicateError):
                raise exists from None
            raise

    async def _remove_profile(self, name: str) -> bool:
        async with self._transaction() as session:
            entry = await session.fetch(PROFILE, name)
            if entry is None:
                return False
            removed: bytes = entry.value
            here = not _is_removed(removed)
            if here:
                removed = _REMOVED + removed
                await session.replace(PROFILE, name, removed)
        self._profiles.pop(name, None)
        await self._finish_removal(name, removed)
        return here

    async def _finish_removal(self, name: str, entry: bytes) -> None:
        """Remove what a directory entry that is marked as removed has left behind."""
        async with self.counters.changing([slot_of(PROFILE, name)]):
            await self._store.remove_profile(_home_of(entry))
        async with self._transaction() as session:
            now = await session.fetch(PROFILE, name)
            if now is not None and now.value == entry:
                await session.remove(PROFILE, name)

    async def _directory_entry(self, name: str) -> bytes | None:
        async with self._store.session() as session:
            entry = await session.fetch(PROFILE, name)
        return None if entry is None else entry.value

    async def _look_up(self, name: str) -> str:
        """The Askar profile that is this tenant's by now; raises ProfileNotFound."""
        entry = await self._directory_entry(name)
        if entry is None or _is_removed(entry):
            self._profiles.pop(name, None)
            raise ProfileNotFound()
        self._profiles[name] = _home_of(entry)
        return self._profiles[name]

    # Work within a profile

    async def run(
        self,
        profile: str,
        work: Callable[[Session], Awaitable[ResultT]],
        *,
        write: bool = False,
        patience: float | None = None,
    ) -> ResultT:
        """What `work` gives, in a session on a profile; with `write`, in one transaction.

        It may be called again, where the profile was made anew elsewhere, and has `patience`
        seconds where that is given. Raises ProfileNotFound.
        """
        attempt = partial(self._attempt, profile, work, write=write)
        return await self._read_or_write(attempt, write, patience)

    async def run_own(
        self, work: Callable[[Session], Awaitable[ResultT]], *, write: bool = False
    ) -> ResultT:
        """What `work` gives, in a session on the store's own profile; else as `run`."""

        async def attempt() -> ResultT:
            if not write:
                async with self._session(_SYSTEM) as session:
                    return await work(session)
            async with self._transaction() as session:
                await self._require_own_key(session)
                return await work(session)

        return await self._read_or_write(attempt, write)

    async def _read_or_write(
        self,
        attempt: Callable[[], Coroutine[Any, Any, ResultT]],
        write: bool,
        patience: float | None = None,
    ) -> ResultT:
        try:
            return await self._in_turn(attempt(), write=write, patience=patience)
        except StoreUnavailable:
            if write or self._file_turn is None:
                raise
        # Reading needs no such turn, but the connection that it may have to make does.
        return await self._in_turn(attempt(), write=True, patience=patience)

    async def batches(
        self, profile: str | None, category: str
    ) -> AsyncGenerator[list[Entry | None], None]:
        """All entries of a profile, in the order of rows and as they are now, in batches.

        They are those of one statement, which keeps a connection until the end, so there must be
        two. None stands for what does not decrypt; a new statement goes on behind it.
        """
        if self._location.max_connections < 2:
            raise StoreError("The option max_connections in the store URL must be at least 2.")
        within = _SYSTEM
        if profile is not None:
            await self.run(profile, require_profile)
            within = await self.home(profile)
        offset = 0
        (turn,) = await self._take([self._turns])
        try:
            while True:
                scan = self._store.scan(category, {}, offset, -1, within, order_by="id")
                try:
                    # In a writer's turn: it may have to make its connection.
                    batch = await self._in_turn(_next_rows(scan), write=True)
                    while batch:
                        yield batch
                        offset += len(batch)
                        batch = await self._result(self._begin_call(_next_rows(scan)))
                    return
                except UndecryptableError:
                    pass
                del scan  # which gives its connection back
                batch = await self._rows(within, category, offset, BATCH)
                yield batch
                offset += len(batch)
        finally:
            self._give_back([turn])

    async def _rows(
        self, within: str, category: str, offset: int, limit: int
    ) -> list[Entry | None]:
        """Up to `limit` entries from `offset` on; None for one that does not decrypt."""

        async def work(start: int, end: int) -> list[Entry | None]:
            scan = self._store.scan(category, {}, start, end - start, within, order_by="id")
            return list(await scan.fetch_all())

        async def read(start: int, end: int) -> list[Entry | None]:
            return await self._in_turn(work(start, end), write=True)

        return await read_by_halves(offset, offset + limit, read, lambda _: [None])

    async def _attempt(
        self, profile: str, work: Callable[[Session], Awaitable[ResultT]], *, write: bool
    ) -> ResultT:
        known = self._profiles.get(profile) or await self._look_up(profile)
        try:
            return await self._once(profile, known, work, write=write)
        except (AskarError, StaleProfileError) as exc:
            # A session that outlives its profile fails in whatever way the database has for that.
            unclear = AskarErrorCode.BACKEND, AskarErrorCode.BUSY, AskarErrorCode.NOT_FOUND
            if isinstance(exc, AskarError) and exc.code not in unclear:
                raise
            current = await self._look_up(profile)
            if current == known:
                raise
        return await self._once(profile, current, work, write=write)

    async def _once(
        self,
        profile: str,
        within: str,
        work: Callable[[Session], Awaitable[ResultT]],
        *,
        write: bool,
    ) -> ResultT:
        if write:
            async with self._transaction(within, profile) as session:
                # SQLite gives the number of a removed profile to the next that is made, and a
                # session that has it still would write there.
                await require_profile(session)
                try:
                    return await work(session)
                except AskarError as exc:
                    if exc.code is AskarErrorCode.NOT_FOUND:
                        # Askar 0.5.0 has this for a connection that was lost, too: then the next
                        # call fails for what it is.
                        await require_profile(session)
                    raise
        async with self._session(within) as session:
            try:
                return await work(session)
            except (KeyNotFound, AliasNotFound):
                await require_profile(session)
                raise

    @asynccontextmanager
    async def _session(self, within: str) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            try:
                session = await stack.enter_async_context(self._store.session(within))
            except UndecryptableError:
                await self._refuse_undecryptable()
            yield session

    @asynccontextmanager
    async def _transaction(
        self, within: str = _SYSTEM, profile: str | None = None
    ) -> AsyncIterator[Session]:
        """A transaction that is committed at the end, and rolled back where anything is raised.

        `within` is Askar's name of `profile`, which is None for the store's own.
        """
        store = self._store
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(store.transaction(within))
            except AskarError as exc:
                self._distrust(store, exc)
                if isinstance(exc, UndecryptableError):
                    await self._refuse_undecryptable()
                raise
            session = _Transaction(opened, profile)
            try:
                yield session
            except AskarError as exc:
                self._distrust(store, exc)
                raise
            events.record_before_commit()
            async with self.counters.changing(session.changed):
                try:
                    await session.commit()  # type: ignore[no-untyped-call]
                except AskarError as exc:
                    self._distrust(store, exc)
                    # It may have been done all the same: nothing here may try it again.
                    raise StoreUnavailable(
                        "The key store did not say whether it was done."
                    ) from exc

    def _distrust(self, store: Store, exc: AskarError) -> None:
        """Use an SQLite file's connections no more, where one has failed in a transaction.

        Where it did not begin, Askar 0.5.0 goes on as if it had, and what is committed on that
        connection later is not; where a disk was full, SQLite may have ended it by itself.
        """
        if self._file_turn and store is self._store and exc.code is AskarErrorCode.BACKEND:
            LOGGER.warning("the store at %s is opened anew: a write failed", self._location)
            self._sound = False

    async def _reopen(self) -> None:
        async with self._reopening:
            if self._sound:
                return
            try:
                store = await open_store(self._location, self._key)
            except StoreError as exc:
                LOGGER.error("%s", exc)
                raise StoreUnavailable() from None
            # It waits for the sessions that are open yet.
            self._closing.add(closing := asyncio.create_task(self._store.close()))
            closing.add_done_callback(self._closing.discard)
            self._store, self._sound = store, True
            self._reopened += 1

    async def _refuse_undecryptable(self) -> NoReturn:
        """Say why the key of a profile does not decrypt."""
        async with self._store.session() as session:
            await self._require_own_key(session)
        raise KeyUnreadable("The profile does not decrypt.") from None

    async def _require_own_key(self, session: Session) -> None:
        """Raise StoreUnavailable where the store has got another key since it was opened."""
        rekeyed = await session.fetch(_STORE, _REKEYED)
        if rekeyed is not None and rekeyed.value != self._rekeyed:
            raise StoreUnavailable("The store has got another key: start the service anew.")

    async def _in_turn(
        self,
        work: Coroutine[Any, Any, ResultT],
        *,
        write: bool = False,
        patience: float | None = None,
    ) -> ResultT:
        """What `work` gives, once it has its turn.

        It goes on by itself where the caller waits no longer: a call of Askar's cannot be taken
        back, and its session must be closed.
        """
        try:
            taken = await self._take(self._write_turns if write else [self._turns])
        except BaseException:
            work.close()
            raise
        task = self._begin_call(work)

        def done(task: "asyncio.Task[ResultT]") -> None:
            self._give_back(taken)
            if not task.cancelled() and isinstance(task.exception(), AskarError):
                LOGGER.debug("the store refused a call: %s", task.exception())

        task.add_done_callback(done)
        return await self._result(task, patience)

    def _begin_call(self, work: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        """A call of Askar's, which is waited for before the store is closed."""
        self._under_way.add(task := asyncio.create_task(work))
        task.add_done_callback(self._under_way.discard)
        return task

    async def _take(self, turns: Iterable[Turn]) -> list[Turn]:
        """Take all of these turns."""
        taken: list[Turn] = []
        self._waiting += 1
        try:
            async with asyncio.timeout(LONG if self._patient else _TURN):
                for turn in turns:
                    await turn.acquire()
                    taken.append(turn)
            if not self._sound:
                await self._reopen()
        except BaseException as exc:
            for turn in taken:
                turn.release()
            if isinstance(exc, TimeoutError):
                raise StoreUnavailable("Too many calls wait for the key store.") from None
            raise
        finally:
            self._waiting -= 1
        self._in_use += 1
        return taken

    def _give_back(self, taken: Iterable[Turn]) -> None:
        """Let others have the turns of a call, which is over."""
        self._in_use -= 1
        for turn in taken:
            turn.release()

    async def _result(
        self, task: "asyncio.Task[ResultT]", patience: float | None = None
    ) -> ResultT:
        """What a call of Askar's gives; it goes on by itself where it takes too long."""
        finished, _ = await asyncio.wait({task}, timeout=patience or self._patience)
        if not finished:
            raise StoreUnavailable("The key store does not answer.")
        try:
            return task.result()
        except AskarError as exc:
            if exc.code in (AskarErrorCode.BACKEND, AskarErrorCode.BUSY):
                raise StoreUnavailable() from exc
            raise


def _counters(location: StoreLocation) -> ChangeCounters:
    """What tells of changes in a store; raises StoreError."""
    if location.backend == "postgres":
        return notices.postgres_counters(location)
    return FileChangeCounters(location.path) if location.path else ChangeCounters()


def _is_removed(entry: bytes) -> bool:
    """Whether an entry of the directory is that of a profile whose removal has begun."""
    return entry.startswith(_REMOVED)


def _home_of(entry: bytes) -> str:
    """Askar's name of the profile that an entry of the directory is of."""
    return entry.removeprefix(_REMOVED).decode()


async def _next_rows(scan: Scan) -> list[Entry | None]:
    """What a cursor gives next, up to a batch."""
    rows: list[Entry | None] = []
    async for row in scan:
        rows.append(row)
        if len(rows) == BATCH:
            break
    return rows


async def read_by_halves(
    start: int,
    end: int,
    read: Callable[[int, int], Awaitable[list[ResultT]]],
    lost: Callable[[int], list[ResultT]],
) -> list[ResultT]:
    """What `read` gives of the places from `start` up to `end`, which it leaves out.

    Askar gives all that is asked for or nothing, so a place that does not decrypt is found by
    halving; in its stead is what `lost` gives for it.
    """
    try:
        return await read(start, end)
    except UndecryptableError:
        if end - start == 1:
            return lost(start)
    half = (start + end) // 2
    first = await read_by_halves(start, half, read, lost)
    return first + await read_by_halves(half, end, read, lost)


async def require_profile(session: Session) -> None:
    """Raise StaleProfileError where the profile of a session is there no more."""
    if await session.fetch(PROFILE, _SELF) is None:
        raise StaleProfileError


async def _check_layout(store: Store, location: StoreLocation) -> tuple[int, bytes]:
    """The store's layout, and what it says of its last change of key.

    Raises StoreError for one that is not ours, or of a layout that is not known here.
    """
    try:
        async with store.session() as session:
            layout = await session.fetch(_STORE, _LAYOUT)
            rekeyed = await session.fetch(_STORE, _REKEYED)
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
