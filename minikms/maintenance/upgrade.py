"""Upgrades a store of layout 3.0 to the layout of this version, profile by profile.

In layout 3.0, the record of a key had the keys that rotations replaced, by alias (`predecessors`),
and the aliases whose entries have versions (`versioned`). The entry of an alias had a kid, and then
its versions only if they did not follow from the record.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from minikms.errors import KeyUnreadable
from minikms.maintenance.faults import Report
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.stored_key import parsed
from minikms.store import ALIAS, KEY, Database, Entry, Transaction, UndecryptableError, alias_entry
from minikms.store.internals import SEQ_TAG, read_by_halves, seq_of
from minikms.versions import KeyVersions

# Keys are read by this many places in the order of creation at a time: a power of two, as in
# store/keys/listing.py.
_PLACES: Final = 64

# Seconds that the transaction of a profile may take: many times the need of a million keys.
_TIMEOUT: Final = 24 * 3600.0

# The members of records that this layout does not have.
_PREDECESSORS: Final = "predecessors"
_VERSIONED: Final = "versioned"

# Older layouts have this category, for objects of providers that no key names.
_OBJECT: Final = "minikms.object"

# Begins the entry of an alias in this layout; no kid begins with it.
_RENEWED: Final = b"{"

# Separates the kid from the versions in the entry of an alias of layout 3.0.
_SEPARATOR: Final = b"\n"


class _Faults(Exception):
    """A key cannot be upgraded; its arguments are its faults."""


async def numbers_of_keys(inspector: StoreInspector, leave: Report) -> dict[str, int]:
    """Count the keys that can be upgraded, by profile; call `leave` for the others."""
    found: dict[str, int] = {}
    directory = await inspector.directory()
    if directory.unreadable:
        leave("", "", f"{directory.unreadable} entries of the directory of profiles do not decrypt")
    for profile, askar_profile in directory.askar_profiles.items():
        if fault := await inspector.fault(profile, askar_profile):
            leave(profile, "", fault)
            continue
        try:
            await inspector.last_seq(profile)  # raises if nothing can be written
        except KeyUnreadable as exc:
            leave(profile, "", exc.detail)
            continue
        found[profile] = sum((await inspector.count(profile, ())).values())
    return found


async def upgrade(
    database: Database,
    profiles: Iterable[str],
    leave: Report,
    advance: Callable[[int], None],
) -> int:
    """Store the versions of all aliases of these profiles in their entries.

    Returns the number of changed keys. Each profile is one transaction; the layout of the store is
    raised last. A key that cannot be read is not changed: `leave` is called with its profile, its
    kid, and the fault. `advance` is called with the number of keys that were handled since its last
    call.
    """
    renewed = 0
    for profile in profiles:
        number, faults = await _upgrade_profile(database, profile, advance)
        renewed += number
        for kid, what in faults:
            leave(profile, kid, what)
    await database.run_own(_remove_objects, write=True)
    await database.finish_upgrade()
    return renewed


async def _remove_objects(session: Transaction) -> None:
    await session.remove_all(_OBJECT)


async def _upgrade_profile(
    database: Database, profile: str, advance: Callable[[int], None]
) -> tuple[int, list[tuple[str, str]]]:
    """Renew the keys of a profile; return their number, and the faults of others by kid."""
    stopped = False

    async def work(transaction: Transaction) -> tuple[int, list[tuple[str, str]]]:
        renewed, read, faults = 0, 0, list[tuple[str, str]]()
        await _remove_objects(transaction)
        for start in range(1, transaction.place + 1, _PLACES):
            rows = await _rows(transaction, start)
            for row in rows:
                if stopped:
                    raise asyncio.CancelledError
                advance(1)
                try:
                    renewed += await _renew(transaction, row)
                except _Faults as exc:
                    faults += [(row.name, what) for what in exc.args]
            read += len(rows)
        if unread := await transaction.count(KEY) - read:
            faults.append(("", f"{unread} records do not decrypt"))
        return renewed, faults

    try:
        return await database.write(profile, work, timeout=_TIMEOUT)
    finally:
        stopped = True  # the transaction would go on without its caller, as after Ctrl-C


async def _rows(transaction: Transaction, start: int) -> list[Entry]:
    """The entries of keys at the next places from `start` on, without damaged ones."""

    async def read(first: int, behind: int) -> list[Entry]:
        places = [seq_of(place) for place in range(first, behind)]
        return await transaction.fetch_all(KEY, {SEQ_TAG: {"$in": places}})

    return await read_by_halves(start, start + _PLACES, read, lambda _: [])


async def _renew(transaction: Transaction, row: Entry) -> bool:
    """Move the versions of a key's aliases into their entries; False if they are there already.

    Raises _Faults for aliases that cannot be read, and leaves their entries as they are.
    """
    record = parsed(row.value)
    if record is None:
        raise _Faults("its record cannot be read")
    if record.kid != row.name:
        raise _Faults("its record belongs to another key")
    unknown = dict(record.unknown or {})
    predecessors = unknown.pop(_PREDECESSORS, {})  # a record of a version before 0.3 may lack it
    unknown.pop(_VERSIONED, None)
    renewed, faults = unknown != (record.unknown or {}), list[str]()
    if renewed:
        after = replace(record, unknown=unknown or None)
        await transaction.replace(KEY, record.kid, after.to_bytes(), row.tags)
    for alias in record.aliases:
        try:
            before = predecessors.get(alias, ())
            renewed |= await _renew_alias(transaction, record.kid, alias, before)
        except _Faults as exc:
            faults += exc.args
    if faults:
        raise _Faults(*faults)
    return renewed


async def _renew_alias(
    transaction: Transaction, kid: str, alias: str, predecessors: Sequence[str]
) -> bool:
    """Store the versions of an alias of a key in its entry; False if they are there already.

    `predecessors` are the keys that rotations replaced, newest first. Raises _Faults.
    """
    name = alias_entry(alias)
    try:
        entry = await transaction.fetch(ALIAS, name)
    except UndecryptableError:
        raise _Faults(f"its alias {alias!r} does not decrypt") from None
    if entry is None:
        raise _Faults(f"its alias {alias!r} is missing")
    if entry.value.startswith(_RENEWED):
        return False
    holder, _, stored = entry.value.partition(_SEPARATOR)
    if holder != kid.encode():
        raise _Faults(f"its alias {alias!r} does not name it")
    versions = KeyVersions(dict(enumerate((*reversed(predecessors), kid), 1)))
    if stored:
        try:
            settings: dict[str, Any] = orjson.loads(stored)
            kids = dict(enumerate(settings.pop("kids"), settings.pop("first")))
            versions = KeyVersions(kids, moved=max(kids) - len(predecessors), **settings)
        except (ValueError, TypeError, LookupError):
            raise _Faults(f"the versions of its alias {alias!r} cannot be read") from None
    await transaction.replace(ALIAS, name, versions.to_bytes())
    return True
