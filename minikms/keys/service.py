"""Creates, manages and uses keys: the one interface of keys to the wings above.

Its methods are in the classes that it inherits from, one for each subject.
"""

import secrets
from typing import Unpack

from minikms.events import AuditSink
from minikms.keys.aliases import Aliases
from minikms.keys.batch_calls import BatchCalls
from minikms.keys.changes import Changes
from minikms.keys.deletions import DueDeletions
from minikms.keys.operations import KeySettings
from minikms.keys.profiles import Profiles
from minikms.keys.reading_ahead import ReadingAhead
from minikms.keys.rotation import Rotation
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store.keys.key_store import KeyStore


class KeyService(
    Rotation,
    Changes,
    Aliases,
    Profiles,
    BatchCalls,
    ReadingAhead,
):
    """Creates, finds, changes and deletes the keys of tenants, and performs operations with them.

    `profile` names the tenant. Another tenant's keys look as if they did not exist. If another
    protocol owns an alias, calls that would change it or delete a key by it raise ValidationFailed.
    """

    def __init__(
        self, registry: AlgorithmRegistry, store: KeyStore, **settings: Unpack[KeySettings]
    ) -> None:
        super().__init__(registry, store, **settings)
        self.deletions = DueDeletions(store, {each.name: each.destroy for each in self.providers})

    async def sweep(self, sink: AuditSink | None = None) -> None:
        """Remove keys whose scheduled deletion is due, and rotate keys whose rotation is due.

        Each removal and each rotation is an audit event in `sink`. Raises StoreUnavailable; other
        failures are logged, and do not hold up other keys or profiles.
        """
        await self.drop_stale()
        profiles = await self.store.directory.names()
        await self.deletions.sweep(profiles, sink)  # first: rotations may take long
        await self.rotate_due(profiles, sink)

    def random(self, length: int) -> bytes:
        """Return `length` random bytes from the operating system."""
        return secrets.token_bytes(length)

    async def ping(self) -> None:
        """Wait for an answer from the store; raises StoreUnavailable."""
        await self.store.ping()
