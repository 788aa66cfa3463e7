"""Creates, changes and removes profiles, and publishes their JWK Sets."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.keys.operations import KeyOperations
from minikms.profile_settings import ProfileSettings
from minikms.store import CONTENTS, PROFILE, Cache, Tenancy

# The number of profiles that one call looks at before others go on.
_NAMES: Final = 100

# The most bytes of the cache of publications.
_MEMORY: Final = 32 * 1024 * 1024


class Profiles:
    """Creates, changes and removes profiles, and publishes their JWK Sets."""

    def __init__(self, keys: KeyOperations) -> None:
        self._store = keys.store
        bounds = keys.bounds._replace(memory=_MEMORY)
        self._public: Cache[bool] = Cache(keys.store.database.counters, bounds)
        keys.caches.append(self._public)

    async def create(self, name: str, maker: str = "") -> None:
        """Create an empty profile; raises ProfileExists.

        `maker` is the id of the caller's stored token, empty if it has none. Of the tokens that are
        older than the profile, only this one may use it.
        """
        await self._store.directory.create(name, maker=maker)

    async def remove(self, name: str) -> bool:
        """Remove a profile with all its keys; False if it does not exist."""
        return await self._store.remove_profile(name)

    async def names(self) -> list[str]:
        """List the names of all profiles, sorted."""
        return await self._store.directory.names()

    async def tenancy(self, name: str) -> Tenancy:
        """Find the id of a profile and the time of its creation; raises ProfileNotFound."""
        return await self._store.directory.tenancy(name)

    async def page(
        self, own: Collection[str] | None, limit: int, after: str
    ) -> tuple[dict[str, ProfileSettings], bool]:
        """List the settings of up to `limit` profiles by name, sorted, and whether more follow.

        The page begins after the name `after`. `own` has the profiles of the caller, None for all.
        """
        return await self._store.directory.page(own, limit, after)

    async def change_settings(self, profile: str, changes: Mapping[str, Any]) -> ProfileSettings:
        """Change settings of a profile, and return all its settings; raises ProfileNotFound."""
        return await self._store.directory.change(profile, changes)

    async def publish(self, profile: str, *, public: bool) -> None:
        """Publish the profile's JWK Set, or restrict it to callers who may read its keys."""
        await self._store.publish(profile, public=public)

    async def publishes(self, profile: str) -> bool:
        """Tell whether everybody may read the profile's JWK Set."""
        found = self._public.get(profile)
        if found is None:
            pending = self._public.start_fill()
            found = await self._store.publishes(profile)
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
