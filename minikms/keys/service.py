"""Composes the interface of keys to the wings above: a part for each subject."""

import copy
import secrets
from collections.abc import Collection, Sequence
from typing import Self, Unpack

from minikms.events import AuditSink
from minikms.keys.aliases import Aliases
from minikms.keys.batch_calls import BatchCalls
from minikms.keys.changes import Changes
from minikms.keys.creation import Creation
from minikms.keys.deletions import DueDeletions
from minikms.keys.described_keys import DescribedKeys
from minikms.keys.making import KeyMaker
from minikms.keys.operations import KeyOperations, KeySettings
from minikms.keys.profiles import Profiles
from minikms.keys.rotation import Rotation
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store import KeyStore


class KeyService:
    """Creates, finds, changes and deletes the keys of tenants, and performs operations with them.

    In each call of a part, `profile` names the tenant. Another tenant's keys look as if they did
    not exist. `reserved_aliases` are prefixes of aliases that other protocols own: calls that would
    change such an alias, or delete a key by it, raise ValidationFailed.
    """

    def __init__(
        self,
        registry: AlgorithmRegistry,
        store: KeyStore,
        reserved_aliases: Sequence[str] = (),
        **settings: Unpack[KeySettings],
    ) -> None:
        self.operations = keys = KeyOperations(registry, store, **settings)
        self.batches = BatchCalls(keys)
        self.descriptions = DescribedKeys(keys)
        self.maker = KeyMaker(keys)
        self.profiles = Profiles(keys)
        self.deletions = DueDeletions(store, {each.name: each.destroy for each in keys.providers})
        self._reserve(reserved_aliases)

    def _reserve(self, aliases: Sequence[str]) -> None:
        keys, self._reserved_aliases = self.operations, aliases
        self.aliases = Aliases(keys, aliases)
        self.changes = Changes(keys, self.descriptions, aliases)
        self.creation = Creation(keys, self.maker, self.descriptions, aliases)
        self.rotation = Rotation(keys, self.maker, aliases)

    def owning(self, prefixes: Collection[str]) -> Self:
        """Copy this object for a protocol that owns the aliases with these prefixes."""
        other = copy.copy(self)
        other._reserve([each for each in self._reserved_aliases if each not in prefixes])
        return other

    async def sweep(self, sink: AuditSink | None = None) -> None:
        """Remove keys whose scheduled deletion is due, and rotate keys whose rotation is due.

        Each removal and each rotation is an audit event in `sink`. Raises StoreUnavailable; other
        failures are logged, and do not hold up other keys or profiles.
        """
        await self.operations.drop_stale()
        profiles = await self.profiles.names()
        await self.deletions.sweep(profiles, sink)  # first: rotations may take long
        await self.rotation.rotate_due(profiles, sink)

    def random(self, length: int) -> bytes:
        """Return `length` random bytes from the operating system."""
        return secrets.token_bytes(length)

    async def ping(self) -> None:
        """Wait for an answer from the store; raises StoreUnavailable."""
        await self.operations.store.ping()
