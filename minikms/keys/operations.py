"""Performs operations: finds the key in the cache or the store, checks it, and runs the operation.

The path of a call stays in this one file, so that it can be read at once.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypedDict, TypeVar

from minikms.basics.noted_uses import NotedUses
from minikms.basics.rates import RateTable
from minikms.errors import (
    AliasNotFound,
    KeyNotFound,
    KeyNotUsable,
    KmsError,
    NotExportable,
    UnsupportedOperation,
)
from minikms.events import set_key
from minikms.key_requests import AnyKey, KeyRef
from minikms.keys.approvals import Approvals
from minikms.keys.cached_keys import CachedKey
from minikms.keys.guard import Guard, guard, is_guarded, require_asking
from minikms.keys.key_rates import KeyRates
from minikms.keys.operation import (
    ByRecord,
    KeyUser,
    Operation,
    UsableKey,
    refuse_private,
)
from minikms.keys.providers.providers import Providers, RunningProvider
from minikms.keys.threads import KeyThreads, is_slow
from minikms.keys.version_cache import VersionCache
from minikms.plugin.bound import BoundSigner
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord, OrphanRecord
from minikms.store import KEY, NOTHING, PROFILE, Bounds, Cache, KeyStore, LastUses, PendingEntry

ResultT = TypeVar("ResultT")

# Names the key of an operation: one or several references, or a caller's public JWK.
By: TypeAlias = KeyRef | AnyKey | Mapping[str, Any]

# The most keys that are looked up one by one; more are looked up together.
_FEW: Final = 2

_NOT_THERE: Final = (KeyNotFound, AliasNotFound)
_NOT_THIS: Final = (*_NOT_THERE, KeyNotUsable, UnsupportedOperation)


class KeySettings(TypedDict, total=False):
    """The settings of `KeyOperations`, which `KeyService` passes on."""

    cache: Bounds
    rates: RateTable | None
    providers: Providers | None


class KeyOperations:
    """Finds the keys of a store, and performs operations with them.

    In every call, `profile` names the tenant and `by` names the key. If the public key is enough,
    `by` may be a public JWK. If `by` names several keys, the first usable key is used. If the key
    of an alias does not verify a signature, the keys from before its rotations are tried.

    Raises KeyNotFound or AliasNotFound; UnsupportedOperation if the key does not support the
    operation or does not allow it; KeyNotUsable if its state excludes it, RuleViolated if its rules
    do, and OverRate if the rate in its rules is used up; InvalidKey for a malformed JWK; and the
    errors of the operation.
    """

    def __init__(
        self,
        registry: AlgorithmRegistry,
        store: KeyStore,
        *,
        cache: Bounds = NOTHING,
        rates: RateTable | None = None,
        providers: Providers | None = None,
    ) -> None:
        self.registry = registry
        self.store = store
        self.bounds = cache
        self.providers = providers or Providers(registry)
        self.cache: Cache[CachedKey] = Cache(
            store.database.counters, cache, lambda found: found.weight(registry)
        )
        self.versions = VersionCache(store, cache)
        self.caches: list[Cache[Any]] = [self.cache, self.versions.cache]
        self.threads = KeyThreads()
        self.rates = KeyRates(rates or RateTable(), store)
        self.approvals = Approvals(store, self.rates, self.threads)
        self.last_uses = LastUses(store.database)
        self.uses = NotedUses(self.last_uses.write)

    async def get(self, profile: str, ref: KeyRef) -> KeyRecord:
        """Find the record of a key; raises KeyNotFound or AliasNotFound."""
        record = (await self._find(profile, ref)).record
        set_key(record.kid, record.alg)
        return self.shown(record)

    async def perform(self, profile: str, by: By, operation: Operation[Any, ResultT]) -> ResultT:
        """Perform an operation; waits only for the store, and for a thread if it is slow."""
        key = self._key_at_hand(profile, by, operation)
        if key is None:
            key = await self._read_key(profile, by, operation)
        if type(operation) is ByRecord:
            operation = operation.chosen(key)  # before a use is counted, since it may raise
        if key.rules is not None:
            if type(key.material) is Guard:
                await self.approvals.obtain(profile, key, operation)
            else:
                await self.rates.count(profile, key)
        if operation.is_long or operation.is_slow or key.algorithm.slow:
            result = await self._compute_aside(profile, key, operation)
        else:
            result = operation.compute(key)
        if key.alias is None or operation.is_final(result):
            return result
        for kid in await self.versions.predecessors(profile, key.kid, key.alias):
            older = await self.predecessor(profile, kid, operation)
            if older is not None:
                other = await self._compute_aside(profile, older, operation)
                if operation.is_final(other):
                    return other
        name_in_event(key)
        return result

    async def _compute_aside(
        self, profile: str, key: UsableKey[Any], operation: Operation[Any, ResultT]
    ) -> ResultT:
        """Compute a result in the thread for it; on the event loop if the operation is quick."""
        if operation.is_long:
            threads = self.threads.long
        elif operation.is_slow or is_slow(key.algorithm, key.use.operation):
            threads = self.threads.slow
        else:
            return operation.compute(key)
        compute, provider = partial(operation.compute, key), self.provider_of(key)
        if provider is not None:
            return await provider.run(compute)
        return await threads.run(profile, compute)

    def provider_of(self, key: UsableKey[Any]) -> RunningProvider | None:
        """Return the provider that performs the operation; None if the service does."""
        algorithm: object = key.algorithm
        if isinstance(algorithm, BoundSigner) and not key.use.is_public:
            return self.providers[algorithm.provider_name]
        return None

    async def usable_key(self, profile: str, by: By, user: KeyUser) -> UsableKey[Any]:
        """Find the key that `by` names, in the cache or the store."""
        key = self._key_at_hand(profile, by, user)
        return await self._read_key(profile, by, user) if key is None else key

    def _key_at_hand(self, profile: str, by: By, user: KeyUser) -> UsableKey[Any] | None:
        """Find the key that `by` names if it is cached or a JWK; None if the store must be read."""
        ref = by.refs[0] if isinstance(by, AnyKey) else by
        if not isinstance(ref, KeyRef):
            return self._of_jwk(ref, user)
        found = self.cache.get((profile, ref.kid, ref.alias))
        if found is None:
            return None
        try:
            return self._of_cached(profile, found, ref.alias, user)
        except _NOT_THIS:
            if ref is by:
                raise
            return None  # another key of `by` may be usable

    async def _read_key(self, profile: str, by: By, user: KeyUser) -> UsableKey[Any]:
        """Read the key that `by` names from the store."""
        if isinstance(by, AnyKey):
            return await self._first(profile, by.refs, user)
        if not isinstance(by, KeyRef):
            return self._of_jwk(by, user)
        if any(use.is_public for use in user.uses):  # the record may be enough
            found = await self._find(profile, by)
            key = self._of_cached(profile, found, by.alias, user)
            if key is not None:
                return key
        alias = by.alias

        def permit(record: KeyRecord) -> tuple[CachedKey, UsableKey[Any]]:
            opened = CachedKey(record, period=self.uses.period)
            return opened, self._usable(opened, alias, user)

        pending = self.cache.start_fill()
        (opened, usable), stored = await self.store.open_key(profile, by, permit)
        self.uses.times[profile, opened.record.seq] = time.time_ns()
        usable.material = opened.key = usable.algorithm.unpack(stored)
        keep_in_cache(pending, profile, opened)
        if usable.rules is not None and is_guarded(usable):
            guard(usable)
        return usable

    async def _find(self, profile: str, ref: KeyRef) -> CachedKey:
        """Find a key in the cache, or read its record without its material from the store."""
        found = self.cache.get((profile, ref.kid, ref.alias))
        if found is None:
            pending = self.cache.start_fill()
            found = CachedKey(await self.store.record(profile, ref))
            keep_in_cache(pending, profile, found)
        return found

    async def drop_stale(self) -> None:
        """Drop stale entries of `caches`, where each cache of keys is added."""
        for cache in self.caches:
            await cache.drop_stale()

    def shown(self, record: KeyRecord) -> KeyRecord:
        """Prepare a record for callers: mark it if its algorithm is not installed."""
        return record if self.registry.has(record) else OrphanRecord.of(record)

    async def _first(self, profile: str, refs: Sequence[KeyRef], user: KeyUser) -> UsableKey[Any]:
        """Find the first usable key; if no key is usable, raises the error of one of them."""
        refused: KmsError | None = None
        kids = [ref.kid for ref in refs if ref.kid is not None]
        if len(kids) > _FEW:  # most of them belong to other recipients
            there = await self.store.existing(profile, kids)
            refs = [ref for ref in refs if ref.kid is None or ref.kid in there]
        for ref in refs:
            try:
                return await self.usable_key(profile, ref, user)
            except _NOT_THIS as exc:
                if refused is None or isinstance(refused, _NOT_THERE):
                    refused = exc
        raise refused or KeyNotFound

    async def predecessor(self, profile: str, kid: str, user: KeyUser) -> UsableKey[Any] | None:
        """Find a key from before a rotation; None if it is deleted or not usable."""
        try:
            return await self.usable_key(profile, KeyRef(kid=kid), user)
        except (KeyNotFound, KeyNotUsable, UnsupportedOperation):
            return None

    def _of_cached(
        self, profile: str, found: CachedKey, alias: str | None, user: KeyUser
    ) -> UsableKey[Any] | None:
        """Use a cached record; None if the private key is needed and is not cached."""
        key = self._usable(found, alias, user)
        if key.use.is_public and found.public is None:
            found.public = key.algorithm.load_public(found.record.jwk or {})
            self.cache.weigh_again((profile, found.record.kid, None))
        key.material = found.public if key.use.is_public else found.key
        if key.material is None:
            return None
        if found.period != self.uses.period:
            found.period = self.uses.period
            self.uses.times[profile, found.record.seq] = time.time_ns()
        if key.rules is not None and is_guarded(key):
            guard(key)
        return key

    def _of_jwk(self, jwk: Mapping[str, Any], user: KeyUser) -> UsableKey[Any]:
        """Use a caller's public JWK; raises InvalidKey."""
        refuse_private(jwk)
        algorithm: Any = self.registry.for_jwk(jwk)
        public = [use for use in user.uses if use.is_public]
        fitting = (use for use in public if isinstance(algorithm, use.capability))
        use = next(fitting, public[0])
        algorithm.require(use.capability)
        alg = jwk.get("alg")
        bound = alg if isinstance(alg, str) else None
        return UsableKey(algorithm, use, alg=bound, material=user.load_public(algorithm, jwk))

    def _usable(self, found: CachedKey, alias: str | None, user: KeyUser) -> UsableKey[Any]:
        """Check that a key may be used now, and name it in the event; leaves its material unset."""
        record, algorithm = found.record, found.algorithm
        set_key(record.kid, record.alg)
        if algorithm is None:
            algorithm = found.algorithm = self.registry.of(record)
        for use in user.uses:
            if isinstance(algorithm, use.capability):
                break
        else:
            algorithm.require(user.uses[0].capability)
        if use.if_exportable:
            if not record.exportable:
                raise NotExportable("The key was not made exportable.")
        elif use.by_door:
            if record.material == "none":
                raise UnsupportedOperation("The key has no private part.")
        elif use.operation not in record.operations and not use.by_anyone:
            may = ", ".join(record.operations) or "nothing"
            raise UnsupportedOperation(f"This key may not {use.operation}; it may: {may}.")
        if not found.is_always_usable:
            record.require_usable(use.operation, time.time_ns(), as_next=use.as_next)
        key: UsableKey[Any] = UsableKey(algorithm, use, record.kid, record, alias)
        if record.rules is not None:
            key.rules = record.rules
            if is_guarded(key):
                require_asking(user)
            user.permit(key, record.rules)
        return key


def keep_in_cache(pending: PendingEntry[CachedKey], profile: str, found: CachedKey) -> None:
    """Cache a key, unless it is scheduled for deletion."""
    record = found.record
    if record.deletes is None:
        pending.fill(found.names(profile), found, (PROFILE, profile), (KEY, record.kid))


def name_in_event(key: UsableKey[Any]) -> None:
    """Name the key of the call in its event again, after other keys were read."""
    if key.record is not None:
        set_key(key.record.kid, key.record.alg)
