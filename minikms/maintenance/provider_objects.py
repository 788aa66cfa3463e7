"""Compares the keys of a store with the objects of a provider, and destroys orphans."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.maintenance.inspect import StoreInspector
from minikms.plugin.provider import Provider
from minikms.records import PrivateRecordError
from minikms.startup_errors import StoreError
from minikms.store import RemovedProfile, UndecryptableError
from minikms.store.internals import LONG_TIMEOUT, objects_in


class KeyWithObject(NamedTuple):
    """A key of a provider: its profile, its kid, and the identifier of its object."""

    profile: str
    kid: str
    object_id: str


@dataclass
class _Named:
    """The objects that a store names; `unreadable` are profiles that may name others.

    `keys` has the provider of each key, without keys whose deletion is due: their objects may be
    gone.
    """

    keys: dict[KeyWithObject, str] = field(default_factory=dict)
    object_ids: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)


class Comparison(NamedTuple):
    """The difference of a store and a provider.

    `missing` are keys whose object is not there, `orphans` the identifiers of objects that nothing
    in the store names, and `others` is the number of objects that other stores may have.
    `unreadable` are profiles that do not decrypt, and may name orphans.
    """

    keys: int
    missing: list[KeyWithObject]
    orphans: list[str]
    others: int
    unreadable: list[str]


async def compare(inspector: StoreInspector, name: str, provider: Provider) -> Comparison:
    """Compare a store, which may be in use, with an open provider, which has this name.

    Raises ProviderUnavailable. Store and provider are read twice: a key that is deleted meanwhile
    does not count as a difference. An object that is being made looks like an orphan.
    """
    before = await _named(inspector)
    found = await objects_of(provider)
    after = await _named(inspector)
    prefixes = tuple(each.hex() for each in await inspector.objects.prefixes())
    named = before.object_ids | after.object_ids
    orphans = {each for each in found - named if each.startswith(prefixes)}
    others = len(found - named - orphans)
    if orphans:
        orphans &= await objects_of(provider)
    keys = [each for each in before.keys.keys() & after.keys.keys() if after.keys[each] == name]
    missing = [each for each in keys if each.object_id not in found]
    unreadable = sorted({*before.unreadable, *after.unreadable})
    return Comparison(len(keys), sorted(missing), sorted(orphans), others, unreadable)


async def require_no_doubt(inspector: StoreInspector, name: str, comparison: Comparison) -> None:
    """Raise StoreError unless the orphans of a provider can only be left over by this store."""
    if not await inspector.objects.owns():
        raise StoreError(
            "The store shares its objects with another one, or never made any: "
            "`minikms store own-objects` says more."
        )
    if comparison.unreadable:
        raise StoreError(
            f"The profile {comparison.unreadable[0] or 'directory'} does not decrypt, and may have "
            "keys of these objects: `minikms store verify` says more."
        )
    if comparison.missing:
        key = comparison.missing[0]
        raise StoreError(
            f"Nothing is destroyed, since keys lack their objects at the provider {name}, such as "
            f"{key.kid} in the profile {key.profile}: the store or the token may be the wrong one."
        )


async def destroy(provider: Provider, object_id: str) -> None:
    """Destroy an object; raises ProviderUnavailable."""
    await asyncio.to_thread(provider.destroy, bytes.fromhex(object_id))


async def objects_of(provider: Provider) -> set[str]:
    """The identifiers of all objects of a provider."""
    found: Collection[bytes] = await asyncio.to_thread(provider.find)
    return {key_id.hex() for key_id in found}


async def _named(inspector: StoreInspector) -> _Named:
    """The objects that a store names now.

    Removed profiles, whose objects are destroyed before they are erased, are read last.
    """
    named = _Named()
    directory = await inspector.directory()
    if directory.unreadable:
        named.unreadable.append("")
    for profile, askar_profile in directory.askar_profiles.items():
        try:
            if await inspector.fault(profile, askar_profile):
                named.unreadable.append(profile)
                continue
            found = await inspector.database.run(profile, objects_in, timeout=LONG_TIMEOUT)
        except ProfileNotFound:
            continue  # removed meanwhile
        except (KeyUnreadable, UndecryptableError, PrivateRecordError):
            named.unreadable.append(profile)
            continue
        for each in found:
            if not each.is_due:
                named.keys[KeyWithObject(profile, each.kid, each.object_id)] = each.provider
        named.object_ids.update(each.object_id for each in found)
    directory = await inspector.directory()
    for entry, askar_profile in directory.removed.items():
        with suppress(ProfileNotFound):  # erased meanwhile
            removed = await inspector.objects.of_removed(RemovedProfile(entry, askar_profile))
            named.object_ids.update(each.object_id for each in removed)
    return named
