"""Upgrades a store of an older version to the layout of this one, profile by profile."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from minikms.errors import KeyUnreadable
from minikms.maintenance.faults import Report, faults_of, faults_of_material
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.stored_key import read_stored_key
from minikms.plugin.protocol import Stored
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store.database import Database
from minikms.store.entries import insert_material, replace_record
from minikms.store.sessions import Transaction

# Seconds that the transaction of a profile may take: many times the need of a million keys.
_TIMEOUT: Final = 24 * 3600.0


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


async def older_keys(inspector: StoreInspector, leave: Report) -> dict[str, list[str]]:
    """The kids of all keys that may be in an older form, or cannot be read, by profile.

    `leave` is called for entries that stay as they are, since their kid cannot be read.
    """
    found: dict[str, list[str]] = {}
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
        kids = found[profile] = list[str]()
        async with aclosing(inspector.records(profile)) as batches:
            async for batch in batches:
                kids += [entry.kid for entry in batch if entry and _may_be_older(entry.record)]
                if None in batch:
                    leave(profile, "", f"{batch.count(None)} records do not decrypt")
    return found


async def upgrade(
    database: Database,
    registry: AlgorithmRegistry,
    older: Mapping[str, Sequence[str]],
    leave: Report,
    advance: Callable[[int], None],
) -> int:
    """Store these keys of each profile in the form of this layout; return the number of changes.

    Each profile is one transaction; the layout of the store is raised last. A key with faults is
    not changed: `leave` is called with its profile, its kid, and each fault. `advance` is called
    with the number of keys that were handled since its last call.
    """
    renewed = 0
    for profile, kids in older.items():
        number, faults = await _renew(database, registry, profile, kids, advance)
        renewed += number
        for kid, what in faults:
            leave(profile, kid, what)
    await database.finish_upgrade()
    return renewed


async def _renew(
    database: Database,
    registry: AlgorithmRegistry,
    profile: str,
    kids: Sequence[str],
    advance: Callable[[int], None],
) -> tuple[int, list[tuple[str, str]]]:
    """Renew keys in one transaction; return their number, and the faults of other keys by kid."""
    stopped = False

    async def work(transaction: Transaction) -> tuple[int, list[tuple[str, str]]]:
        renewed, faults = 0, list[tuple[str, str]]()
        for kid in kids:
            if stopped:
                raise asyncio.CancelledError
            advance(1)
            key = await read_stored_key(transaction, kid, ())
            if found := [(kid, what) for what in faults_of(key, registry)]:
                faults += found
            elif key.record is not None and key.stored is not None:
                record, material = in_new_form(key.record, key.stored, registry)
                if record is not key.record:
                    await transaction.remove_key(kid)
                    await insert_material(transaction, kid, material)
                    await replace_record(transaction, record)
                    renewed += 1
        return renewed, faults

    if not kids:
        return 0, []
    try:
        return await database.write(profile, work, timeout=_TIMEOUT)
    finally:
        stopped = True  # the transaction would go on without its caller, as after Ctrl-C


def _may_be_older(record: KeyRecord | None) -> bool:
    """Tell whether a record belongs to an Askar key, or cannot be read."""
    return record is None or record.material == "askar"
