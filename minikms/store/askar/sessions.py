"""A session on one profile of an Askar store, in types of our own.

Other wings read through `Session` and write through `Transaction`; of Askar's types they see only
keys.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from aries_askar import AskarError, AskarErrorCode, KeyAlg
from aries_askar import Key as AskarKey
from aries_askar import Session as AskarSession

from minikms.events import AuditEvent
from minikms.profile_settings import NO_SETTINGS
from minikms.store.approval_checks import ApprovalChecks
from minikms.store.askar.sequence import CONTENTS, Sequence, slot_of
from minikms.store.categories import SEQUENCE

# Askar's tag filter (WQL): names and values, and operators such as `$and`, `$in` or `$gt`.
TagFilter: TypeAlias = Mapping[str, Any]

# The name of the entry of `SEQUENCE`.
_LAST: Final = "last"

# Askar reads a name up to its first NUL.
_NUL: Final = "\0"


class Entry(Protocol):
    """An entry of a store, found by its tags, or by its name, which is unique in its category.

    Each attribute is read from Askar when it is asked for.
    """

    category: str
    name: str
    value: bytes
    tags: dict[str, Any]


class KeyEntry(Protocol):
    """An Askar key in a store; its name is unique. It is read like an `Entry`."""

    name: str
    key: AskarKey


class Session:
    """A session of Askar's. All methods raise AskarError or a subclass of it.

    `sealing_key` is the key of the profile (store/profiles/marker.py), empty while it is unknown.
    """

    def __init__(self, session: AskarSession, sealing_key: bytes = b"") -> None:
        self._session: Any = session  # its annotations leave out None
        self.sealing_key = sealing_key

    @property
    def is_transaction(self) -> bool:
        """Tell whether the session is a transaction."""
        is_transaction: bool = self._session.is_transaction
        return is_transaction

    async def fetch(self, category: str, name: str, *, for_update: bool = False) -> Entry | None:
        """An entry, or None; `for_update` locks its row in PostgreSQL."""
        if _NUL in name:
            return None
        entry: Entry | None = await self._session.fetch(category, name, for_update=for_update)
        return entry

    async def fetch_all(
        self,
        category: str | None,
        tag_filter: TagFilter | None = None,
        limit: int | None = None,
        *,
        order_by: str | None = None,
    ) -> list[Entry]:
        """The entries that a filter matches; raises UndecryptableError if one does not decrypt.

        `category` is None for all categories.
        """
        found = await self._session.fetch_all(category, tag_filter, limit, order_by=order_by)
        # By index: Askar's iterator has no `__iter__`, which list comprehensions need in 3.13.
        return [found[place] for place in range(len(found))]

    async def count(self, category: str, tag_filter: TagFilter | None = None) -> int:
        """Count the entries that a filter matches, without decrypting them."""
        number: int = await self._session.count(category, tag_filter)
        return number

    async def sequence(self) -> Sequence:
        """The last place in the order of creation, and the last changes."""
        entry = await self.fetch(SEQUENCE, _LAST, for_update=self.is_transaction)
        return Sequence.of(entry.value, entry.tags) if entry else Sequence()

    async def last_place(self) -> int:
        """The last place in the order of creation that was assigned; 0 before the first."""
        return (await self.sequence()).place

    async def fetch_key(self, name: str) -> AskarKey | None:
        """A key of Askar's, or None."""
        entry = await self._session.fetch_key(name)
        return None if entry is None else entry.key

    async def all_keys(self, alg: KeyAlg | None = None, limit: int | None = None) -> list[KeyEntry]:
        """All keys of Askar's, or all of one of its algorithms; at most `limit` of them."""
        found = await self._session.fetch_all_keys(alg=alg, limit=limit)
        return [found[place] for place in range(len(found))]


class Transaction(Session):
    """A transaction, which notes the slots of the entries that it changes.

    An inserted entry has no slot: no cache remembers that an entry does not exist. `profile` is the
    tenant's, whose contents change with every write; None for the store's own profile. `written`
    counts the writes, and `size` their bytes. `events` are recorded before the commit. `stored` is
    the profile's sequence before the transaction, None if it was not read, and `left` the sequence
    after it; `place` is the last place in the order of creation that was assigned. `settings` are
    the profile's; `keys` is the number of its keys, None as long as they are not counted; `freezes`
    says whether it becomes frozen, None if that does not change. With `logs_changes`, the slots are
    stored with the commit, for other processes. `ended` has the kids of deleted keys of providers,
    whose objects are to be destroyed. `removed` has the places of the keys that it removes. `due`
    has the times at which a sweep has to look at its keys. `approval_checks` verify approvals.
    """

    def __init__(
        self,
        session: AskarSession,
        profile: str | None,
        events: list[AuditEvent],
        sealing_key: bytes = b"",
        *,
        logs_changes: bool = False,
    ) -> None:
        super().__init__(session, sealing_key)
        self._contents = None if profile is None else slot_of(CONTENTS, profile)
        self._logs_changes = logs_changes
        self.stored: Sequence | None = None
        self.left = Sequence()
        self.place = 0
        self.settings = NO_SETTINGS
        self.approval_checks = ApprovalChecks("")
        self.keys: int | None = None
        self.freezes: bool | None = None
        self.changed: set[int] = set()
        self.written = self.size = 0
        self.ended: list[str] = []
        self.removed: set[int] = set()
        self.due: set[int] = set()
        self.events = events

    def next_place(self) -> int:
        """Assign the next place in the order of creation; it is stored with the commit."""
        self.place += 1
        return self.place

    def freeze(self, *, frozen: bool) -> None:
        """Mark the profile as frozen, or as not frozen any more, with the commit."""
        self.freezes = frozen
        self._note()

    async def insert(
        self,
        category: str,
        name: str,
        value: str | bytes,
        tags: Mapping[str, Any] | None = None,
        *,
        cached: bool = True,
    ) -> None:
        """Insert an entry; raises DuplicateError, and ValueError for a name with NUL.

        After DuplicateError, nothing was written. `cached` as in `replace`.
        """
        if _NUL in name:
            raise ValueError("The name of an entry must not contain NUL.")
        await self._session.insert(category, name, value, tags)
        self._note(size=len(value), cached=cached)

    async def insert_key(self, name: str, key: AskarKey) -> None:
        """Insert a key of Askar's; raises DuplicateError."""
        self._note()
        await self._session.insert_key(name, key)

    async def replace(
        self,
        category: str,
        name: str,
        value: str | bytes,
        tags: Mapping[str, Any] | None = None,
        *,
        cached: bool = True,
    ) -> None:
        """Replace the value and the tags of an entry.

        `cached` is False if no cache depends on it, nor on the contents of the profile by it.
        """
        self._note((category, name), len(value), cached=cached)
        await self._replace(category, name, value, tags)

    async def remove(self, category: str, name: str, *, cached: bool = True) -> None:
        """Remove an entry; `cached` as in `replace`."""
        self._note((category, name), cached=cached)
        await self._session.remove(category, name)

    async def remove_key(self, name: str) -> None:
        """Remove a key of Askar's."""
        self._note()
        await self._session.remove_key(name)

    async def remove_all(
        self,
        category: str | None = None,
        tag_filter: TagFilter | None = None,
        *,
        cached: bool = True,
    ) -> int:
        """Remove all entries of a category, or of the profile; return their number.

        `cached` as in `replace`.
        """
        self._note(cached=cached)
        removed: int = await self._session.remove_all(category, tag_filter)
        return removed

    def commit(self) -> Awaitable[None]:
        """Commit the writes."""
        committed: Awaitable[None] = self._session.commit()
        return committed

    async def store_sequence(self) -> bool:
        """Store the last place, if one was assigned, and log the changes.

        Return true if the place has one more binary digit than before: the number has doubled.
        """
        before = self.stored
        if before is None:
            if not (self._logs_changes and self.changed):
                return False
            before = self.stored = await self.sequence()
            self.place, self.keys = before.place, before.keys
        frozen = before.frozen if self.freezes is None else self.freezes
        after = before._replace(place=self.place, keys=self.keys, frozen=frozen)
        # New keys are not logged: the place shows them.
        changed = self.changed - {self._contents}
        if frozen != before.frozen or (
            self._logs_changes and (changed or (self.changed and after == before))
        ):
            after = after.with_change(changed)
        # An empty entry would look like a missing one.
        if after not in (before, Sequence()):
            write = self._session.insert if before == Sequence() else self._replace
            await write(SEQUENCE, _LAST, after.to_bytes(), after.tags)
        self.left = after
        return after.place.bit_length() > before.place.bit_length()

    async def _replace(
        self,
        category: str,
        name: str,
        value: str | bytes,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            await self._session.replace(category, name, value, tags)
        except AskarError as exc:
            # Askar 0.5.0 says NOT_FOUND for every failure of its UPDATE. If the connection is lost,
            # the next call says so.
            if exc.code is AskarErrorCode.NOT_FOUND:
                await self.fetch(category, name)
            raise

    def _note(
        self, entry: tuple[str, str] | None = None, size: int = 0, *, cached: bool = True
    ) -> None:
        """Count a write; note the slots of its entry and of the contents, if they are `cached`."""
        self.written += 1
        self.size += size
        if not cached:
            return
        if entry is not None:
            self.changed.add(slot_of(*entry))
        if self._contents is not None:
            self.changed.add(self._contents)
