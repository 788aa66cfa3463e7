"""Publishes the JWK Sets of profiles."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.keys.operations import KeyOperations
from minikms.store import CONTENTS, PROFILE, Cache, publish, publishes

# The number of profiles that one call looks at before others go on.
_NAMES: Final = 100

# The most bytes of the cache.
_MEMORY: Final = 32 * 1024 * 1024


class Publications:
    """Publishes the JWK Sets of profiles, and remembers which profiles publish theirs."""

    def __init__(self, keys: KeyOperations) -> None:
        self._database = keys.store.database
        bounds = keys.bounds._replace(memory=_MEMORY)
        self._public: Cache[bool] = Cache(self._database.counters, bounds)
        keys.caches.append(self._public)

    async def publish(self, profile: str, *, public: bool) -> None:
        """Publish the profile's JWK Set, or restrict it to callers who may read its keys."""
        await self._database.write(profile, partial(publish, public=public))

    async def publishes(self, profile: str) -> bool:
        """Tell whether everybody may read the profile's JWK Set."""
        found = self._public.get(profile)
        if found is None:
            pending = self._public.start_fill()
            found = await self._database.run(profile, publishes)
            pending.fill((profile,), found, (PROFILE, profile), (CONTENTS, profile))
        return found

    async def published(self, profiles: Iterable[str]) -> set[str]:
        """Find the profiles whose JWK Set is published; skips missing and unreadable profiles."""
        found = set()
        for place, profile in enumerate(profiles, 1):
            with suppress(ProfileNotFound, KeyUnreadable):
                if await self.publishes(profile):
                    found.add(profile)
            if place % _NAMES == 0:  # cached profiles do not let other calls go on
                await asyncio.sleep(0)
        return found
