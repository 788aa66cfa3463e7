"""The entry of a key, which has its record and its sealed material, and look-ups of keys.

Askar encrypts the entry. Material of bytes is also sealed under a key of the profile, so that it
stays encrypted while records are listed, changed and copied in memory.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from aries_askar import AskarErrorCode
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms.errors import (
    AliasNotFound,
    KeyExists,
    KeyNotFound,
    KeyUnreadable,
    KmsError,
    TooManyKeys,
    ValidationFailed,
)
from minikms.events import set_asked, set_key_alg, set_keys
from minikms.key_requests import KeyRef
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord, PrivateRecordError
from minikms.store.askar.errors import DuplicateError, UndecryptableError
from minikms.store.askar.sequence import SEQ_TAG, seq_of
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import ALIAS, APPROVAL, DAY_USES, DELETION, KEY
from minikms.store.keys.due_entries import due_filter, insert_deletion, set_rotation
from minikms.store.profiles.marker import ensure_sealing_key, sealing_key
from minikms.store.reads import AnsweredError
from minikms.versions import KeyVersions

LOGGER = logging.getLogger(__name__)

# The tag of a record with the identifier of its object, the key pair at a provider.
OBJECT_TAG: Final = "object"

# The tag of a next key's record.
NEXT_TAG: Final = {"state": "next"}

# The tag of the record of a key that is deleted only with an approval.
KEPT_TAG: Final = {"approval": "delete"}

# Aliases of this length, in bytes of UTF-8, and longer ones are hashed to name their entries.
# PostgreSQL takes 2,704 bytes in a row of an index, which also has the category and 56 bytes that
# Askar adds.
_LONG_ALIAS: Final = 2049

_NONCE: Final = 12  # bytes, random for each material (NIST SP 800-38D section 8.2.2)


def alias_entry(alias: str) -> str:
    """The name of an alias's entry: the alias, or its hash if it is too long for a database.

    A control character precedes the hash; aliases do not have any.
    """
    data = alias.encode()
    if len(data) < _LONG_ALIAS:
        return alias
    return f"\x1fsha256:{hashlib.sha256(data).hexdigest()}"


def label_tag(name: str) -> str:
    """The tag with a label's value.

    Askar cannot read the name of a tag in which JSON escapes a character. The name of a label never
    has a colon.
    """
    escaped = name.replace('"', ":22").replace("\\", ":5C")
    return f"label:{escaped}"


def tags_of(record: KeyRecord) -> dict[str, str]:
    """The tags by which a record is found. Askar encrypts all tags but `~seq`."""
    labels = {label_tag(name): value for name, value in record.labels.items()}
    at_provider = {} if record.object_id is None else {OBJECT_TAG: record.object_id}
    of_next = {} if record.follows is None else NEXT_TAG
    approval = None if record.rules is None else record.rules.approval
    kept = KEPT_TAG if approval is not None and approval.delete else {}
    return {SEQ_TAG: record.seq, "alg": record.alg, **labels, **at_provider, **of_next, **kept}


def seal(key: bytes, kid: str, material: bytes) -> bytes:
    """Encrypt the material of a key, bound to its kid."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, material, kid.encode())


def unseal(key: bytes, kid: str, sealed: bytes) -> bytes:
    """Decrypt material that `seal` encrypted for this kid; raises UndecryptableError."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], kid.encode())
    except (InvalidTag, ValueError):  # ValueError if it is too short, or there is no key
        raise UndecryptableError(AskarErrorCode.ENCRYPTION, "sealed material") from None


async def with_material(session: Transaction, record: KeyRecord, material: bytes) -> KeyRecord:
    """The record of a key with its sealed material; a public key has none."""
    if record.material == "none":
        return replace(record, sealed=b"")
    key = session.sealing_key or await ensure_sealing_key(session)
    return replace(record, sealed=seal(key, record.kid, material))


async def find_material(session: Session, record: KeyRecord) -> Stored | None:
    """The material of a key, as its algorithm packed it, or None; raises UndecryptableError."""
    if record.sealed:
        key = session.sealing_key or await sealing_key(session)
        return unseal(key, record.kid, record.sealed)
    if record.material == "none":
        return b""
    return await session.fetch_key(record.kid)


async def material_of(session: Session, record: KeyRecord) -> Stored | None:
    """The material of a key, as its algorithm packed it, or None."""
    try:
        return await find_material(session, record)
    except UndecryptableError as exc:
        raise _unreadable(record.kid, exc) from None


class DueKey(NamedTuple):
    """A key whose deletion is due, and the scheduled time."""

    kid: str
    deletes: int | None


class DueError(AnsweredError):
    """A key's deletion is due, but not recorded as due. Record it, then raise `error`."""

    def __init__(self, record: KeyRecord, error: KmsError) -> None:
        super().__init__()
        self.key = DueKey(record.kid, record.deletes)
        self.error = error


async def load_record(session: Session, kid: str) -> KeyRecord | None:
    """The record of a key, even if its deletion is due; None if the key does not exist."""
    try:
        entry = await session.fetch(KEY, kid)
        return None if entry is None else KeyRecord.from_bytes(entry.value)
    except (UndecryptableError, PrivateRecordError) as exc:
        raise _unreadable(kid, exc) from None


async def fetch_record(session: Session, kid: str) -> KeyRecord:
    """The record of a key; raises KeyNotFound and DueError."""
    return await find_record(session, KeyRef(kid=kid))


async def find_record(session: Session, ref: KeyRef) -> KeyRecord:
    """The record of the key with a kid or an alias.

    Raises KeyNotFound or AliasNotFound, and DueError.
    """
    if ref.alias is None:
        return _required(await load_record(session, ref.kid or ""), kid=ref.kid)
    record, _ = await find_named(session, ref.alias)
    return record


async def find_versions(session: Session, alias: str) -> KeyVersions:
    """The versions of an alias; raises AliasNotFound.

    The key that it names may be due for deletion.
    """
    try:
        entry = await session.fetch(ALIAS, alias_entry(alias))
        if entry is not None:
            return KeyVersions.from_bytes(entry.value)
    except (UndecryptableError, ValueError, TypeError, LookupError) as exc:
        raise _unreadable("that an alias names", exc) from None
    set_asked(alias=alias)
    raise AliasNotFound(alias)


async def find_named(session: Session, alias: str) -> tuple[KeyRecord, KeyVersions]:
    """The record of the key that an alias names, and the versions of the alias.

    Raises AliasNotFound and DueError.
    """
    versions = await find_versions(session, alias)
    record, before = None, ""  # no alias outlives its key
    while versions.latest_kid != before:
        record = await load_record(session, versions.latest_kid)
        if record is not None and alias in record.aliases:
            break
        # It moved between the two reads, or the store is damaged.
        before, versions = versions.latest_kid, await find_versions(session, alias)
    return _required(record, alias=alias), versions


async def versions_of(
    session: Session, record: KeyRecord, known: Mapping[str, KeyVersions] = MappingProxyType({})
) -> dict[str, KeyVersions]:
    """The versions of each alias of a key; reads unless `known` has them; raises AliasNotFound."""
    return {
        alias: known.get(alias) or await find_versions(session, alias) for alias in record.aliases
    }


async def require_room(session: Transaction, number: int = 1) -> None:
    """Raise TooManyKeys if the profile may not have `number` more keys.

    Keys whose deletion is due do not count, since they exist for no caller.
    """
    most = session.settings.max_keys
    if most is None:
        return
    if session.keys is None:  # the first key since the profile has this setting
        session.keys = await session.count(KEY)
    excess = session.keys + number - most
    if excess > 0 and excess > await session.count(DELETION, due_filter()):
        raise TooManyKeys(f"The profile has at most {most:,} keys.")


def require_published(session: Transaction, record: KeyRecord) -> None:
    """Raise ValidationFailed if readers may keep a JWK Set for longer than next keys are in it."""
    most, ahead = session.settings.jwks_max_age, record.publish_ahead
    if most is not None and ahead is not None and ahead < most:
        what = f"Readers keep the profile's JWK Set for {most:,} seconds (jwks_max_age)."
        raise ValidationFailed(what, errors=[("#/publish_ahead", what)])


async def insert_key(session: Transaction, record: KeyRecord, material: Stored) -> None:
    """Insert a new key: record, tags, material, and times for sweeps. Raises KeyExists."""
    try:
        if isinstance(material, bytes):
            record = await with_material(session, record, material)
        else:
            await session.insert_key(record.kid, material)
        await session.insert(KEY, record.kid, record.to_bytes(), tags_of(record))
        if record.next_step is not None:
            await set_rotation(session, record.kid, record.next_step.at)
        if record.deletes is not None:
            await insert_deletion(session, record)
    except DuplicateError:
        raise KeyExists() from None
    if session.keys is not None:
        session.keys += 1


async def insert_keys(
    session: Transaction, keys: Sequence[tuple[KeyRecord, Stored]]
) -> list[KeyRecord]:
    """Insert new keys without aliases, and return their records; each has an audit line."""
    if session.settings.max_keys is not None:
        await require_room(session, len(keys))
    stored: list[KeyRecord] = []
    for record, material in keys:
        require_published(session, record)
        stored.append(replace(record, seq=seq_of(session.next_place())))
        await insert_key(session, stored[-1], material)
    set_keys((key.kid, key.alg) for key in stored)
    return stored


async def replace_record(session: Transaction, record: KeyRecord) -> None:
    """Replace the record of a key, and its tags; its sealed material stays with it."""
    await session.replace(KEY, record.kid, record.to_bytes(), tags_of(record))


async def replace_scheduled(session: Transaction, before: KeyRecord, record: KeyRecord) -> None:
    """Replace the record `before` of a key, and the time at which a sweep looks at the key."""
    if record.next_step != before.next_step:
        at = None if record.next_step is None else record.next_step.at
        await set_rotation(session, record.kid, at)
    await replace_record(session, record)


async def remove_key(session: Transaction, record: KeyRecord) -> None:
    """Remove all entries of a key; the object of a provider's key is destroyed before."""
    for alias in record.aliases:
        await session.remove(ALIAS, alias_entry(alias))
    if record.material == "askar":
        await session.remove_key(record.kid)
    if record.next_step is not None:
        await set_rotation(session, record.kid, None)
    if record.deletes is not None:
        await session.remove(DELETION, record.kid)
    is_counted = record.rules is not None and record.rules.per_day is not None
    if is_counted and await session.fetch(DAY_USES, record.kid) is not None:
        await session.remove(DAY_USES, record.kid)
    if record.rules is not None and record.rules.approval is not None:
        await session.remove_all(APPROVAL, {"kid": record.kid}, cached=False)
    await session.remove(KEY, record.kid)
    session.removed.add(int(record.seq or 0))
    if session.keys is not None:
        session.keys -= 1


def _required(
    record: KeyRecord | None, *, kid: str | None = None, alias: str | None = None
) -> KeyRecord:
    if record is not None and not record.is_gone:
        set_key_alg(record.kid, record.alg)
        return record
    set_asked(kid, alias)
    error = KeyNotFound() if alias is None else AliasNotFound(alias)
    if record is None or not record.deletes:
        raise error
    raise DueError(record, error)


def _unreadable(name: str, exc: Exception) -> KeyUnreadable:
    """The error for an entry that does not decrypt, or a record with a private member."""
    if isinstance(exc, PrivateRecordError):
        LOGGER.error("the key %s is refused: its stored public JWK has a private member", name)
    else:
        LOGGER.error("the stored key %s does not decrypt", name)
    return KeyUnreadable()
