"""Reads keys into the cache before a call needs them, in order of creation or last use."""

import asyncio
import logging
from typing import NamedTuple

from minikms.keys.cached_keys import CachedKey
from minikms.keys.operations import KeyOperations, keep_in_cache
from minikms.store import PROFILE, groups_of

LOGGER = logging.getLogger(__name__)


class ReadAhead(NamedTuple):
    """The number of cached keys, the place before the first of them, and if the cache is full."""

    keys: int
    before: int
    is_full: bool = False


class ReadingAhead:
    """Reads keys into the cache before a call needs them."""

    def __init__(self, keys: KeyOperations) -> None:
        self._keys = keys
        self._registry = keys.registry

    async def places_to_read(self, profile: str) -> list[range]:
        """List the places of all keys in groups: groups used last first, then the newest.

        Raises ProfileNotFound and StoreUnavailable.
        """
        last = await self._keys.store.listing.last_place(profile)
        groups = dict.fromkeys([*await self._keys.last_uses.groups(profile), *groups_of(last)])
        present = [range(group.start, min(group.stop, last + 1)) for group in groups]
        return [places for places in present if places]

    def lasts(self, profile: str) -> bool:
        """Tell whether the cache keeps keys of a profile that are read from now on."""
        return self._keys.cache.keeps((PROFILE, profile))

    async def read_ahead(self, profile: str, end: int) -> ReadAhead:
        """Cache some keys up to the place `end` in the order of creation, the last one first.

        Evicts no other key. Raises ProfileNotFound and StoreUnavailable.
        """
        pending = self._keys.cache.start_fill()
        keys, before = await self._keys.store.listing.read_back(profile, end)
        number = 0
        for record, stored in keys:
            if (profile, record.kid, None) in self._keys.cache or not self._registry.has(record):
                continue
            found = CachedKey(record)
            if record.material != "none":
                try:
                    found.key = self._registry.of(record).unpack(stored)
                except Exception as exc:  # an algorithm's message may contain the key
                    what = type(exc).__name__
                    LOGGER.error("the key %s cannot be opened: %s", record.kid, what)
                    continue
            if not self._keys.cache.has_room(found):
                return ReadAhead(number, before, is_full=True)
            keep_in_cache(pending, profile, found)
            number += 1
            await asyncio.sleep(0)  # let other calls go on
        return ReadAhead(number, before)
