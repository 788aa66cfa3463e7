"""Creates, changes and removes profiles, and makes and publishes their JWK Sets."""

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
    """Creates, changes and removes profiles, and makes and publishes their JWK Sets."""

    def __init__(
        self, registry: AlgorithmRegistry, store: KeyStore, **settings: Unpack[KeySettings]
    ) -> None:
        super().__init__(registry, store, **settings)
        self._jwk_sets = JwkSets(registry, store, settings.get("cache", NOTHING))

    async def create_profile(self, name: str, maker: str = "") -> None:
        """Create an empty profile; raises ProfileExists.

        `maker` is the id of the caller's stored token, empty if it has none. Of the tokens that are
        older than the profile, only this one may use it.
        """
        await self._store.directory.create(name, maker=maker)

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False if it does not exist."""
        return await self._store.remove_profile(name)

    async def profiles(self) -> list[str]:
        """List the names of all profiles, sorted."""
        return await self._store.directory.names()

    async def tenancy(self, name: str) -> Tenancy:
        """Find the id of a profile and the time of its creation; raises ProfileNotFound."""
        return await self._store.directory.tenancy(name)

    async def settings(self) -> dict[str, ProfileSettings]:
        """List the settings of all profiles by name, sorted."""
        return await self._store.directory.all_settings()

    async def change_settings(self, profile: str, changes: Mapping[str, Any]) -> ProfileSettings:
        """Change settings of a profile, and return all its settings; raises ProfileNotFound."""
        return await self._store.directory.change(profile, changes)

    async def jwk_set(self, profile: str, wanted: JwkFilter) -> JwkSet:
        """Make a JWK Set of the `wanted` keys of a profile (RFC 7517 section 5).

        It has the public keys for signatures and encryption that are not disabled. Each has a
        member under its kid, and a member with the alias as `kid` for each alias.
        """
        return await self._jwk_sets.get(profile, wanted)

    async def drop_stale(self) -> None:
        """Drop stale entries of the caches."""
        await super().drop_stale()
        await self._jwk_sets.drop_stale()

    async def publish(self, profile: str, *, public: bool) -> None:
        """Publish the profile's JWK Set, or restrict it to callers who may read its keys."""
        await self._store.publish(profile, public=public)

    async def publishes(self, profile: str) -> bool:
        """Tell whether the profile's JWK Set is published."""
        return await self._jwk_sets.is_public(profile)

    async def published(self, profiles: Iterable[str]) -> set[str]:
        """Find the profiles whose JWK Set is published; skips missing and unreadable profiles."""
        found = set()
        for place, profile in enumerate(profiles, 1):
            with suppress(ProfileNotFound, KeyUnreadable):
                if await self._jwk_sets.is_public(profile):
                    found.add(profile)
            if place % _NAMES == 0:  # cached profiles do not let other calls go on
                await asyncio.sleep(0)
        return found
