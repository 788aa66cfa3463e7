"""Limits the uses of keys by the rates in their rules, `per_minute` and `per_day`."""

import asyncio
from typing import Any, Final
from weakref import WeakValueDictionary

from minikms.basics.rates import DAY, MINUTE, RateTable
from minikms.errors import OverRate, ValidationFailed
from minikms.keys.operation import UsableKey
from minikms.store import KeyStore, lease_uses

PER_MINUTE: Final = "per_minute"
PER_DAY: Final = "per_day"

# Verifying with the secret reveals nothing to the caller, so it is not counted.
_UNCOUNTED: Final = "mac-verify"


class KeyRates:
    """Counts uses of private and secret keys whose rules have rates.

    The table of the service counts the uses in a minute. The store counts the uses in a day, and
    leases some at a time to each service.
    """

    def __init__(self, table: RateTable, store: KeyStore) -> None:
        self._table = table
        self._store = store
        self._leasing: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    async def count(self, profile: str, key: UsableKey[Any], number: int = 1) -> None:
        """Count uses of a key, all or none.

        Raises OverRate if not all of them are allowed now, ValidationFailed if they never are.
        """
        rules, use = key.rules, key.use
        if rules is None or use.is_public or use.operation == _UNCOUNTED:
            return
        most, of_day = rules.per_minute, rules.per_day
        for rule, limit in ((PER_MINUTE, most), (PER_DAY, of_day)):
            if limit is not None and number > limit:
                fault = f"The rules of the key allow {limit:,} {rule.replace('_', ' ')}."
                raise ValidationFailed(errors=[("#/items", fault)])
        name = profile, key.kid, PER_MINUTE
        if of_day is not None:
            # A call that one rate refuses is not counted by the other.
            if most is not None and (wait := self._table.wait(name, MINUTE, most, number)):
                raise OverRate(PER_MINUTE, wait)
            wait = await self._take_of_day(profile, key.kid, of_day, number)
            if wait:
                raise OverRate(PER_DAY, wait)
        if most is not None and (wait := self._table.take(name, MINUTE, most, number)):
            if of_day is not None:  # others have used up the minute while the store was asked
                self._table.lease((profile, key.kid, PER_DAY, str(of_day)), number, 0)
            raise OverRate(PER_MINUTE, wait)

    async def _take_of_day(self, profile: str, kid: str, most: int, number: int) -> int:
        """Count uses against the lease, or lease more; returns the nanoseconds to wait."""
        name = profile, kid, PER_DAY, str(most)
        lacking, wait = self._table.take_leased(name, number)
        if not lacking or wait:
            return wait
        # One call asks the store; others find its lease.
        lock = self._leasing.get(name)
        if lock is None:
            lock = self._leasing[name] = asyncio.Lock()
        async with lock:
            while True:  # another worker may use up the lease meanwhile
                lacking, wait = self._table.take_leased(name, number)
                if not lacking or wait:
                    return wait
                leased, wait = await lease_uses(self._store.database, profile, kid, most, lacking)
                if wait:
                    self._table.close_lease(name, lacking, wait)
                else:
                    self._table.lease(name, leased, DAY)
