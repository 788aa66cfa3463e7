"""Upgrades a store of an older version to the layout of this one, profile by profile."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from minikms.errors import KeyUnreadable
from minikms.maintenance.faults import Report, faults_of_material
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.stored_key import parsed
from minikms.plugin.protocol import Stored
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sequence import seq_of
from minikms.store.askar.sessions import Entry, Transaction
from minikms.store.connections.rows import read_by_halves
from minikms.store.database import Database
from minikms.store.keys.entries import KEY, MATERIAL, with_material
from minikms.store.profiles.directory import ensure_sealing_key

# The number of places in the order of creation whose keys are read at a time: a power of two, as in
# store/keys/listing.py.
_PLACES: Final = 64

# Seconds that the transaction of a profile may take: many times the need of a million keys.
_TIMEOUT: Final = 24 * 3600.0


class _Faults(Exception):
    """A key cannot be upgraded; its arguments are its faults."""


def in_new_form(
    record: KeyRecord, material: Stored, registry: AlgorithmRegistry
) -> tuple[KeyRecord, Stored]:
    """A key in the form in which its algorithm stores new keys; unchanged if it has faults."""
    if isinstance(material, bytes) or any(faults_of_material(record, material, registry)):
        return record, material
    algorithm = registry.of(record)
    packed = algorithm.pack(algorithm.unpack(material))
    in_bytes = replace(record, material="bytes")
    if isinstance(packed, bytes) and not any(faults_of_material(in_bytes, packed, registry)):
        return in_bytes, packed
    return record, material


async def numbers_of_keys(inspector: StoreInspector, leave: Report) -> dict[str, int]:
    """The number of keys of each profile that can be upgraded; `leave` is called for the others."""
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
    registry: AlgorithmRegistry,
    profiles: Iterable[str],
    leave: Report,
    advance: Callable[[int], None],
) -> int:
    """Store the keys of these profiles in the form of this layout; return the number of changes.

    Each profile is one transaction; the layout of the store is raised last. A key that cannot be
    read is not changed: `leave` is called with its profile, its kid, and the fault. `advance` is
    called with the number of keys that were handled since its last call.
    """
    renewed = 0
    for profile in profiles:
        number, faults = await _upgrade_profile(database, registry, profile, advance)
        renewed += number
        for kid, what in faults:
            leave(profile, kid, what)
    await database.finish_upgrade()
    return renewed


async def _upgrade_profile(
    database: Database, registry: AlgorithmRegistry, profile: str, advance: Callable[[int], None]
) -> tuple[int, list[tuple[str, str]]]:
    """Renew the keys of a profile; return their number, and the faults of other keys by kid."""
    stopped = False

    async def work(transaction: Transaction) -> tuple[int, list[tuple[str, str]]]:
        renewed, read, faults = 0, 0, list[tuple[str, str]]()
        await ensure_sealing_key(transaction)
        for start in range(1, transaction.place + 1, _PLACES):
            rows = await _rows(transaction, start)
            for row in rows:
                if stopped:
                    raise asyncio.CancelledError
                advance(1)
                try:
                    renewed += await _renew(transaction, row, registry)
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
        return await transaction.fetch_all(KEY, {"~seq": {"$in": places}})

    return await read_by_halves(start, start + _PLACES, read, lambda _: [])


async def _renew(transaction: Transaction, row: Entry, registry: AlgorithmRegistry) -> bool:
    """Move the material of a key into its entry; False if it has none to move.

    Raises _Faults, and then has changed nothing.
    """
    record = parsed(row.value)
    if record is None:
        raise _Faults("its record cannot be read")
    if record.kid != row.name:
        raise _Faults("its record belongs to another key")
    if record.sealed:
        return False
    try:
        if record.material == "askar":
            material: Stored | None = await transaction.fetch_key(record.kid)
        else:
            entry = await transaction.fetch(MATERIAL, record.kid)
            material = None if entry is None else entry.value
    except UndecryptableError:
        raise _Faults("its material does not decrypt") from None
    if material is None:
        if record.material == "none":
            return False
        raise _Faults("its material is missing")
    renewed, packed = in_new_form(record, material, registry)
    if not isinstance(packed, bytes):
        if faults := list(faults_of_material(record, material, registry)):
            raise _Faults(*faults)
        return False
    if record.material == "askar":
        await transaction.remove_key(record.kid)
    else:
        await transaction.remove(MATERIAL, record.kid)
    if record.material == "none":
        return False
    renewed = await with_material(transaction, renewed, packed)
    await transaction.replace(KEY, record.kid, renewed.to_bytes(), row.tags)
    return True
