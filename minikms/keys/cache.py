"""The key cache: records of keys, and what their algorithms made of their material."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from minikms.plugin.protocol import KeyPairAlgorithm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord, KeyRef
from minikms.store.cache import Bounds, Cache, PendingEntry
from minikms.store.directory import PROFILE
from minikms.store.entries import ALIAS, KEY, alias_entry
from minikms.store.keys import KeyStore

UseT = TypeVar("UseT")


@dataclass(slots=True)
class CachedKey:
    """The record of a key, with its private and its public key where a call has used them.

    Whether the record permits a use is checked at each one, since that may depend on the time.
    """

    record: KeyRecord
    key: Any = field(default=None, repr=False)
    public: Any = field(default=None, repr=False)

    def load_public(self, algorithm: KeyPairAlgorithm[Any, Any]) -> Any:
        """Its public key; raises InvalidKey."""
        if self.public is None:
            self.public = algorithm.load_public(self.record.jwk or {})
        return self.public


class KeyCache:
    """The keys of a store by the names that callers use, as long as nothing has changed there.

    What is missing, unreadable or scheduled for deletion is read each time. All methods raise as
    KeyStore does.
    """

    def __init__(self, registry: AlgorithmRegistry, store: KeyStore, bounds: Bounds) -> None:
        self._registry = registry
        self._store = store
        self.entries: Cache[CachedKey] = Cache(store.database.counters, *bounds)

    async def find(self, profile: str, ref: KeyRef) -> CachedKey:
        """A key, of which the record may be all that is there."""
        found = self.entries.get((profile, ref.kid, ref.alias))
        if found is None:
            pending = self.entries.start_fill()
            found = CachedKey(await self._store.record(profile, ref))
            _keep(pending, profile, ref, found)
        return found

    async def open(
        self, profile: str, ref: KeyRef, use: Callable[[KeyRecord], UseT]
    ) -> tuple[KeyRecord, UseT, Any]:
        """Read a key, with its private key; also what `use` gives for its record, or raises."""
        pending = self.entries.start_fill()
        record, stored = await self._store.open_key(profile, ref, use)
        key = self._registry.of(record).unpack(stored)
        _keep(pending, profile, ref, CachedKey(record, key))
        return record, use(record), key


def _keep(pending: PendingEntry[CachedKey], profile: str, ref: KeyRef, found: CachedKey) -> None:
    if found.record.deletes is not None:
        return
    kid, sources = found.record.kid, [(PROFILE, profile), (KEY, found.record.kid)]
    if ref.alias is not None:
        sources.append((ALIAS, alias_entry(ref.alias)))
    # With the texts that are kept anyway, not those of the request.
    place = sys.intern(profile), None if ref.kid is None else kid, ref.alias
    pending.fill(place, found, *sources)
