"""The uses of a key in a day, which the store leases to services (keys/rates.py)."""

import time

import orjson

from minikms.errors import KeyNotFound
from minikms.rates import DAY, Window
from minikms.store.entries import KEY, USES
from minikms.store.sessions import Transaction


async def lease_uses(
    session: Transaction, kid: str, most: int, least: int, wanted: int
) -> tuple[int, int]:
    """Lease up to `wanted` uses of a key that has `most` in a day.

    The number of leased uses, and if they are fewer than `least`, the nanoseconds until there is
    room for so many.
    """
    now = time.time_ns()
    entry = await session.fetch(USES, kid)
    window = Window() if entry is None else Window(*orjson.loads(entry.value))
    window = window.at(now, DAY)
    leased = min(max(window.room(now, DAY, most), 0), wanted)
    window = window._replace(calls=window.calls + leased)
    if leased:
        value = orjson.dumps(list(window))
        if entry is not None:
            await session.replace(USES, kid, value, cached=False)
        elif await session.fetch(KEY, kid) is not None:
            await session.insert(USES, kid, value)
        else:
            raise KeyNotFound()
    return leased, 0 if leased >= least else window.wait(now, DAY, most, least)
