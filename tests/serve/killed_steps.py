"""Kills processes that take the steps of rotations, and lets another process go on.

Run as a program with the URLs of empty databases. In the first, a process is not killed; in each
other one, a process is killed before or after one of its commits. In every third of these, a second
process takes the same steps beside it, and lives.
"""

import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

from serve.killed_maker import KEY, REGISTRY, Points, begin, end

from minikms.key_bounds import SECOND
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.verify import verify
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreLocation
from minikms.store.askar.sessions import Transaction
from minikms.store.keys.key_store import KeyStore

_DAY = 86_400
_EVERY, _AHEAD = 30 * _DAY, _DAY
_ALIASES = ("a", "b")
# The times at which sweeps make the next keys, rotate the keys, and retire them: of processes that
# are killed, and of those that go on, in turn with a clock that is set back, and late.
_TIMES = (29 * _DAY + 60, 30 * _DAY + 120, 32 * _DAY + 240)
_AFTER = ((0, *_TIMES), (_TIMES[1], 31 * _DAY + 240, 34 * _DAY))
_TOGETHER = 4  # processes at a time, since they mostly wait for the disk

_now = time.time_ns


def set_clock(seconds: int) -> None:
    """Put the clock of this process forward."""
    time.time_ns = lambda: _now() + seconds * SECOND


async def make_keys(url: str) -> None:
    """Make a store with keys that the service rotates."""
    async with KeyStore.create(StoreLocation.parse(url), KEY) as store:
        service = KeyService(REGISTRY, store)
        for alias in _ALIASES:
            policy = KeyPolicy(
                aliases=(alias,), rotate_every=_EVERY, publish_ahead=_AHEAD, retire_after=2 * _DAY
            )
            await service.creation.generate(DEFAULT_PROFILE, "ed25519", policy)


async def take_steps(url: str, points: Points) -> None:
    """Make next keys, rotate to them, and retire the old keys, each once it is due."""
    async with KeyStore.open(StoreLocation.parse(url), KEY, serving=True) as store:
        service = KeyService(REGISTRY, store)
        points.around(Transaction, "commit")
        for seconds in _TIMES:
            set_clock(seconds)
            await service.sweep()


async def go_on(url: str, times: Sequence[int]) -> None:
    """Sweep at these times; raise unless all is right, and all steps were taken."""
    location = StoreLocation.parse(url)
    async with KeyStore.open(location, KEY, serving=True) as store:
        service = KeyService(REGISTRY, store)
        for seconds in times:
            set_clock(seconds)
            await require_right(service)
            for _ in range(2):  # a step that follows at once would be too early
                await service.sweep()
                await require_right(service)
        keys, _ = await service.descriptions.list_keys(DEFAULT_PROFILE, limit=100)
        states = Counter(key.current_state for key in keys)
        assert states == {"enabled": len(_ALIASES), "disabled": len(_ALIASES)}, states
    faults: list[tuple[str, ...]] = []
    async with StoreInspector.open(location, KEY) as contents:
        await verify(contents, REGISTRY, lambda *fault: faults.append(fault), lambda _: None)
    assert faults == [], faults


async def require_right(service: KeyService) -> None:
    """Raise unless each alias has a key that signs, which was published for long enough."""
    keys, _ = await service.descriptions.list_keys(DEFAULT_PROFILE, limit=100)
    assert len(keys) <= 2 * len(_ALIASES), keys
    assert sorted(alias for key in keys for alias in key.aliases) == [*_ALIASES]
    following = Counter(key.follows for key in keys if key.follows is not None)
    assert set(following.values()) <= {1}, following
    for alias in _ALIASES:
        key = await service.descriptions.describe(DEFAULT_PROFILE, KeyRef(alias=alias))
        assert key.current_state == "enabled"
        if key.scheduled:
            assert key.rotates is not None
            assert key.rotates - _EVERY * SECOND - key.created >= _AHEAD * SECOND
    for key in keys:
        if not key.aliases and key.follows is None:
            assert key.state in ("verify-only", "disabled"), key


def start(url: str, fatal: int = -1) -> tuple[int, int]:
    """Begin to take the steps, up to one of the points."""
    points = Points(fatal)
    return begin(partial(take_steps, url, points), points)


def main(urls: Sequence[str]) -> None:
    """Kill processes at points spread over one run; print the number of kills and of points."""
    for first in range(0, len(urls), _TOGETHER):
        made = [begin(partial(make_keys, url)) for url in urls[first : first + _TOGETHER]]
        assert [end(each)[0] for each in made] == [0] * len(made)
    whole, *others = urls
    code, names = end(start(whole))
    assert code == 0
    assert end(begin(partial(go_on, whole, _AFTER[0])))[0] == 0
    kills = len(others)
    for first in range(0, kills, _TOGETHER):
        some = range(first, min(first + _TOGETHER, kills))
        dying = [start(others[number], number * len(names) // kills) for number in some]
        living = [start(others[number]) for number in some if number % 3 == 2]
        codes = [end(each)[0] for each in dying]
        assert [end(each)[0] for each in living] == [0] * len(living)
        # Beside another process, one may have less to do, and may end before the point.
        alone = [code for number, code in zip(some, codes, strict=True) if number % 3 != 2]
        assert alone == [-signal.SIGKILL] * len(alone)
        begun = [begin(partial(go_on, others[number], _AFTER[number % 2])) for number in some]
        assert [end(each)[0] for each in begun] == [0] * len(some), [names[:8], *some]
    print(kills, len(names))


if __name__ == "__main__":
    main(sys.argv[1:])
