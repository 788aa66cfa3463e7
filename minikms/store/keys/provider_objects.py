"""Objects of providers: the key pairs of a store's keys, and their identifiers.

A copy of a store has the same keys, so it shares their objects. A store destroys objects only if it
owns them: the entry about its objects names its file. The identifiers of all objects that a store
makes begin with the same bytes, which differ in each copy.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple, Self, TypeVar

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.events import CURRENT, AuditEvent
from minikms.plugin.provider import KEY_ID_SIZE, ProviderKey
from minikms.records import KeyRecord, PrivateRecordError
from minikms.store.askar.errors import DuplicateError, UndecryptableError
from minikms.store.askar.sequence import SEQ_TAG
from minikms.store.askar.sessions import Session, TagFilter, Transaction
from minikms.store.categories import KEY, STORE
from minikms.store.database import Database
from minikms.store.keys.entries import OBJECT_TAG, load_record, unseal
from minikms.store.profiles.marker import sealing_key
from minikms.store.profiles.removals import RemovedProfile

LOGGER = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# Bytes of an identifier: the first are the same for all objects that a store makes, the rest is
# random.
_PREFIX: Final = 6
_RANDOM: Final = KEY_ID_SIZE - _PREFIX

# The filter that finds the records of providers' keys.
_HAS_OBJECT: Final[TagFilter] = {"$exist": [OBJECT_TAG]}

# The number of records that are read at a time.
_PAGE: Final = 256

_OBJECTS: Final = "objects"
_END: Final = b"\n"


class ProviderObject(NamedTuple):
    """The object of a key: the name of its provider, and its identifier in hexadecimal.

    `token` is the serial number of the token that has it, empty if it is not known. `is_due` says
    that the deletion of the key `kid` is due.
    """

    kid: str
    provider: str
    object_id: str
    token: str
    is_due: bool

    @classmethod
    def of(cls, record: KeyRecord, token: str | None) -> Self:
        """The object of a provider's key, on a token."""
        provider, object_id = record.provider or "", record.object_id or ""
        return cls(record.kid, provider, object_id, token or "", record.is_gone)


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
        """The entry after the store in a file begins to make objects."""
        return self._replace(maker=maker, prefixes=(os.urandom(_PREFIX), *self.prefixes))

    def of_a_copy(self) -> Self:
        """The entry in a copy of the store."""
        return self._replace(owner=b"", maker=b"")


class ProviderObjects:
    """The objects of a store's keys, and the store's ownership of them.

    All methods raise StoreUnavailable, and ProfileNotFound.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._prefix = b""

    async def new_ids(self, count: int) -> list[bytes]:
        """The identifiers of `count` new objects."""
        if not self._prefix:
            self._prefix = await self._own_prefix()
        return [self._prefix + os.urandom(_RANDOM) for _ in range(count)]

    async def is_named(self, profile: str, key_id: bytes) -> bool:
        """Tell whether a key of a profile has an object."""

        async def work(session: Session) -> bool:
            return await session.count(KEY, {OBJECT_TAG: key_id.hex()}) > 0

        return await self._database.run(profile, work)

    async def exist_in(self, profile: str) -> bool:
        """Tell whether a profile has keys of providers."""

        async def work(session: Session) -> bool:
            return await session.count(KEY, _HAS_OBJECT) > 0

        return await self._database.run(profile, work)

    async def due(self, profile: str, kid: str) -> ProviderObject | None:
        """The object of a key whose deletion is due; None if it has none, or is not due."""

        async def work(session: Session) -> ProviderObject | None:
            record = await load_record(session, kid)
            if record is None or record.provider is None or not record.is_gone:
                return None
            return ProviderObject.of(record, await _token_of(session, record))

        return await self._database.run(profile, work)

    # Removed profiles

    async def of_removed(self, profile: RemovedProfile) -> list[ProviderObject]:
        """The objects of the keys of a removed profile; none if they do not decrypt."""
        try:
            return await self._database.directory.removals.run(profile, objects_in)
        except ProfileNotFound:  # only its entry in the directory is left
            return []
        except (KeyUnreadable, UndecryptableError, PrivateRecordError):
            LOGGER.error("objects at providers may stay: a removed profile does not decrypt")
            return []

    async def forget(
        self, profile: RemovedProfile, found: ProviderObject, destruction: AuditEvent | None
    ) -> None:
        """Remove the record of an object of a removed profile.

        The event of its `destruction` is recorded with the removal, unless another process was
        first.
        """

        async def work(session: Transaction) -> None:
            removed = await session.remove_all(KEY, {OBJECT_TAG: found.object_id})
            if removed and destruction is not None:
                session.events.append(destruction)

        await self._database.directory.removals.run(profile, work, write=True)

    # Ownership

    async def ownership(self) -> Ownership | None:
        """The entry about the store's objects; None if the store never made any."""
        return await self._database.run_own(_ownership)

    async def owns(self) -> bool:
        """Tell whether this store may destroy objects."""
        ownership = await self.ownership()
        return ownership is not None and ownership.owner == self._database.identity

    async def prefixes(self) -> tuple[bytes, ...]:
        """The prefixes of object identifiers that belong to this store alone."""
        ownership, identity = await self.ownership(), self._database.identity
        if ownership is None:
            return ()
        if ownership.owner == identity:
            return ownership.prefixes
        return ownership.prefixes[:1] if ownership.maker == identity else ()

    async def share(self, ownership: Ownership) -> None:
        """Store in a new copy that it shares the objects of the original store."""

        async def work(session: Transaction) -> None:
            if await _ownership(session) is not None:
                return  # stored before the copy was interrupted
            await session.insert(STORE, _OBJECTS, ownership.of_a_copy().to_bytes())

        await self._write(work)

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

        return await self._write(work)

    async def _own_prefix(self) -> bytes:
        """The prefix of the objects that this store makes; the first call stores it."""
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
                await self._write(work)
        return found.prefixes[0]

    async def _write(self, work: Callable[[Transaction], Awaitable[ResultT]]) -> ResultT:
        """Call `work` in a transaction that does not record the event of a call under way."""
        outer = CURRENT.set(None)
        try:
            return await self._database.run_own(work, write=True)
        finally:
            CURRENT.reset(outer)


async def objects_in(session: Session) -> list[ProviderObject]:
    """The objects of a profile's keys, which include the keys whose deletion is due."""
    found: list[ProviderObject] = []
    after = ""
    while True:
        later = {**_HAS_OBJECT, SEQ_TAG: {"$gt": after}}
        rows = await session.fetch_all(KEY, later, _PAGE, order_by="id")
        records = [KeyRecord.from_bytes(row.value) for row in rows]
        found += [ProviderObject.of(record, record.token_serial) for record in records]
        if len(rows) < _PAGE:
            return found
        after = records[-1].seq


async def _token_of(session: Session, record: KeyRecord) -> str | None:
    """The serial number of the token of a key's object; None if unknown."""
    if record.token_serial is None and record.sealed:  # version 0.3.0 has made the key
        with suppress(UndecryptableError, ValueError):
            reference = unseal(await sealing_key(session), record.kid, record.sealed)
            return ProviderKey.from_bytes(reference).token
    return record.token_serial


async def _ownership(session: Session) -> Ownership | None:
    entry = await session.fetch(STORE, _OBJECTS)
    return None if entry is None else Ownership.of(entry.value)
