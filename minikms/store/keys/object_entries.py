"""Entries of objects, the key pairs of providers, that no key of the store names.

An entry is stored before its object is made, and says until when a key may take it. The transaction
that stores the key takes the entry out. The transaction that removes the key stores it again, with
the time 0: the object is condemned. So an object that no key names has an entry at each moment, and
is destroyed once the entry is condemned (store/keys/provider_objects.py).

The name of an entry is the identifier of the object in hexadecimal. Its value has the provider's
name, the time, and the serial number of the token if it is known. A tag also has the time, in plain
text: entries are found by it, but nothing else relies on it, since whoever writes the database can
change it, and put back an entry that was taken out. So no object is destroyed that a record names,
and an announcement that comes back long after its time is not believed. An entry of
version 0.3.0 has the time in the tag alone.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

from minikms.errors import ProviderUnavailable
from minikms.records import SECOND, KeyRecord
from minikms.store.askar.errors import DuplicateError
from minikms.store.askar.sessions import Entry, Session, TagFilter, Transaction

LOGGER = logging.getLogger(__name__)

# The category of the entries: in the profile of the key, or in the store's own profile if the
# profile was removed.
OBJECT: Final = "minikms.object"

# The tag of a record with the identifier of its object, and the filter that finds such records.
_TAG: Final = "object"
_HAS_OBJECT: Final[TagFilter] = {"$exist": [_TAG]}

_CONDEMNED: Final = 0

# Ends the provider's name in a value, and the time.
_END: Final = "\n"

# Nanoseconds after the time of an announcement in which its object is destroyed. An entry of a
# later time was put back, or no service has run meanwhile: then the object stays.
_BELIEVED: Final = 3600 * SECOND

# The number of records that are read at a time.
_PAGE: Final = 256


class ProviderObject(NamedTuple):
    """An object by the name of its provider and its identifier, in hexadecimal.

    `token` is the serial number of the token that has it, empty if it is not known.
    """

    provider: str
    object_id: str
    token: str = ""

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """The object of an entry."""
        provider, _, rest = entry.value.decode().partition(_END)
        return cls(provider, entry.name, rest.partition(_END)[2])

    @classmethod
    def of_record(cls, record: KeyRecord) -> Self:
        """The object of a key of a provider."""
        return cls(record.provider or "", record.object_id or "", record.token_serial or "")

    def value(self, until: int) -> str:
        """The value of its entry, if a key may take it until a time."""
        return _END.join((self.provider, str(until), self.token))


def key_tags(record: KeyRecord) -> dict[str, str]:
    """The tag by which a key is found by its object; none if the store has its private key."""
    return {} if record.object_id is None else {_TAG: record.object_id}


def until_tags(until: int) -> dict[str, str]:
    """The tags of an entry whose object a key may take until a time in nanoseconds."""
    return {"~at": f"{until:020d}"}


def ended(now: int) -> dict[str, Any]:
    """The filter of the entries whose time is over; `now` is not negative."""
    return {"~at": {"$lte": f"{now:020d}"}}


def time_of(entry: Entry) -> int:
    """The time until which a key may take the object of an entry; 0 if it is condemned."""
    _, _, rest = entry.value.decode().partition(_END)
    return int(rest.partition(_END)[0] or entry.tags["~at"])


async def take_object(session: Transaction, record: KeyRecord) -> None:
    """Take out the entry of the object of a new key of a provider.

    Raises ProviderUnavailable if the object may be destroyed already, and then has written nothing.
    """
    object_id = record.object_id or ""
    entry = await session.fetch(OBJECT, object_id)
    if entry is None or time_of(entry) == _CONDEMNED:
        raise ProviderUnavailable("Making the key took too long.")
    await session.remove(OBJECT, object_id)


async def announce(session: Transaction, found: ProviderObject, until: int) -> None:
    """Insert the entry of an object that may be made, and taken until a time."""
    await session.insert(OBJECT, found.object_id, found.value(until), until_tags(until))


async def insert_condemned(session: Transaction, found: ProviderObject) -> None:
    """Insert the entry of an object that is to be destroyed, unless it has one."""
    session.condemned = True
    with suppress(DuplicateError):
        await announce(session, found, _CONDEMNED)


async def condemn(session: Transaction, objects: Sequence[ProviderObject]) -> None:
    """Condemn the objects that no key has."""
    for each in objects:
        entry = await session.fetch(OBJECT, each.object_id)
        if entry is not None:
            await _replace_condemned(session, each)
        elif not await _is_named(session, each):  # nor has another process destroyed it
            await insert_condemned(session, each)


async def condemn_ended(session: Transaction, found: ProviderObject, now: int) -> bool:
    """Condemn an object whose time is over; tells whether it is to be destroyed."""
    entry = await session.fetch(OBJECT, found.object_id)
    if entry is None:  # another process has destroyed it
        return False
    ended = time_of(entry)
    if await _is_named(session, found):
        LOGGER.error(
            "the object %s of the provider %s stays: a key has it, and the database was changed",
            found.object_id,
            found.provider,
        )
    elif ended == _CONDEMNED:
        return True
    elif ended + _BELIEVED < now:
        LOGGER.warning(
            "the object %s of the provider %s stays: it was announced long ago",
            found.object_id,
            found.provider,
        )
    else:
        await _replace_condemned(session, found)
        return True
    await session.remove(OBJECT, found.object_id)
    return False


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


async def _is_named(session: Session, found: ProviderObject) -> bool:
    """Tell whether a key has an object."""
    return await session.count(_keys(), {_TAG: found.object_id}) > 0


async def _replace_condemned(session: Transaction, found: ProviderObject) -> None:
    session.condemned = True
    tags = until_tags(_CONDEMNED)
    await session.replace(OBJECT, found.object_id, found.value(_CONDEMNED), tags, cached=False)


async def _keys_after(session: Session, place: str) -> list[Entry]:
    """Some records of keys of providers that were made after a place, in that order."""
    later = {**_HAS_OBJECT, "~seq": {"$gt": place}}
    return await session.fetch_all(_keys(), later, _PAGE, order_by="id")


def _keys() -> str:
    """The category of keys."""
    from minikms.store.keys.entries import KEY  # imported here, since it imports this module

    return KEY
