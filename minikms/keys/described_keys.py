"""Finds and lists the records of keys, with the times of their last use."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from minikms.errors import AliasNotFound, KeyNotFound
from minikms.key_bounds import SECOND
from minikms.key_requests import KeyRef
from minikms.keys.cached_keys import CachedKey
from minikms.keys.operations import KeyOperations, keep_in_cache
from minikms.records import KeyRecord

_PAGE: Final = 1000


class DescribedKeys:
    """Finds and lists the records of keys, with the times of their last use."""

    def __init__(self, keys: KeyOperations) -> None:
        self._keys = keys

    async def describe(self, profile: str, ref: KeyRef) -> KeyRecord:
        """Find the record of a key with the time of its last use, as `with_last_uses` gives it.

        Raises KeyNotFound or AliasNotFound.
        """
        record = await self._keys.get(profile, ref)
        await self.with_last_uses(profile, [record])
        return record

    async def records(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """Find the record of each kid, in the cache if possible; None for a missing key."""
        found: dict[str, KeyRecord] = {}
        missing = []
        for kid in kids:
            cached = self._keys.cache.get((profile, kid, None))
            if cached is not None:
                found[kid] = cached.record
            else:
                missing.append(kid)
        if missing:
            pending = self._keys.cache.start_fill()
            for record in await self._keys.store.records(profile, missing):
                if record is not None:
                    keep_in_cache(pending, profile, CachedKey(record))
                    found[record.kid] = record
        return [self._keys.shown(found[kid]) if kid in found else None for kid in kids]

    async def list_keys(
        self,
        profile: str,
        *,
        limit: int,
        after: str = "",
        alg: str | None = None,
        alias: str | None = None,
        labels: Sequence[tuple[str, str]] = (),
        only_next: bool = False,
    ) -> tuple[list[KeyRecord], bool]:
        """List up to `limit` keys in order of creation; also returns whether more follow.

        `after` is the `seq` of the last key of the previous page. `alg`, `alias`, `labels` and
        `only_next` (of next keys) filter the keys.
        """
        name = None if alg is None else self._keys.registry.get(alg).name
        if alias is None:
            page, more = await self._keys.store.listing.page(
                profile,
                limit=limit,
                after=after,
                alg=name,
                labels=labels,
                only_next=only_next,
            )
            records = [self._keys.shown(record) for record in page]
            await self.with_last_uses(profile, records)
            return records, more
        try:
            record = await self._keys.store.record(profile, KeyRef(alias=alias))
        except (AliasNotFound, KeyNotFound):
            return [], False
        fits = record.seq > after and record.fits(name, labels, only_next=only_next)
        return [await self.described(profile, record)] if fits else [], False

    async def pages(
        self,
        profile: str,
        *,
        after: str = "",
        alg: str | None = None,
        alias: str | None = None,
        labels: Sequence[tuple[str, str]] = (),
        only_next: bool = False,
    ) -> AsyncIterator[list[KeyRecord]]:
        """Yield all keys that `list_keys` finds, page after page, and keep no page."""
        more = True

        async def next_page() -> list[KeyRecord]:
            nonlocal after, more
            page, more = await self.list_keys(
                profile,
                limit=_PAGE,
                after=after,
                alg=alg,
                alias=alias,
                labels=labels,
                only_next=only_next,
            )
            after = page[-1].seq if page else after
            return page

        while more:
            yield await next_page()

    async def described(self, profile: str, record: KeyRecord) -> KeyRecord:
        """Prepare a record for an answer, with the time of its last use."""
        shown = self._keys.shown(record)
        await self.with_last_uses(profile, [shown])
        return shown

    async def with_last_uses(self, profile: str, records: Iterable[KeyRecord]) -> None:
        """Set `last_used` and `noted_since` of records, accurate to a few minutes."""
        records = list(records)
        if not records:
            return
        stored = await self._keys.last_uses.read(profile, [int(each.seq or 0) for each in records])
        for record, (since, at) in zip(records, stored, strict=True):
            last = max(at, self._keys.uses.times.get((profile, record.seq), 0))
            # An earlier time belongs to a key of a removed profile with the same name.
            used = last // SECOND >= record.created // SECOND
            record.set_last_use(max(last, record.created) if used else None, since)
