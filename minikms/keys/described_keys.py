"""Times of the last use of keys, for answers that describe a key."""

from collections.abc import Iterable

from minikms.keys.operations import KeyOperations
from minikms.records import SECOND, KeyRecord, KeyRef
from minikms.store.keys.use_times import groups_of


class LastUseOperations(KeyOperations):
    """Describes keys with the time of their last use."""

    async def describe(self, profile: str, ref: KeyRef) -> KeyRecord:
        """Find the record of a key with the time of its last use, as `with_last_uses` gives it.

        Raises KeyNotFound or AliasNotFound.
        """
        record = await self.get(profile, ref)
        await self.with_last_uses(profile, [record])
        return record

    async def with_last_uses(self, profile: str, records: Iterable[KeyRecord]) -> None:
        """Set `last_used` and `noted_since` of records, true to some minutes."""
        records = list(records)
        if not records:
            return
        stored = await self._last_uses.read(profile, [int(each.seq or 0) for each in records])
        for record, (since, at) in zip(records, stored, strict=True):
            last = max(at, self.uses.times.get((profile, record.seq), 0))
            # An earlier time is another key's, whose profile was removed and made again.
            used = last // SECOND >= record.created // SECOND
            record.set_last_use(max(last, record.created) if used else None, since)

    async def places_to_read(self, profile: str) -> list[range]:
        """The places of all keys, some hundreds at a time: the last used first, then the newest.

        Raises ProfileNotFound and StoreUnavailable.
        """
        last = await self._store.last_place(profile)
        return list(dict.fromkeys([*await self._last_uses.groups(profile), *groups_of(last)]))
