"""Fills the cache of keys after the start, so that the first use of a key is as fast as others."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from minikms.basics.background import in_background
from minikms.errors import ProfileNotFound, StoreUnavailable
from minikms.keys.reading_ahead import ReadingAhead
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store import KeyStore

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

# Seconds between two lines of the log that say how far it is.
_PROGRESS: Final = 10.0


@asynccontextmanager
async def warming(
    keys: ReadingAhead, store: KeyStore, spare: Callable[[], None]
) -> AsyncIterator[None]:
    """Cache keys until the cache is full; of each profile, the last used and the newest first.

    Reading pauses while calls wait for the store. `spare` excludes the present objects from garbage
    collection.
    """
    async with in_background(_warm(keys, store, spare)):
        yield


async def _warm(keys: ReadingAhead, store: KeyStore, spare: Callable[[], None]) -> None:
    began = time.monotonic()
    try:
        number, is_full = await _read_all(keys, store, spare)
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


async def _read_all(
    keys: ReadingAhead, store: KeyStore, spare: Callable[[], None]
) -> tuple[int, bool]:
    """Read the keys of all profiles; return their number, and whether the cache is full."""
    names, number = await _profiles(store), 0
    told = time.monotonic()
    for position, name in enumerate(names):
        if position % _TOGETHER == 0:
            for each in names[position : position + _TOGETHER]:
                keys.lasts(each)
        if not await _lasts(keys, name):
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
            if _waits(store):
                await asyncio.sleep(_PAUSE)
                continue
            try:
                if left is None:
                    left = (await keys.places_to_read(name))[::-1]
                    continue
                places = left[-1]
                read = await keys.read_ahead(name, places[-1])
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


async def _lasts(keys: ReadingAhead, profile: str) -> bool:
    """Wait until the cache keeps keys of a profile; False if it does not in time."""
    until = time.monotonic() + _PATIENCE
    while not (lasts := keys.lasts(profile)) and time.monotonic() < until:
        await asyncio.sleep(_PAUSE)
    return lasts


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
