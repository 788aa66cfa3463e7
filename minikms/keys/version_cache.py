"""The versions of aliases, from a cache if possible."""

from collections.abc import Sequence
from typing import Final

from minikms.errors import AliasNotFound
from minikms.store.cache import Bounds, Cache
from minikms.store.categories import PROFILE
from minikms.store.keys.entries import ALIAS, alias_entry
from minikms.store.keys.key_store import KeyStore
from minikms.versions import KeyVersions

# The most memory of cached versions. The bytes of an alias's versions, and of each version.
_MEMORY: Final = 16 * 1024 * 1024
_EACH: Final = 1_000
_EACH_VERSION: Final = 200


class VersionCache:
    """Finds the versions of aliases in the store, and keeps them until an alias changes."""

    def __init__(self, store: KeyStore, bounds: Bounds) -> None:
        self._store = store
        self._cache: Cache[KeyVersions] = Cache(
            store.database.counters,
            bounds._replace(memory=min(bounds.memory, _MEMORY)),
            lambda each: _EACH + _EACH_VERSION * len(each.kids),
        )

    async def get(self, profile: str, name: str, *, fresh: bool = False) -> KeyVersions:
        """The versions of the alias `name`, read from the store if `fresh`; raises AliasNotFound.

        The key that it names may be due for deletion.
        """
        found = None if fresh else self._cache.get((profile, name))
        if found is None:
            pending = self._cache.start_fill()
            found = await self._store.versions(profile, name)
            sources = (PROFILE, profile), (ALIAS, alias_entry(name))
            pending.fill(((profile, name),), found, *sources)
        return found

    async def predecessors(self, profile: str, kid: str, alias: str) -> Sequence[str]:
        """The keys that rotations replaced by a key, newest first, while they had the alias.

        There are none if the key has lost the alias.
        """
        try:
            versions = await self.get(profile, alias)
            if versions.of_kid(kid) is None:  # another service has just rotated the key
                versions = await self.get(profile, alias, fresh=True)
        except AliasNotFound:
            return ()
        return versions.before(kid)

    async def drop_stale(self) -> None:
        """Drop entries that are no longer valid."""
        await self._cache.drop_stale()
