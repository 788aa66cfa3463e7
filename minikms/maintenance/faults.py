"""Finds faults of a key: compares its record, material, aliases and scheduled deletion."""

import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from minikms.credentials.x509.certificates import has_own_certificate
from minikms.encodings import thumbprint
from minikms.errors import KeyNotUsable
from minikms.maintenance.stored_key import StoredKey, material_category
from minikms.plugin.protocol import KeyPairAlgorithm, Stored
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store import ALIAS, KEY, alias_entry
from minikms.store.internals import DELETION, POSTPONED, ROTATION, deletion_tags, tags_of

# Reports a fault: the profile and the kid, empty if they do not apply, and a description.
Report: TypeAlias = Callable[[str, str, str], None]


def faults_of(stored: StoredKey, registry: AlgorithmRegistry) -> Iterator[str]:
    """Describe the faults of a key."""
    record = stored.record
    for category, name in stored.unreadable:
        parts = {
            KEY: "its record",
            ALIAS: f"its alias {name!r}",
            DELETION: "its scheduled deletion",
            ROTATION: "its scheduled rotation",
        }
        part = parts.get(category, "its material")
        yield f"{part} does not decrypt"
    if record is None:
        yield from _faults_without_record(stored)
        return
    if record.kid != stored.kid:
        yield "its record belongs to another key"
    if dict(stored.tags) != tags_of(record):
        yield "its tags do not match its record"
    if not stored.materials.keys() <= {material_category(record)}:
        yield "it has material that its record does not mention"
    if stored.stored is not None:
        yield from faults_of_material(record, stored.stored, registry)
    elif not stored.unreadable_materials:
        yield "its material is missing"
    if record.certificates and not has_own_certificate(record):
        yield "its first certificate is not for its key, or cannot be read"
    listed = {alias_entry(alias): alias for alias in record.aliases}
    for name, holder in stored.aliases.items():
        alias = listed.get(name, name)
        if name not in listed and holder == stored.kid:
            yield f"the alias {alias!r} names it, and its record does not list it"
        elif name in listed and holder is None:
            yield f"its alias {alias!r} is missing"
        elif name in listed and holder == "":
            yield f"the versions of its alias {alias!r} cannot be read"
        elif name in listed and holder != stored.kid:
            yield f"its alias {alias!r} names the key {holder}"
    if stored.deletion is None:
        if record.deletes is not None and (DELETION, stored.kid) not in stored.unreadable:
            yield "it is scheduled for deletion, and nothing would remove it"
    elif stored.deletion != deletion_tags(record):
        yield "its scheduled deletion does not match its record"
    if (ROTATION, stored.kid) not in stored.unreadable and not _is_found_in_time(stored, record):
        yield "its scheduled rotation does not match its record"
    yield from _faults_of_succession(record, stored.other)


def _is_found_in_time(stored: StoredKey, record: KeyRecord) -> bool:
    """Tell whether sweeps look at a key once its next step is due, and only then.

    A step that failed is tried again after POSTPONED, by the clock of another machine.
    """
    if stored.rotation is None or record.next_step is None:
        return stored.rotation is None and record.next_step is None
    latest = max(record.next_step.at, time.time_ns() + 2 * POSTPONED)
    return record.next_step.at <= int(stored.rotation.get("~at", 0)) <= latest


def _faults_of_succession(record: KeyRecord, other: KeyRecord | None) -> Iterator[str]:
    """Describe the faults between a key and its next key; `other` is the record of the other."""
    if record.next_kid is not None and other is None:
        yield f"its next key {record.next_kid} is missing"
    elif record.next_kid is not None and other is not None and other.follows != record.kid:
        yield f"its next key {record.next_kid} does not follow it"
    if record.follows is None:
        return
    if other is None:
        yield f"it is the next key of {record.follows}, which is missing"
    elif other.next_kid != record.kid:
        yield f"it is not the next key of {record.follows}, which it follows"
    elif not other.aliases and (other.state == "verify-only" or other.replaced):
        yield f"it is the next key of {record.follows}, which another key has replaced"


def _faults_without_record(stored: StoredKey) -> Iterator[str]:
    if stored.recorded:
        if (KEY, stored.kid) not in stored.unreadable:
            yield "its record cannot be read"
        return
    if stored.materials or stored.unreadable_materials:
        yield "it has material and no record"
    if stored.deletion is not None:
        yield "it is scheduled for deletion, and has no record"
    for alias, holder in stored.aliases.items():
        if holder == stored.kid:
            yield f"the alias {alias!r} names it, and it has no record"


def faults_of_material(
    record: KeyRecord, stored: Stored, registry: AlgorithmRegistry
) -> Iterator[str]:
    """Describe the faults of a key's material."""
    try:
        algorithm = registry.of(record)
    except KeyNotUsable:
        yield f"its algorithm {record.alg} is not installed"
        return
    jwk = None
    try:
        if not isinstance(algorithm, KeyPairAlgorithm):
            algorithm.unpack(stored)
        elif record.material == "none":
            jwk = algorithm.public_jwk(algorithm.load_public(record.jwk or {}))
        else:
            jwk = algorithm.public_jwk(algorithm.unpack(stored))
    # An algorithm may raise anything for bytes that are not one of its keys.
    except Exception as exc:
        yield f"its material does not open: {type(exc).__name__}"
        return
    if jwk != record.jwk or algorithm.kty != record.kty:
        yield "its material does not match its public key"
    if jwk is not None and thumbprint(jwk) != record.kid:
        yield "its kid is not the thumbprint of its key"
    if record.material == "none" and stored != b"":
        yield "it is only a public key, but has material"
