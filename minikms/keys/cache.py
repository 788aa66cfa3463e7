"""Keys that stay open: their records, and what their algorithms made of their material."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from minikms.plugin.protocol import KeyPairAlgorithm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord, KeyRef
from minikms.store.cache import Bounds, Cache, PendingEntry
from minikms.store.directory import PROFILE
from minikms.store.entries import ALIAS, KEY
from minikms.store.keys import KeyStore

UseT = TypeVar("UseT")


@dataclass(slots=True)
class Opened:
    """A key of which the record is known, and maybe the private and the public key.

    What its state permits is asked of the record at each use, since it may depend on the time.
    """

    record: KeyRecord
    key: Any = field(default=None, repr=False)
    public: Any = field(default=None, repr=False)

    def load_public(self, algorithm: KeyPairAlgorithm[Any, Any]) -> Any:
        """Its public key; raises InvalidKey."""
        if self.public is None:
            self.public = algorithm.load_public(self.record.jwk or {})
        return self.public


class OpenedKeys:
    """Keys of a store as callers name them: from memory where nothing has changed, else read.

    A call that finds a key in memory does not wait. What is missing, unreadable or scheduled for
    deletion is read each time. All raise as KeyStore does.
    """

    def __init__(self, registry: AlgorithmRegistry, store: KeyStore, bounds: Bounds) -> None:
        self._registry = registry
        self._store = store
        self.cache: Cache[Opened] = Cache(store.database.counters, *bounds)

    def get(self, profile: str, ref: KeyRef) -> Opened | None:
        """A key that is remembered, open or not; None for one that is to be read."""
        return self.cache.get((profile, ref.kid, ref.alias))

    async def find(self, profile: str, ref: KeyRef) -> Opened:
        """A key, which need not be open."""
        found = self.get(profile, ref)
        if found is None:
            pending = self.cache.start_fill()
            found = Opened(await self._store.record(profile, ref))
            _keep(pending, profile, ref, found)
        return found

    async def open(
        self, profile: str, ref: KeyRef, use: Callable[[KeyRecord], UseT]
    ) -> tuple[KeyRecord, UseT, Any]:
        """Read a key; and what `use` makes of its record before it is opened, and raises."""
        pending = self.cache.start_fill()
        record, stored = await self._store.open_key(profile, ref, use)
        key = self._registry.of(record).unpack(stored)
        _keep(pending, profile, ref, Opened(record, key))
        return record, use(record), key


def _keep(pending: PendingEntry[Opened], profile: str, ref: KeyRef, found: Opened) -> None:
    if found.record.deletes is not None:
        return
    kid, sources = found.record.kid, [(PROFILE, profile), (KEY, found.record.kid)]
    if ref.alias is not None:
        sources.append((ALIAS, ref.alias))
    # With the texts that are kept anyway, not those of the request.
    place = sys.intern(profile), None if ref.kid is None else kid, ref.alias
    pending.fill(place, found, *sources)
