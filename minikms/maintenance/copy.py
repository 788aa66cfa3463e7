"""Counts the keys of a store, and copies a store into another."""

from collections.abc import AsyncGenerator, Callable, Container, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from minikms.access.token_record import TokenRecord
from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.progress import Progress
from minikms.maintenance.write import ProfileWriter, StoreWriter
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store import KEY, Tenancy
from minikms.store.internals import BATCH, publishes

COPY: Final = "copy"
"""In a file of progress, Askar's name of the copy of a profile."""

COPY_NOTES: Final = {"keys": int, "deleted": int, COPY: str}
"""The types of the facts that `copy` notes of a profile."""


@dataclass(frozen=True)
class Copied:
    """A copied profile: the numbers of its keys, and of keys deleted meanwhile.

    If the profile is copied with its own tokens, also their number, and those left, which are also
    valid in other profiles.
    """

    profile: str
    keys: int
    deleted: int
    tokens: int = 0
    left: tuple[TokenRecord, ...] = ()


async def count(
    inspector: StoreInspector,
    algs: Iterable[str],
    *,
    jobs: int = 1,
    profiles: Iterable[str] | None = None,
    done: Container[str] = (),
) -> AsyncGenerator[tuple[str, dict[str, int]], None]:
    """Count the keys of each profile for each of these algorithms, and for all others.

    `profiles` None means all; `done` has Askar's names of profiles that are left out.
    """

    async def number(profile: str) -> tuple[str, dict[str, int]] | None:
        with suppress(ProfileNotFound):  # removed meanwhile
            askar_profile = await inspector.usable(profile)
            if askar_profile is not None and askar_profile not in done:
                return profile, await inspector.count(profile, algs)
        return None

    names = await inspector.profiles() if profiles is None else profiles
    numbers = inspector.at_once(jobs, number, names)
    async with aclosing(numbers) as counted:
        async for each in counted:
            if each is not None:
                yield each


async def finished_copies(source: StoreInspector, progress: Progress) -> set[str]:
    """Give Askar's names of finished copies; raises StoreError for progress of another store."""
    there = (await source.directory()).askar_profiles.values()
    return {progress.done[profile][COPY] for profile in progress.kept(there)}


async def copy(
    source: StoreInspector,
    target: StoreWriter,
    advance: Callable[[int], None],
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> AsyncGenerator[Copied, None]:
    """Copy every profile as of one moment, `jobs` profiles at a time; the source may be in use.

    `advance` is called with the number of keys that were handled since its last call. Raises
    KeyUnreadable, which names the key or entry that cannot be copied. The entries of audit logs are
    copied first. Tokens are copied after the profiles, and name the profiles of the copy. The copy
    shares objects of providers with the source, and destroys none (store/keys/provider_objects.py).
    Copied profiles are noted in `progress`; profiles already noted there are not copied again.
    """
    progress = progress or Progress()
    progress.begin(target.mark)
    if progress.mark:
        await target.empty_own()
    async with aclosing(source.own()) as batches:
        async for batch in batches:
            await target.insert_own(batch)
    if since := await source.uses_noted_since():
        await target.insert_uses_noted_since(since)
    ids: dict[str, tuple[Tenancy, str | None]] = {}
    kept = {*await target.directory.names()}

    async def copied_profile(profile: str) -> Copied | None:
        # A profile removed meanwhile is left out; a recreated one is copied again.
        while (askar_profile := await source.usable(profile)) is not None:
            earlier = progress.done.get(askar_profile) if profile in kept else None
            if earlier is None and profile in kept:
                kept.remove(profile)
                await _remove(target, profile)
            with suppress(ProfileNotFound):
                tenancy = await source.database.directory.tenancy(profile)
                if earlier is not None:
                    if await source.askar_profile(profile) != askar_profile:
                        continue
                    ids[profile] = tenancy, (await target.directory.tenancy(profile)).id
                    return Copied(profile, earlier["keys"], earlier["deleted"])
                async with target.arriving(profile) as writer:
                    copied = await copy_contents(source, writer, profile, askar_profile, advance)
                    settings = await source.settings(profile)
                    if await source.askar_profile(profile) != askar_profile:
                        continue
                    note_copy(progress, askar_profile, copied, writer)
                    await writer.finish(settings)
                ids[profile] = tenancy, writer.id
                return copied
        if profile in kept:
            await _remove(target, profile)
        return None

    profiles = source.at_once(jobs, copied_profile, await source.profiles())
    async with aclosing(profiles) as copies:
        async for each in copies:
            if each is not None:
                yield each
    await _copy_tokens(source, target, ids)
    # Before a store makes its first key of a provider, it stores the ownership. So copy that last.
    if ownership := await source.objects.ownership():
        await target.objects.share(ownership)


async def _copy_tokens(
    source: StoreInspector, target: StoreWriter, ids: Mapping[str, tuple[Tenancy, str | None]]
) -> None:
    """Copy the tokens; `ids` has the tenancy of each copied profile, and its id in the copy.

    A token for a profile becomes one for its copy; no other token is valid there.
    """

    def bound(record: TokenRecord) -> TokenRecord:
        named = dict(record.ids)
        for name in record.profiles or ():
            if name in ids and ids[name][0].admits(named.get(name), record.created):
                named[name] = ids[name][1]
        return replace(record, ids=named)

    some: list[TokenRecord] = []
    async for record in source.tokens.all_records():
        some.append(bound(record))
        if len(some) == BATCH:
            await target.insert_tokens(some)
            some = []
    await target.insert_tokens(some)


async def _remove(target: StoreWriter, profile: str) -> None:
    if (removed := await target.directory.remove(profile)) is not None:
        await target.directory.removals.erase(removed)


def note_copy(
    progress: Progress, askar_profile: str, copied: Copied, writer: ProfileWriter
) -> None:
    """Note a copy that only `finish` is missing; whether it was finished, its target knows."""
    noted: dict[str, Any] = {"keys": copied.keys, "deleted": copied.deleted}
    progress.note(askar_profile, **noted, **{COPY: writer.askar_profile})


async def copy_contents(
    source: StoreInspector,
    target: ProfileWriter,
    profile: str,
    askar_profile: str,
    advance: Callable[[int], None],
) -> Copied:
    """Copy the contents of a profile but for its settings and tokens; raises KeyUnreadable."""
    try:
        return await _copy_contents(source, target, profile, askar_profile, advance)
    except KeyUnreadable as exc:
        raise KeyUnreadable(f"Profile {profile}: {exc.detail}") from None


async def _copy_contents(
    source: StoreInspector,
    target: ProfileWriter,
    profile: str,
    askar_profile: str,
    advance: Callable[[int], None],
) -> Copied:
    copied = deleted = newest = 0
    async with aclosing(source.records(profile)) as batches:
        async for batch in batches:
            records = [entry.record for entry in batch if entry and entry.record]
            if len(records) < len(batch):
                raise KeyUnreadable(
                    "The record of a key cannot be read: `minikms store verify` says more."
                )
            keys = []
            materials = await source.material(profile, records)
            for record, material in zip(records, materials, strict=True):
                if material is None:
                    material = await _material(source, profile, record)
                if material is not None:
                    keys.append((record, material))
                newest = max(newest, int(record.seq))
            named = [record for record, _ in keys if record.aliases]
            versions = await source.versions(profile, named) if named else {}
            await target.insert(keys, versions)
            copied, deleted = copied + len(keys), deleted + len(records) - len(keys)
            advance(len(records))
    if await source.database.run(profile, publishes):
        await target.publish()
    # Cursors of listings stay valid in the copy, even after the last key.
    if last := max(newest, await source.last_seq(profile)):
        await target.set_last_seq(last)
    async with aclosing(source.day_uses(profile)) as some:
        async for uses in some:
            await target.insert_day_uses(uses)
    await target.insert_last_uses(await source.last_uses(askar_profile))
    return Copied(profile, copied, deleted)


async def _material(source: StoreInspector, profile: str, record: KeyRecord) -> Stored | None:
    """Read the material of a key while nobody writes; None if the key was deleted."""
    (found,) = await source.inspect(profile, [record.kid], exclusively=True)
    if found.unreadable_materials or (KEY, record.kid) in found.unreadable:
        raise KeyUnreadable(f"The key {record.kid} does not decrypt.")
    # A new key may have been made with its kid.
    if found.record is None or found.record.seq != record.seq:
        return None
    if found.stored is None:
        raise KeyUnreadable(f"The key {record.kid} has no material.")
    return found.stored
