"""Fills the cache of keys after the start, so that the first use of a key is as fast as others."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from minikms.basics.background import in_background
from minikms.errors import ProfileNotFound, StoreUnavailable
from minikms.keys.cached_keys import CachedKey
from minikms.keys.operations import KeyOperations, keep_in_cache
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store import PROFILE, KeyStore, groups_of

LOGGER = logging.getLogger(__name__)

# Seconds until the next look if calls wait for the store, and if the store is unavailable.
_PAUSE: Final = 0.02
_LONG_PAUSE: Final = 1.0

# Seconds to wait until the cache keeps keys of a profile: on PostgreSQL, until the profile was
# checked once.
_PATIENCE: Final = 60.0

# The number of profiles that are checked together; their checks stay valid until keys are read.
_TOGETHER: Final = 100

# The number of keys after which the garbage collector is told to spare them. Otherwise it searches
# all of them again and again while more are read, for tens of milliseconds each time. It searches
# this number once, for a millisecond.
_SPARED: Final = 500

# Seconds between two lines of the log with the number of keys read.
_PROGRESS: Final = 10.0


@asynccontextmanager
async def warming(keys: KeyOperations, spare: Callable[[], None]) -> AsyncIterator[None]:
    """Cache keys until the cache is full; of each profile, the last used and the newest first.

    Reading pauses while calls wait for the store. `spare` excludes the present objects from garbage
    collection.
    """
    async with in_background(_warm(keys, spare)):
        yield


async def _warm(keys: KeyOperations, spare: Callable[[], None]) -> None:
    began = time.monotonic()
    try:
        number, is_full = await _read_all(keys, spare)
        spare()
    except Exception:
        LOGGER.exception("reading keys ahead has ended")
        return
    LOGGER.info(
        "%d keys were read ahead in %.1f s%s",
        number,
        time.monotonic() - began,
        ": the cache is full" if is_full else "",
    )


async def _read_all(keys: KeyOperations, spare: Callable[[], None]) -> tuple[int, bool]:
    """Read the keys of all profiles; return their number, and whether the cache is full."""
    names, number = await _profiles(keys.store), 0
    told = time.monotonic()
    for position, name in enumerate(names):
        if position % _TOGETHER == 0:
            for each in names[position : position + _TOGETHER]:
                _keeps(keys, each)
        if not await _wait_until_kept(keys, name):
            LOGGER.warning("the keys of a profile are not read ahead: it could not be checked")
            continue
        left: list[range] | None = None  # the places to read, from the end of the list
        while left is None or left:
            if left and time.monotonic() - told >= _PROGRESS:
                told = time.monotonic()
                LOGGER.info(
                    "%d keys are read ahead; at most %d are left in profile %d of %d",
                    number,
                    sum(map(len, left)),
                    position + 1,
                    len(names),
                )
            if _waits(keys.store):
                await asyncio.sleep(_PAUSE)
                continue
            try:
                if left is None:
                    left = (await _places_to_read(keys, name))[::-1]
                    continue
                places = left[-1]
                read = await _read_some(keys, name, places[-1])
            except ProfileNotFound:
                break
            except StoreUnavailable:
                await asyncio.sleep(_LONG_PAUSE)
                continue
            except Exception:  # an entry does not decrypt, or belongs to another name
                LOGGER.exception("the keys of a profile are not read ahead: see store verify")
                break
            number += read.keys
            if number % _SPARED < read.keys:
                spare()
            if read.is_full:
                return number, True
            left.pop()
            if read.before >= places.start:
                left.append(range(places.start, read.before + 1))
    return number, False


async def _places_to_read(keys: KeyOperations, profile: str) -> list[range]:
    """List the places of all keys in groups: groups used last first, then the newest.

    Raises ProfileNotFound and StoreUnavailable.
    """
    last = await keys.store.listing.last_place(profile)
    groups = dict.fromkeys([*await keys.last_uses.groups(profile), *groups_of(last)])
    present = [range(group.start, min(group.stop, last + 1)) for group in groups]
    return [places for places in present if places]


class _Read(NamedTuple):
    """The number of cached keys, the place before the first of them, and if the cache is full."""

    keys: int
    before: int
    is_full: bool = False


async def _read_some(keys: KeyOperations, profile: str, end: int) -> _Read:
    """Cache some keys up to the place `end` in the order of creation, the last one first.

    Evicts no other key. Raises ProfileNotFound and StoreUnavailable.
    """
    pending = keys.cache.start_fill()
    found, before = await keys.store.listing.read_back(profile, end)
    number = 0
    for record, stored in found:
        if (profile, record.kid, None) in keys.cache or not keys.registry.has(record):
            continue
        cached = CachedKey(record)
        if record.material != "none":
            try:
                cached.key = keys.registry.of(record).unpack(stored)
            except Exception as exc:  # an algorithm's message may contain the key
                LOGGER.error("the key %s cannot be opened: %s", record.kid, type(exc).__name__)
                continue
        if not keys.cache.has_room(cached):
            return _Read(number, before, is_full=True)
        keep_in_cache(pending, profile, cached)
        number += 1
        await asyncio.sleep(0)  # let other calls go on
    return _Read(number, before)


def _keeps(keys: KeyOperations, profile: str) -> bool:
    """Tell whether the cache keeps keys of a profile that are read from now on."""
    return keys.cache.keeps((PROFILE, profile))


async def _wait_until_kept(keys: KeyOperations, profile: str) -> bool:
    """Wait until the cache keeps keys of a profile; False if it does not in time."""
    until = time.monotonic() + _PATIENCE
    while not (keeps := _keeps(keys, profile)) and time.monotonic() < until:
        await asyncio.sleep(_PAUSE)
    return keeps


def _waits(store: KeyStore) -> bool:
    """Tell whether calls wait for the store."""
    return store.database.is_busy


async def _profiles(store: KeyStore) -> list[str]:
    """List the names of all profiles, the default profile first."""
    while True:
        try:
            names = await store.directory.names()
        except StoreUnavailable:
            await asyncio.sleep(_LONG_PAUSE)
        else:
            return sorted(names, key=lambda name: name != DEFAULT_PROFILE)
