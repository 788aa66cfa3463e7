"""Entries of objects, the key pairs of providers, that no key of the store names.

An entry is stored before its object is made, and says until when a key may take it. The transaction
that stores the key takes the entry out. The transaction that removes the key stores it again, with
the time 0: the object is condemned. So an object that no key names has an entry at each moment, and
is destroyed once the entry is condemned (store/provider_objects.py).

The name of an entry is the identifier of the object in hexadecimal, its value the provider's name.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

from minikms.errors import ProviderUnavailable
from minikms.records import KeyRecord
from minikms.store.askar_errors import DuplicateError
from minikms.store.sessions import Entry, Session, TagFilter, Transaction

# The category of the entries: in the profile of the key, or in the store's own profile if the
# profile was removed.
OBJECT: Final = "minikms.object"

# The tag of a record with the identifier of its object, and the filter that finds such records.
_TAG: Final = "object"
_HAS_OBJECT: Final[TagFilter] = {"$exist": [_TAG]}

_CONDEMNED: Final = 0

# The number of records that are read at a time.
_PAGE: Final = 256


class ProviderObject(NamedTuple):
    """An object by the name of its provider and its identifier, in hexadecimal."""

    provider: str
    object_id: str

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """The object of an entry."""
        return cls(entry.value.decode(), entry.name)

    @classmethod
    def of_record(cls, record: KeyRecord) -> Self:
        """The object of a key of a provider."""
        return cls(record.provider or "", record.object_id or "")


def key_tags(record: KeyRecord) -> dict[str, str]:
    """The tag by which a key is found by its object; none if the store has its private key."""
    return {} if record.object_id is None else {_TAG: record.object_id}


def until_tags(until: int) -> dict[str, str]:
    """The tags of an entry whose object a key may take until a time in nanoseconds."""
    return {"~at": f"{until:020d}"}


def ended(now: int) -> dict[str, Any]:
    """The filter of the entries whose time is over."""
    return {"~at": {"$lte": f"{max(now, 0):020d}"}}


def is_condemned(entry: Entry) -> bool:
    """Tell whether no key may take the object of an entry, whatever the clock says."""
    return int(entry.tags["~at"]) == _CONDEMNED


async def take_object(session: Transaction, record: KeyRecord) -> None:
    """Take out the entry of the object of a new key of a provider.

    Raises ProviderUnavailable if the object may be destroyed already, and then has written nothing.
    """
    _, object_id = ProviderObject.of_record(record)
    entry = await session.fetch(OBJECT, object_id)
    if entry is None or is_condemned(entry):
        raise ProviderUnavailable("Making the key took too long.")
    await session.remove(OBJECT, object_id)


async def insert_condemned(session: Transaction, found: ProviderObject) -> None:
    """Insert the entry of an object that is to be destroyed, unless it has one."""
    session.condemned = True
    with suppress(DuplicateError):
        await session.insert(OBJECT, found.object_id, found.provider, until_tags(_CONDEMNED))


async def condemn(session: Transaction, objects: Sequence[ProviderObject]) -> list[ProviderObject]:
    """Condemn the objects that no key has, and give them."""
    condemned = []
    for each in objects:
        entry = await session.fetch(OBJECT, each.object_id)
        if entry is None:  # a key has taken it, or another process has destroyed it
            if await session.count(_keys(), {_TAG: each.object_id}):
                continue
            await insert_condemned(session, each)
        elif not is_condemned(entry):
            tags = until_tags(_CONDEMNED)
            await session.replace(OBJECT, each.object_id, entry.value, tags, cached=False)
        condemned.append(each)
    session.condemned = bool(condemned) or session.condemned
    return condemned


async def objects_in(session: Session) -> tuple[dict[ProviderObject, str], set[ProviderObject]]:
    """The objects of a profile's keys, each with its kid, and the objects that no key names.

    An object that is taken or condemned meanwhile is in one of the two, or in both.
    """
    others = [ProviderObject.of(row) for row in await session.fetch_all(OBJECT)]
    keys: dict[ProviderObject, str] = {}
    after = ""
    while rows := await _keys_after(session, after):
        records = [KeyRecord.from_bytes(row.value) for row in rows]
        keys |= {ProviderObject.of_record(record): record.kid for record in records}
        after = records[-1].seq
    others += [ProviderObject.of(row) for row in await session.fetch_all(OBJECT)]
    return keys, set(others)


async def _keys_after(session: Session, place: str) -> list[Entry]:
    """Some records of keys of providers that were made after a place, in that order."""
    later = {**_HAS_OBJECT, "~seq": {"$gt": place}}
    return await session.fetch_all(_keys(), later, _PAGE, order_by="id")


def _keys() -> str:
    """The category of keys."""
    from minikms.store.entries import KEY  # imported here, since it imports this module

    return KEY
