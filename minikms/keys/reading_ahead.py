"""Reads keys into the cache before a call needs them, by their places in the order of creation."""

import asyncio
import logging
from typing import NamedTuple

from minikms.keys.cached_keys import CachedKey
from minikms.keys.operations import KeyOperations, keep_in_cache
from minikms.store.categories import PROFILE
from minikms.store.keys.use_times import groups_of

LOGGER = logging.getLogger(__name__)


class ReadAhead(NamedTuple):
    """The number of keys that were cached, the place before them, and whether the cache is full."""

    keys: int
    before: int
    is_full: bool = False


class ReadingAhead(KeyOperations):
    """Reads keys into the cache before a call needs them."""

    async def places_to_read(self, profile: str) -> list[range]:
        """The places of all keys, some hundreds at a time: the last used first, then the newest.

        Raises ProfileNotFound and StoreUnavailable.
        """
        last = await self._store.last_place(profile)
        return list(dict.fromkeys([*await self._last_uses.groups(profile), *groups_of(last)]))

    def lasts(self, profile: str) -> bool:
        """Tell whether keys of a profile that are read from now on stay in the cache."""
        return self.cache.keeps((PROFILE, profile))

    async def read_ahead(self, profile: str, end: int) -> ReadAhead:
        """Cache some keys up to the place `end` in the order of creation.

        No other key is evicted. Raises ProfileNotFound and StoreUnavailable.
        """
        pending = self.cache.start_fill()
        keys, before = await self._store.read_back(profile, end)
        number = 0
        for record, stored in keys:
            if (profile, record.kid, None) in self.cache or not self._registry.has(record):
                continue
            found = CachedKey(record)
            if record.material != "none":
                try:
                    found.key = self._registry.of(record).unpack(stored)
                except Exception as exc:  # of an algorithm: its text may contain the key
                    what = type(exc).__name__
                    LOGGER.error("the key %s cannot be opened: %s", record.kid, what)
                    continue
            if not self.cache.has_room(found):
                return ReadAhead(number, before, is_full=True)
            keep_in_cache(pending, profile, found)
            number += 1
            await asyncio.sleep(0)  # lets calls go on
        return ReadAhead(number, before)
