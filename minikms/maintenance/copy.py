"""A store counted, and copied into another."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.maintenance.inspect import StoredKey, StoreInspector
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store.listing import KEY


@dataclass(frozen=True)
class Copied:
    """A profile that was copied: how many keys, and how many were deleted meanwhile."""

    profile: str
    keys: int
    deleted: int


async def count(
    contents: StoreInspector, algs: Iterable[str]
) -> AsyncGenerator[tuple[str, dict[str, int]], None]:
    """Of every profile, how many keys it has: of each of these algorithms, and of others."""
    for profile in await contents.profiles():
        try:
            if await _home(contents, profile) is not None:
                yield profile, await contents.count(profile, algs)
        except ProfileNotFound:
            continue  # removed meanwhile


async def copy(
    source: StoreInspector, target: StoreInspector, advance: Callable[[int], None]
) -> AsyncGenerator[Copied, None]:
    """Copy every profile, each with its keys as they are at one moment; others may use the source.

    `advance` is told how many keys more have been dealt with. Raises KeyUnreadable, which names
    what cannot be copied. Tokens and what belongs to audit logs are copied first.
    """
    async with aclosing(source.own()) as batches:
        async for batch in batches:
            await target.insert_own(batch)
    for profile in await source.profiles():
        # One that is removed meanwhile is left out, and one that is made anew is copied anew.
        while (home := await _home(source, profile)) is not None:
            await target.create_profile(profile)
            try:
                copied = await _copy_profile(source, target, profile, advance)
            except ProfileNotFound:
                copied = None
            except KeyUnreadable as exc:
                raise KeyUnreadable(f"Profile {profile}: {exc.detail}") from None
            if copied is not None and await source.home(profile) == home:
                yield copied
                break
            await target.remove_profile(profile)


async def _home(contents: StoreInspector, profile: str) -> str | None:
    """Askar's name of a profile that can be used, None where it is gone; raises KeyUnreadable."""
    home = await contents.home(profile)
    if home is not None and (flaw := await contents.flaw(profile, home)):
        raise KeyUnreadable(f"Profile {profile}: {flaw}.")
    return home


async def _copy_profile(
    source: StoreInspector, target: StoreInspector, profile: str, advance: Callable[[int], None]
) -> Copied:
    copied = deleted = newest = 0
    async with aclosing(source.records(profile)) as batches:
        async for batch in batches:
            records = [record for record in batch if record is not None]
            if len(records) < len(batch):
                raise KeyUnreadable(await _name_unreadable(source, profile))
            keys = []
            kept = await source.look(profile, [record.kid for record in records])
            for record, found in zip(records, kept, strict=True):
                material = await _material(source, profile, record, found)
                if material is not None:
                    keys.append((record, material))
                newest = max(newest, int(record.seq))
            await target.insert(profile, keys)
            copied, deleted = copied + len(keys), deleted + len(records) - len(keys)
            advance(len(records))
    if await source.publishes(profile):
        await target.publish(profile)
    # Cursors of listings stay as they are, those behind the last key too.
    if last := max(newest, await source.last_seq(profile)):
        await target.set_last_seq(profile, last)
    return Copied(profile, copied, deleted)


async def _material(
    source: StoreInspector, profile: str, record: KeyRecord, found: StoredKey
) -> Stored | None:
    """The material of a key; None where it was deleted after its record was read."""
    if not _is_of(found, record) or found.stored is None:
        (found,) = await source.look(profile, [record.kid], exclusively=True)
    if found.unreadable_materials or (KEY, record.kid) in found.unreadable:
        raise KeyUnreadable(f"The key {record.kid} does not decrypt.")
    if not _is_of(found, record):
        return None
    if found.stored is None:
        raise KeyUnreadable(f"The key {record.kid} has no material.")
    return found.stored


def _is_of(found: StoredKey, record: KeyRecord) -> bool:
    """Whether this is still the same key, not another that was made with its kid."""
    return found.record is not None and found.record.seq == record.seq


async def _name_unreadable(source: StoreInspector, profile: str) -> str:
    """A sentence on keys whose records cannot be read, by name as far as their material does."""
    names = []
    async with aclosing(source.materials(profile)) as batches:
        async for batch in batches:
            kids = [kid for _, kid in batch if kid is not None]
            for kept in await source.look(profile, kids):
                if kept.recorded and kept.record is None:
                    names.append(kept.kid)
    which = ", ".join(names) or "one that nothing names"
    return f"The record of a key cannot be read: {which}."
