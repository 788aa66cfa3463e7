"""Limits the uses of keys by the rates in their rules, `per_minute` and `per_day`."""

import asyncio
from typing import Any, Final
from weakref import WeakValueDictionary

from minikms.errors import OverRate
from minikms.keys.operation import UsableKey
from minikms.rates import DAY, MINUTE, RateTable
from minikms.store.keys.day_leases import lease_uses
from minikms.store.keys.key_store import KeyStore

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
        """Count uses of a key; raises OverRate if not all of them are allowed."""
        rules, use, wait = key.rules, key.use, 0
        if rules is None or use.is_public or use.operation == _UNCOUNTED:
            return
        if rules.per_minute is not None:
            name = profile, key.kid, PER_MINUTE
            wait = self._table.take(name, MINUTE, rules.per_minute, number)
            if wait:
                raise OverRate(PER_MINUTE, wait)
        if rules.per_day is not None:
            wait = await self._take_of_day(profile, key.kid, rules.per_day, number)
            if wait:
                raise OverRate(PER_DAY, wait)

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
