"""Leases the uses of a key in a day to services (keys/key_rates.py)."""

import time
from functools import partial
from typing import Final

import orjson

from minikms.basics.rates import DAY, Window
from minikms.errors import KeyNotFound
from minikms.events import CURRENT
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import DAY_USES, KEY
from minikms.store.database import Database

# A lease has up to this part of a day's uses besides the needed ones, so that one write serves many
# calls. The rest of a lease is lost when its service ends.
_PART: Final = 50


async def lease_uses(
    database: Database, profile: str, kid: str, most: int, needed: int
) -> tuple[int, int]:
    """Lease uses of a key that has `most` in a day: the `needed` ones, and some more.

    Return the number of leased uses, or 0 and the nanoseconds until `needed` ones are free. A lease
    leaves half of the rest of the day to other services. Raises KeyNotFound.
    """
    work = partial(_lease, kid=kid, most=most, needed=needed)
    outer = CURRENT.set(None)  # the call is recorded when it is done
    try:
        return await database.write(profile, work)
    finally:
        CURRENT.reset(outer)


async def _lease(session: Transaction, kid: str, most: int, needed: int) -> tuple[int, int]:
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
