"""Makes the JWK Sets of profiles, and caches their JSON (RFC 7517 section 5)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from minikms.credentials.jose.jwk_set import JwkFilter, JwkSet, MemberKind, written
from minikms.credentials.x509.certificates import sent_chain, thumbprint_of
from minikms.keys.operations import KeyOperations
from minikms.plugin.protocol import Jwe, Kem, KeyAgreement, PublicKeyEncryption, Signer
from minikms.records import KeyRecord
from minikms.store import CONTENTS, PROFILE, Cache, PendingEntry

_PAGE: Final = 1000  # keys that are read at a time

# Bytes of each cache in a process, and the overhead of a set and of a run. A whole set that is
# larger is cached alone. Parts have a cache of their own, so that they do not evict whole sets.
_MEMORY: Final = 32 * 1024 * 1024
_EACH: Final = 1024
_EACH_RUN: Final = 160

_NO_FILTER: Final = JwkFilter()


class _Computation:
    """The computation of a set; `pending` is set when it begins."""

    task: "asyncio.Task[JwkSet]"

    def __init__(self) -> None:
        self.pending: PendingEntry[JwkSet] | None = None


class JwkSets:
    """Makes the JWK Sets of a store's profiles, and caches them until the profile changes.

    Time alone removes only keys that retire: an expired key stays, and a key leaves when its
    deletion is scheduled. All methods raise ProfileNotFound and StoreUnavailable.
    """

    def __init__(self, keys: KeyOperations) -> None:
        self._registry = keys.registry
        self._store = keys.store
        counters, bounds = keys.store.database.counters, keys.bounds._replace(memory=_MEMORY)
        by_memory = bounds._replace(size=_MEMORY if bounds.size else 0)
        self._sets: Cache[JwkSet] = Cache(counters, by_memory, _weight)
        self._parts: Cache[JwkSet] = Cache(counters, by_memory, _weight)
        keys.caches += self._sets, self._parts
        self._computations: dict[str, _Computation] = {}

    async def get(self, profile: str, wanted: JwkFilter = _NO_FILTER) -> JwkSet:
        """Find the wanted members of a profile's set; only their changes change the entity tag.

        The set has the public keys for signatures and encryption that are not disabled. Each has a
        member under its kid, and a member with the alias as `kid` for each alias.

        Only whole sets are read from the store. The cache has parts by the kinds that match, not by
        the caller's filter, since there are few kinds.
        """
        pending = self._parts.start_fill()
        whole = await self._whole(profile)
        matching = frozenset(filter(wanted.matches, whole.kinds))
        if matching == whole.kinds:
            return whole
        # Keep parts of different whole sets apart: this process may learn of a change later.
        place = profile, matching, whole.etag
        found = self._parts.get(place)
        if found is None:
            found = whole.only(matching)
            pending.fill((place,), found, *_sources(profile))
        return found

    async def _whole(self, profile: str) -> JwkSet:
        """Find or compute a profile's set.

        If the set is being computed, wait for that computation or, if the profile has changed since
        it began, for the next one. So a profile's set is computed once at a time, and has every
        change that was acknowledged before the call.
        """
        found = self._sets.get(profile)
        if found is not None and (found.until is None or time.time_ns() < found.until):
            return found
        current = self._computations.get(profile)
        if current is None or not (
            current.pending is None or current.pending.is_current(*_sources(profile))
        ):
            current = self._begin(profile, current)
        # Continue for other callers even if this one is gone.
        return await asyncio.shield(current.task)

    def _begin(self, profile: str, before: _Computation | None) -> _Computation:
        computation = _Computation()
        computation.task = asyncio.create_task(self._run(profile, computation, before))
        # A failure is raised for the callers who wait; if they are all gone, this retrieves it.
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
            ends: list[int] = []
            runs = [run async for run in self._runs(profile, ends)]
            found = JwkSet.of(runs, min(ends, default=None))
            computation.pending.fill((profile,), found, *_sources(profile))
            return found
        finally:
            if self._computations.get(profile) is computation:
                del self._computations[profile]

    async def _runs(self, profile: str, ends: list[int]) -> AsyncIterator[tuple[MemberKind, bytes]]:
        """Read a set from the store, and yield consecutive members of one kind together.

        `ends` gets the times at which members retire.
        """
        after, more = "", True
        while more:
            page, more = await self._store.listing.page(profile, limit=_PAGE, after=after)
            ends += [
                each.retires
                for each in page
                if each.retires is not None and each.current_state != "disabled"
            ]
            members = [
                (kind, {**facts, **named})
                for record in page
                for kind, facts in self._facts(record)
                for named in _names(record)
            ]
            for kind, run in groupby(members, itemgetter(0)):
                yield kind, written(member for _, member in run)
            after = page[-1].seq if page else after

    def _facts(self, record: KeyRecord) -> Iterator[tuple[MemberKind, dict[str, Any]]]:
        """Yield a key's member of a JWK Set, without its kid; nothing if the key has no member."""
        # Readers keep the set longer than a key that was made to be deleted.
        if record.jwk is None or record.deletes is not None:
            return
        if record.current_state == "disabled":
            return
        if not self._registry.has(record):
            return
        algorithm = self._registry.of(record)
        algs = algorithm.signing_algs if isinstance(algorithm, Signer) else ()
        if algs and not {"sign", "verify"}.isdisjoint(record.operations):
            facts = {**record.jwk, "use": "sig"}
            if len(algs) == 1:
                facts["alg"] = algs[0]
            if thumbprint := thumbprint_of(record):
                facts["x5t#S256"] = thumbprint
            yield MemberKind(record.kty, "sig", algs), facts
            return
        # An opt-in key agreement converts the key to another type than its JWK says.
        encrypts = isinstance(algorithm, (PublicKeyEncryption, Kem)) or (
            isinstance(algorithm, KeyAgreement) and algorithm.opt_in.isdisjoint(KeyAgreement.grants)
        )
        if encrypts:
            of_jwe = algorithm.jwe_algs if isinstance(algorithm, Jwe) else ()
            algs = (*algorithm.jose_algs, *of_jwe)
            kind = MemberKind(record.kty, "enc", algs, on_request=isinstance(algorithm, Kem))
            yield kind, {**record.jwk, "use": "enc"}


def _names(record: KeyRecord) -> Iterator[dict[str, Any]]:
    """Yield the `kid` for each member of a key, and the certificates for the first.

    The certificates are in the member of the kid only, since a thousand aliases would repeat them.
    """
    if record.certificates:
        yield {"kid": record.kid, "x5c": sent_chain(record)}
    else:
        yield {"kid": record.kid}
    for alias in record.aliases:
        yield {"kid": alias}


def _sources(profile: str) -> tuple[tuple[str, str], ...]:
    """Return the store's entries on which a profile's set depends."""
    return (PROFILE, profile), (CONTENTS, profile)


def _weight(found: JwkSet) -> int:
    return len(found.body) + _EACH + _EACH_RUN * len(found.runs)
