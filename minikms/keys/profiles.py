"""Creates, changes and removes profiles, and publishes their JWK Sets."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Unpack

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.keys.jose.jwk_set import JwkFilter, JwkSet
from minikms.keys.jose.jwk_sets import JwkSets
from minikms.keys.operations import KeyOperations, KeySettings
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import ProfileSettings
from minikms.store.cache import NOTHING
from minikms.store.keys.key_store import KeyStore
from minikms.store.profiles.tenancy import Tenancy

# The number of profiles that one call looks at before others go on.
_NAMES: Final = 100


class Profiles(KeyOperations):
    """Creates, changes and removes profiles, and gives their JWK Sets."""

    def __init__(
        self, registry: AlgorithmRegistry, store: KeyStore, **settings: Unpack[KeySettings]
    ) -> None:
        super().__init__(registry, store, **settings)
        self._jwk_sets = JwkSets(registry, store, settings.get("cache", NOTHING))

    async def create_profile(self, name: str, maker: str = "") -> None:
        """Make an empty profile; raises ProfileExists.

        `maker` is the id of the caller's stored token, empty without one. A token that was made
        before may use the profile only if it has made it.
        """
        await self._store.create_profile(name, maker)

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False if it does not exist."""
        return await self._store.remove_profile(name)

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""
        return await self._store.profiles()

    async def tenancy(self, name: str) -> Tenancy:
        """The id of a profile, and the time of its creation; raises ProfileNotFound."""
        return await self._store.tenancy(name)

    async def settings(self) -> dict[str, ProfileSettings]:
        """The settings of all profiles, by name, sorted."""
        return await self._store.settings()

    async def change_settings(self, profile: str, changes: Mapping[str, Any]) -> ProfileSettings:
        """Change settings of a profile, and return all of them; raises ProfileNotFound."""
        return await self._store.change_settings(profile, changes)

    async def jwk_set(self, profile: str, wanted: JwkFilter) -> JwkSet:
        """The `wanted` public keys of a profile for signatures and encryption, as a JWK Set.

        Each key that is not disabled has a member for its kid and one for each alias, which is the
        `kid` of that member (RFC 7517 section 5).
        """
        return await self._jwk_sets.get(profile, wanted)

    async def drop_stale(self) -> None:
        """Drop entries of the caches that are no longer valid."""
        await super().drop_stale()
        await self._jwk_sets.drop_stale()

    async def publish(self, profile: str, *, public: bool) -> None:
        """Publish the profile's JWK Set, or show it only to callers who may read its keys."""
        await self._store.publish(profile, public=public)

    async def publishes(self, profile: str) -> bool:
        """Tell whether the profile's JWK Set is published."""
        return await self._jwk_sets.is_public(profile)

    async def published(self, profiles: Iterable[str]) -> set[str]:
        """The profiles whose JWK Set is published; without missing and unreadable ones."""
        found = set()
        for place, profile in enumerate(profiles, 1):
            with suppress(ProfileNotFound, KeyUnreadable):
                if await self._jwk_sets.is_public(profile):
                    found.add(profile)
            if place % _NAMES == 0:  # those in the cache take no turn
                await asyncio.sleep(0)
        return found
