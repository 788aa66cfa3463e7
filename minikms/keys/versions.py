"""Versions of an alias: finds them, with a cache, and changes them."""

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Self

from minikms.keys.cached_keys import CachedKey
from minikms.keys.operations import KeyOperations, keep_in_cache
from minikms.records import KeyRecord, require_own_aliases
from minikms.store.keys.key_store import CheckVersions
from minikms.versions import KeyVersions


class VersionOperations(KeyOperations):
    """Finds the keys of a store by alias and version, and changes the versions.

    `reserved_aliases` are prefixes of aliases that other protocols own: no call gives, moves or
    removes such an alias, or deletes a key by it.
    """

    reserved_aliases: tuple[str, ...] = ()

    def owning(self, prefixes: Collection[str]) -> Self:
        """The same keys for a protocol that owns the aliases with these prefixes."""
        other = copy.copy(self)
        other.reserved_aliases = tuple(
            prefix for prefix in self.reserved_aliases if prefix not in prefixes
        )
        return other

    async def versions(self, profile: str, name: str, *, fresh: bool = False) -> KeyVersions:
        """The versions of an alias, read from the store if `fresh`; raises AliasNotFound."""
        return await self._versions.get(profile, name, fresh=fresh)

    async def predecessors(self, profile: str, kid: str, alias: str) -> Sequence[str]:
        """The keys that rotations replaced by a key, newest first, while they had the alias."""
        return await self._versions.predecessors(profile, kid, alias)

    async def records(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """The record of each kid, from the cache if it is there; None for a missing key."""
        found: dict[str, KeyRecord] = {}
        missing = []
        for kid in kids:
            cached = self.cache.get((profile, kid, None))
            if cached is not None:
                found[kid] = cached.record
            else:
                missing.append(kid)
        if missing:
            pending = self.cache.start_fill()
            for record in await self._store.records(profile, missing):
                if record is not None:
                    keep_in_cache(pending, profile, CachedKey(record))
                    found[record.kid] = record
        return [self._shown(found[kid]) if kid in found else None for kid in kids]

    async def drop_stale(self) -> None:
        """Drop entries of the caches that are no longer valid."""
        await self.cache.drop_stale()
        await self._versions.drop_stale()

    async def change_versions(
        self,
        profile: str,
        name: str,
        change: Callable[[KeyRecord, KeyVersions], KeyVersions],
        *,
        may_delete: bool = False,
    ) -> KeyVersions:
        """Store the versions of an alias that `change` makes of them; raises AliasNotFound.

        Raises Forbidden if it leaves out versions, and the caller may not delete keys.
        """
        require_own_aliases(self.reserved_aliases, name)
        return await self._store.change_versions(profile, name, change, may_delete=may_delete)

    async def delete_name(
        self, profile: str, name: str, check: CheckVersions, *, may_delete: bool = False
    ) -> KeyRecord:
        """Remove an alias with the keys of its versions; raises AliasNotFound and Forbidden."""
        require_own_aliases(self.reserved_aliases, name)
        return await self._store.remove_name(profile, name, check, may_delete=may_delete)
