"""Finds the versions of aliases, in a cache if possible."""

from collections.abc import Sequence
from typing import Final

from minikms.errors import AliasNotFound
from minikms.store import ALIAS, PROFILE, Bounds, Cache, KeyStore, alias_entry
from minikms.versions import KeyVersions

# The most bytes of the cache.
_MEMORY: Final = 16 * 1024 * 1024
# Bytes of an entry, without its versions.
_EACH: Final = 1_000
# Bytes of each version in an entry.
_EACH_VERSION: Final = 200


class VersionCache:
    """Finds the versions of aliases in the store, and caches them until an alias changes."""

    def __init__(self, store: KeyStore, bounds: Bounds) -> None:
        self._store = store
        self.cache: Cache[KeyVersions] = Cache(
            store.database.counters,
            bounds._replace(memory=min(bounds.memory, _MEMORY)),
            lambda each: _EACH + _EACH_VERSION * len(each.kids),
        )

    async def get(self, profile: str, name: str, *, fresh: bool = False) -> KeyVersions:
        """Find the versions of an alias, in the store if `fresh`; raises AliasNotFound.

        The key of the newest version may be due for deletion.
        """
        found = None if fresh else self.cache.get((profile, name))
        if found is None:
            pending = self.cache.start_fill()
            found = await self._store.aliases.versions(profile, name)
            sources = (PROFILE, profile), (ALIAS, alias_entry(name))
            pending.fill(((profile, name),), found, *sources)
        return found

    async def predecessors(self, profile: str, kid: str, alias: str) -> Sequence[str]:
        """Find the kids before `kid` among the versions of an alias, newest first.

        Returns none if the alias no longer names the key.
        """
        try:
            versions = await self.get(profile, alias)
            if versions.of_kid(kid) is None:  # another service has just rotated the key
                versions = await self.get(profile, alias, fresh=True)
        except AliasNotFound:
            return ()
        return versions.before(kid)
