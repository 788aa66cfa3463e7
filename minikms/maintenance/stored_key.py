"""All entries of a key, even if they contradict each other."""

from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store import ALIAS, KEY, Session, UndecryptableError, alias_entry
from minikms.store.internals import DELETION, ROTATION, find_material
from minikms.versions import KeyVersions

ResultT = TypeVar("ResultT")

# Categories of Askar keys, and of material that is sealed in a key's entry.
ASKAR_KEY: Final = "askar"
SEALED: Final = "sealed"


def holder_of(value: bytes) -> str:
    """The kid that the entry of an alias names, empty if it has no versions that can be read."""
    try:
        return KeyVersions.from_bytes(value).latest_kid
    except (ValueError, TypeError, LookupError):
        return ""


@dataclass(frozen=True)
class StoredKey:
    """All entries of a kid.

    `record` is None if it does not exist, or exists (`recorded`) and cannot be read. `materials`
    maps a category to the material stored there. `aliases` maps the `alias_entry` of each alias
    that the record lists or the caller named to its `holder`, or to None if it has no entry.
    `deletion` has the tags of the scheduled deletion, and `rotation` those of the entry of the next
    step of its rotation. `other` is the record of its next key, or of the key that it follows, None
    without one. Entries that do not decrypt are only in `unreadable`, as pairs of category and
    name.
    """

    kid: str
    recorded: bool
    record: KeyRecord | None
    tags: Mapping[str, Any]
    materials: Mapping[str, Stored] = field(repr=False)
    aliases: Mapping[str, str | None]
    deletion: Mapping[str, Any] | None
    rotation: Mapping[str, Any] | None
    other: KeyRecord | None
    unreadable: tuple[tuple[str, str], ...]

    @property
    def unreadable_materials(self) -> bool:
        """Tell whether some material does not decrypt."""
        return any(category in (ASKAR_KEY, SEALED) for category, _ in self.unreadable)

    @property
    def stored(self) -> Stored | None:
        """The material of the kind named in the record; empty for a public key."""
        if self.record is None:
            return None
        empty = b"" if self.record.material == "none" else None
        return self.materials.get(material_category(self.record), empty)


def material_category(record: KeyRecord) -> str:
    """The category of a key's material, as its record says."""
    return ASKAR_KEY if record.material == "askar" else SEALED


async def read_stored_key(session: Session, kid: str, aliases: Iterable[str]) -> StoredKey:
    """Read all entries of a kid, and the entries of `aliases`, as named by `alias_entry`."""
    unreadable: list[tuple[str, str]] = []
    entry = await _read(session.fetch(KEY, kid), (KEY, kid), unreadable)
    record = parsed(entry.value) if entry else None
    materials: dict[str, Stored] = {}
    if key := await _read(session.fetch_key(kid), (ASKAR_KEY, kid), unreadable):
        materials[ASKAR_KEY] = key
    if record and record.sealed:
        own = replace(record, kid=kid)  # the record may belong to another key
        opened: Stored | None = await _read(find_material(session, own), (SEALED, kid), unreadable)
        if opened is not None:
            materials[SEALED] = opened
    listed = map(alias_entry, record.aliases) if record else ()
    names = dict.fromkeys((*listed, *aliases))
    deletion = await _read(session.fetch(DELETION, kid), (DELETION, kid), unreadable)
    rotation = await _read(session.fetch(ROTATION, kid), (ROTATION, kid), unreadable)
    other = None
    if record and (name := record.next_kid or record.follows):
        with suppress(UndecryptableError):
            other = await session.fetch(KEY, name)
    holders = {
        name: await _read(session.fetch(ALIAS, name), (ALIAS, name), unreadable) for name in names
    }
    return StoredKey(
        kid,
        recorded=entry is not None or (KEY, kid) in unreadable,
        record=record,
        tags=entry.tags if entry else {},
        materials=materials,
        aliases={
            name: holder_of(entry.value) if entry else None
            for name, entry in holders.items()
            if (ALIAS, name) not in unreadable
        },
        deletion=deletion.tags if deletion else None,
        rotation=rotation.tags if rotation else None,
        other=parsed(other.value) if other else None,
        unreadable=tuple(unreadable),
    )


async def read_material(session: Session, record: KeyRecord) -> Stored | None:
    """Read the material that a record names; None if it is missing or does not decrypt."""
    try:
        return await find_material(session, record)
    except UndecryptableError:
        return None


async def _read(
    fetch: Awaitable[ResultT | None], name: tuple[str, str], unreadable: list[tuple[str, str]]
) -> ResultT | None:
    """Return the result of `fetch`; None if it does not decrypt: `unreadable` gets `name`."""
    try:
        return await fetch
    except UndecryptableError:
        unreadable.append(name)
        return None


def parsed(value: bytes) -> KeyRecord | None:
    """The record in these bytes; None if this version cannot read it."""
    try:
        record = KeyRecord.from_bytes(value)
    except (ValueError, TypeError, LookupError):
        return None
    return record if record.seq.isdecimal() else None
