"""The uses of a key in a day, which the store leases to services (keys/key_rates.py)."""

import time
from typing import Final

import orjson

from minikms.errors import KeyNotFound
from minikms.rates import DAY, Window
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import DAY_USES, KEY

# A lease has up to this part of the uses of a day more than the call needs, so that a write of the
# store serves many calls. It ends with the service, and then its rest is lost.
_PART: Final = 50


async def lease_uses(session: Transaction, kid: str, most: int, needed: int) -> tuple[int, int]:
    """Lease uses of a key that has `most` in a day: as many as are needed, and some more.

    The number of leased uses, or 0 and the nanoseconds until there is room for so many. A lease
    leaves half of the rest of the day to other services.
    """
    now = time.time_ns()
    entry = await session.fetch(DAY_USES, kid)
    window = Window() if entry is None else Window(*orjson.loads(entry.value))
    window = window.at(now, DAY)
    rest = window.room(now, DAY, most) - needed
    if rest < 0:
        return 0, window.wait(now, DAY, most, needed) or 1
    leased = needed + min(most // _PART, rest // 2)
    value = orjson.dumps(list(window._replace(calls=window.calls + leased)))
    if entry is not None:
        await session.replace(DAY_USES, kid, value, cached=False)
    elif await session.fetch(KEY, kid) is not None:
        await session.insert(DAY_USES, kid, value)
    else:
        raise KeyNotFound()
    return leased, 0
