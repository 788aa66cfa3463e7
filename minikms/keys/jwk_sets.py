"""The JWK Sets of profiles, cached as they are sent (RFC 7517 section 5)."""

import asyncio
import hashlib
from typing import Final, NamedTuple

import orjson

from minikms.plugin.protocol import Kem, KeyAgreement, PublicKeyEncryption, Signer
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store.cache import Bounds, Cache, PendingEntry
from minikms.store.counters import CONTENTS
from minikms.store.directory import PROFILE
from minikms.store.keys import KeyStore

_PAGE: Final = 1000  # keys that are read at a time

# The memory of the cache in a process, in bytes, and what each set takes besides its own.
_MEMORY: Final = 32 * 1024 * 1024
_EACH: Final = 1024


class JwkSet(NamedTuple):
    """A JWK Set (RFC 7517 section 5) as JSON, and its entity tag without quotation marks."""

    body: bytes
    etag: str


class _Computation:
    """A set that is being computed; `pending` is there once that has begun."""

    task: "asyncio.Task[JwkSet]"

    def __init__(self) -> None:
        self.pending: PendingEntry[JwkSet] | None = None


class JwkSets:
    """The JWK Sets of a store's profiles: from memory where nothing has changed, else computed.

    A set has no part that changes by time alone: a key that has expired stays in it, and one whose
    deletion is scheduled left it by that. All raise ProfileNotFound and StoreUnavailable.
    """

    def __init__(self, registry: AlgorithmRegistry, store: KeyStore, bounds: Bounds) -> None:
        self._registry = registry
        self._store = store
        counters = store.database.counters
        memory = _MEMORY if bounds.size else 0
        self._sets: Cache[JwkSet] = Cache(counters, memory, bounds.ttl, weigh=_weight)
        self._public: Cache[bool] = Cache(counters, *bounds)
        self._computations: dict[str, _Computation] = {}

    async def get(self, profile: str) -> JwkSet:
        """A profile's set.

        Who asks while it is computed waits for that, unless something has changed since it began:
        then for the next, which begins after it. So a profile's set is computed once at a time, and
        has all that was answered before it was asked for.
        """
        found = self._sets.get(profile)
        if found is not None:
            return found
        current = self._computations.get(profile)
        if current is None or not (
            current.pending is None or _is_current(current.pending, profile)
        ):
            current = self._begin(profile, current)
        # Others wait for it, even if this caller is gone.
        return await asyncio.shield(current.task)

    async def is_public(self, profile: str) -> bool:
        """Whether everybody may have a profile's set."""
        found = self._public.get(profile)
        if found is None:
            pending = self._public.start_fill()
            found = await self._store.publishes(profile)
            pending.fill(profile, found, *_sources(profile))
        return found

    def drop_stale(self) -> None:
        """Forget what has changed, which otherwise stays until it is asked for again."""
        self._sets.drop_stale()
        self._public.drop_stale()

    def _begin(self, profile: str, before: _Computation | None) -> _Computation:
        computation = _Computation()
        computation.task = asyncio.create_task(self._run(profile, computation, before))
        # A failure is raised for those who wait, who may all be gone: then nobody retrieves it.
        computation.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._computations[profile] = computation
        return computation

    async def _run(
        self, profile: str, computation: _Computation, before: _Computation | None
    ) -> JwkSet:
        try:
            if before is not None:
                await asyncio.wait([before.task])
            computation.pending = self._sets.start_fill()
            body = await self._compute(profile)
            found = JwkSet(body, hashlib.sha256(body).hexdigest()[:32])
            computation.pending.fill(profile, found, *_sources(profile))
            return found
        finally:
            if self._computations.get(profile) is computation:
                del self._computations[profile]

    async def _compute(self, profile: str) -> bytes:
        """The JSON of a set, from the store."""
        parts: list[bytes] = []
        after, more = "", True
        while more:
            page, more = await self._store.page(profile, limit=_PAGE, after=after)
            members = [
                {**facts, "kid": kid}
                for record in page
                if (facts := self._facts(record)) is not None
                for kid in (record.kid, *record.aliases)
            ]
            if members:
                parts.append(orjson.dumps(members)[1:-1])
            after = page[-1].seq if page else after
        return b'{"keys":[' + b",".join(parts) + b"]}\n"

    def _facts(self, record: KeyRecord) -> dict[str, str] | None:
        """A key's member of a JWK Set but for its kid, None where it has no place there."""
        if record.jwk is None or record.current_state == "disabled":
            return None
        if not self._registry.has(record):
            return None
        algorithm = self._registry.of(record)
        algs = algorithm.signing_algs if isinstance(algorithm, Signer) else ()
        if algs and not {"sign", "verify"}.isdisjoint(record.operations):
            facts = {**record.jwk, "use": "sig"}
            if len(algs) == 1:
                facts["alg"] = algs[0]
            return facts
        # One that agrees by opt-in does so as a key of another type than its JWK's.
        encrypts = isinstance(algorithm, (PublicKeyEncryption, Kem)) or (
            isinstance(algorithm, KeyAgreement) and algorithm.opt_in.isdisjoint(KeyAgreement.grants)
        )
        if encrypts:
            return {**record.jwk, "use": "enc"}
        return None


def _sources(profile: str) -> tuple[tuple[str, str], ...]:
    """What a profile's set, and whether it is public, was read from."""
    return (PROFILE, profile), (CONTENTS, profile)


def _is_current(pending: PendingEntry[JwkSet], profile: str) -> bool:
    return pending.is_current(*_sources(profile))


def _weight(found: JwkSet) -> int:
    return len(found.body) + _EACH
