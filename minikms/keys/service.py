"""Composes the interface of keys to the wings above: a part for each subject."""

import copy
import logging
import secrets
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final, Self, Unpack

from minikms.errors import KeyUnreadable, ProfileFrozen, ProfileNotFound, StatementTimeout
from minikms.events import AuditSink
from minikms.keys.aliases import Aliases
from minikms.keys.batch_calls import BatchCalls
from minikms.keys.changes import Changes
from minikms.keys.creation import Creation
from minikms.keys.deletions import DueDeletions
from minikms.keys.described_keys import DescribedKeys
from minikms.keys.making import KeyMaker
from minikms.keys.operations import KeyOperations, KeySettings
from minikms.keys.publications import Publications
from minikms.keys.rotation import Rotation
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store import KeyStore, UndecryptableError

LOGGER = logging.getLogger(__name__)

# Nanoseconds for which `list_due` looks ahead. It is called once a day.
_AHEAD: Final = 48 * 3600 * 10**9


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
        self.profiles = store.directory
        self.publications = Publications(keys)
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

    async def sweep(self, sink: AuditSink | None = None) -> int:
        """Remove keys whose deletion is due and expired approvals, and take the steps of rotations.

        Each removal and each step is an audit event in `sink`. Return the number of profiles in
        which keys have been due for more than an hour. Keys in frozen profiles wait, and do not
        count. Raises StoreUnavailable; other failures are logged, and do not hold up other keys or
        profiles.
        """
        await self.operations.drop_stale()
        due_hours = self.operations.store.database.due_hours
        begun = await due_hours.begun()
        over = [each for each in begun if each.is_over]
        named = {each.profile for each in begun}
        frozen = {name for name in named if await self._is_frozen(name)}
        profiles = sorted(named - frozen)
        left = await self.deletions.sweep(profiles, sink)  # first: rotations may take long
        left |= await self.rotation.take_steps(profiles, sink)
        for profile in profiles:
            with suppress(ProfileNotFound, ProfileFrozen, KeyUnreadable):  # at the next sweep
                await self.operations.store.approvals.remove_expired(profile)
        await due_hours.remove([each for each in over if each.profile not in left | frozen])
        return len({each.profile for each in over} & left)

    async def _is_frozen(self, profile: str) -> bool:
        """Tell whether a profile is frozen now, whatever this process remembers."""
        with suppress(ProfileNotFound):  # removed meanwhile
            return (await self.profiles.settings_of(profile)).frozen
        return False

    async def list_due(self) -> None:
        """List the hours of the next days in which keys are due, for `sweep`.

        It finds keys of a process of version 0.4.0 or older, which lists none. Raises
        StoreUnavailable.
        """
        store = self.operations.store
        for profile in await self.profiles.names():
            try:
                await store.list_due(profile, time.time_ns() + _AHEAD)
            except ProfileNotFound:
                continue  # removed meanwhile
            except (KeyUnreadable, UndecryptableError, StatementTimeout):
                LOGGER.exception("due keys of a profile are not listed")

    def random(self, length: int) -> bytes:
        """Return `length` random bytes from the operating system."""
        return secrets.token_bytes(length)

    async def ping(self) -> None:
        """Wait for an answer from the store; raises StoreUnavailable."""
        await self.operations.store.ping()
