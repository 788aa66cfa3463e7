"""Objects of providers: announced before they are made, and found to be destroyed.

A copy of a store has the same keys, so it shares their objects. A store destroys objects only if it
owns them: if the entry about its objects names the file that it is in. The identifiers of all
objects that a store makes begin alike, and in each copy otherwise.
"""

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, Self, TypeVar

from minikms.events import CURRENT, AuditEvent
from minikms.plugin.provider import KEY_ID_SIZE
from minikms.store.askar.errors import DuplicateError
from minikms.store.askar.sessions import Entry, Session, Transaction
from minikms.store.categories import STORE
from minikms.store.connections.calls import LONG_TIMEOUT
from minikms.store.database import Database
from minikms.store.keys.object_entries import (
    OBJECT,
    ProviderObject,
    announce,
    condemn,
    condemn_ended,
    ended,
    time_of,
)

ResultT = TypeVar("ResultT")

# Bytes of an identifier: the first are the same for all objects that a store makes, the others
# random.
_PREFIX: Final = 6
_RANDOM: Final = KEY_ID_SIZE - _PREFIX

# The number of objects that a transaction shared with others may announce.
_FEW: Final = 16

# The number of objects to destroy that one call reads.
_MOST: Final = 10_000

_OBJECTS: Final = "objects"
_END: Final = b"\n"


class Ownership(NamedTuple):
    """The entry about the objects of a store.

    `owner` names the file whose store destroys the objects; it is empty if no store does. The store
    in the file `maker` begins the identifiers of new objects with the first of `prefixes`. A copy
    of it, in another file, puts a prefix of its own before them.
    """

    owner: bytes
    maker: bytes
    prefixes: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, value: bytes) -> Self:
        """Parse the value of the entry."""
        owner, maker, *prefixes = value.split(_END)
        return cls(owner, maker, tuple(bytes.fromhex(each.decode()) for each in prefixes))

    def to_bytes(self) -> bytes:
        """The value of the entry."""
        return _END.join((self.owner, self.maker, *(each.hex().encode() for each in self.prefixes)))

    def made_by(self, maker: bytes) -> Self:
        """The entry once the store in a file makes objects."""
        return self._replace(maker=maker, prefixes=(os.urandom(_PREFIX), *self.prefixes))

    def of_a_copy(self) -> Self:
        """The entry in a copy of the store."""
        return self._replace(owner=b"", maker=b"")


class ProviderObjects:
    """The entries of objects that no key names, and the store's ownership of its objects.

    All methods raise StoreUnavailable, and ProfileNotFound; None as a profile is the store's own,
    which has the objects of removed profiles.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._prefix = b""

    def on_condemned(self, call: Callable[[str | None], None]) -> None:
        """Let `call` be called with a profile in which this process has condemned objects."""
        self._database.on_condemned(call)

    async def intend(self, profile: str, provider: str, count: int, until: int) -> list[bytes]:
        """The identifiers of `count` objects that may be made now, and taken until a time."""
        if not self._prefix:
            self._prefix = await self._own_prefix()
        key_ids = [self._prefix + os.urandom(_RANDOM) for _ in range(count)]

        async def work(session: Transaction) -> None:
            for key_id in key_ids:
                await announce(session, ProviderObject(provider, key_id.hex()), until)

        await self._write(profile, work, None if count <= _FEW else LONG_TIMEOUT)
        return key_ids

    async def condemn(self, profile: str | None, provider: str, key_ids: Sequence[bytes]) -> None:
        """Let the objects be destroyed that no key has."""
        objects = [ProviderObject(provider, key_id.hex()) for key_id in key_ids]
        work = partial(condemn, objects=objects)
        await self._write(profile, work, LONG_TIMEOUT)

    async def due(self, profile: str | None) -> list[ProviderObject]:
        """Some objects whose time is over; `condemn_ended` tells which of them to destroy."""
        now = max(time.time_ns(), 0)  # a clock may be before 1970
        rows = await self._read(profile, partial(_ended, now=now))
        return [ProviderObject.of(row) for row in rows if time_of(row) <= now]

    async def condemn_ended(
        self, profile: str | None, objects: Sequence[ProviderObject]
    ) -> list[ProviderObject]:
        """Condemn objects whose time is over, and give those to destroy; no key has one of them."""
        now = time.time_ns()

        async def work(session: Transaction) -> list[ProviderObject]:
            return [each for each in objects if await condemn_ended(session, each, now)]

        return await self._write(profile, work, LONG_TIMEOUT)

    async def remove(
        self,
        profile: str | None,
        objects: Sequence[ProviderObject],
        events: Mapping[ProviderObject, AuditEvent] | None = None,
    ) -> None:
        """Remove the entries of objects, and record the event of each that had one.

        Raises AuditUnavailable, and then has removed nothing.
        """

        async def work(session: Transaction) -> None:
            for each in objects:
                if await session.fetch(OBJECT, each.object_id) is None:
                    continue  # another process has removed it
                await session.remove(OBJECT, each.object_id)
                if events and each in events:
                    session.events.append(events[each])

        await self._write(profile, work, LONG_TIMEOUT)

    # Ownership

    async def ownership(self) -> Ownership | None:
        """The entry about the store's objects; None if the store never made any."""
        return await self._database.run_own(_ownership)

    async def owns(self) -> bool:
        """Tell whether this store may destroy objects."""
        ownership = await self.ownership()
        return ownership is not None and ownership.owner == self._database.identity

    async def prefixes(self) -> tuple[bytes, ...]:
        """The first bytes of the identifiers of objects that no other store can have."""
        ownership, identity = await self.ownership(), self._database.identity
        if ownership is None:
            return ()
        if ownership.owner == identity:
            return ownership.prefixes
        return ownership.prefixes[:1] if ownership.maker == identity else ()

    async def share(self, ownership: Ownership) -> None:
        """Note in a new copy of a store that it shares the objects with the store.

        A profile that was copied and removed again has left entries of objects.
        """

        async def work(session: Transaction) -> None:
            await session.remove_all(OBJECT)
            await session.insert(STORE, _OBJECTS, ownership.of_a_copy().to_bytes())

        await self._write(None, work)

    async def set_owner(self, *, owns: bool) -> bool:
        """Let this store own its objects, or not; False if it never made any."""
        identity = self._database.identity

        async def work(session: Transaction) -> bool:
            before = await _ownership(session)
            if before is None:
                return False
            after = before._replace(owner=identity) if owns else before.of_a_copy()
            await session.replace(STORE, _OBJECTS, after.to_bytes())
            return True

        return await self._write(None, work)

    async def _own_prefix(self) -> bytes:
        """The prefix of the objects that this store makes, which the first call notes."""
        identity = self._database.identity

        async def work(session: Transaction) -> None:
            before = await _ownership(session)
            if before is None:
                first = Ownership(owner=identity, maker=b"").made_by(identity)
                await session.insert(STORE, _OBJECTS, first.to_bytes())
            elif before.maker != identity:
                await session.replace(STORE, _OBJECTS, before.made_by(identity).to_bytes())

        while (found := await self.ownership()) is None or found.maker != identity:
            with suppress(DuplicateError):  # another process was first
                await self._write(None, work)
        return found.prefixes[0]

    async def _read(
        self, profile: str | None, work: Callable[[Session], Awaitable[ResultT]]
    ) -> ResultT:
        if profile is None:
            return await self._database.run_own(work)
        return await self._database.run(profile, work)

    async def _write(
        self,
        profile: str | None,
        work: Callable[[Transaction], Awaitable[ResultT]],
        timeout: float | None = None,
    ) -> ResultT:
        """Call `work` in a transaction that does not record the event of a call under way."""
        outer = CURRENT.set(None)
        try:
            if profile is None:
                return await self._database.run_own(work, write=True, timeout=timeout)
            return await self._database.write(profile, work, timeout=timeout)
        finally:
            CURRENT.reset(outer)


async def _ended(session: Session, now: int) -> list[Entry]:
    """Some entries whose time is over."""
    return await session.fetch_all(OBJECT, ended(now), _MOST)


async def _ownership(session: Session) -> Ownership | None:
    entry = await session.fetch(STORE, _OBJECTS)
    return None if entry is None else Ownership.of(entry.value)
