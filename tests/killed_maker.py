"""Kills processes that make and delete keys of a provider, and compares store and provider after.

Run as a program with a folder and the number of kills: it forks a process for each, without
starting an interpreter again. A process counts its commits, and the calls of the provider that
change something, and is killed before or after one of them.
"""

import asyncio
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from minikms_files import FilesProvider

from minikms.errors import AliasExists
from minikms.keys.providers.objects import ObjectSweeper
from minikms.keys.providers.providers import Providers
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import DEFAULT_PROFILE, KeyPolicy, KeyRef
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sessions import Transaction
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.object_entries import objects_in

KEY = StoreKey(new_raw_key())
REGISTRY = AlgorithmRegistry.from_installed()
HOUR = 3600 * 10**9
_TOGETHER = 5  # processes at a time, since they mostly wait for the disk


class Points:
    """Counts the points at which a process may be killed, and kills it at one of them."""

    def __init__(self, fatal: int = -1) -> None:
        self._fatal = fatal
        self.number = 0

    def reach(self) -> None:
        if self.number == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.number += 1

    def around(self, kind: type, name: str) -> None:
        """Count a point before each call of a method, and one after it."""
        method = getattr(kind, name)

        def counted(*args: Any) -> Any:
            self.reach()
            result = method(*args)
            if asyncio.iscoroutine(result) or asyncio.isfuture(result):
                return self._awaited(result)
            self.reach()
            return result

        setattr(kind, name, counted)

    async def _awaited(self, result: Awaitable[Any]) -> Any:
        value = await result
        self.reach()
        return value


async def make_and_delete(folder: Path, points: Points, mine: str = "a") -> None:
    """Make keys, fail to make others, and delete some; `mine` is an alias and a profile."""
    registry = REGISTRY.with_providers({"hsm": FilesProvider(f"files:{folder / 'token'}")})
    providers = Providers(registry)
    location = StoreLocation.parse(f"sqlite://{folder / 'keys.db'}")
    async with KeyStore.open(location, KEY, serving=True) as store, providers.running():
        service = KeyService(registry, store, providers=providers)
        while not providers["hsm"].status.available:
            await asyncio.sleep(0.001)
        destroy = {each.name: each.destroy for each in providers}
        sweeper = ObjectSweeper(store, destroy)
        for kind, name in (
            (Transaction, "commit"),
            (FilesProvider, "make"),
            (FilesProvider, "destroy"),
        ):
            points.around(kind, name)
        policy = KeyPolicy(provider="hsm", aliases=(mine,), alias_taken="refuse")
        first = await service.generate(DEFAULT_PROFILE, "p256", policy)
        with suppress(AliasExists):
            await service.generate(DEFAULT_PROFILE, "ed25519", policy)
        several = KeyPolicy(provider="hsm")
        made = await service.generate_batch(DEFAULT_PROFILE, "p256", 3, several)
        await service.rotate(DEFAULT_PROFILE, first.kid)
        await service.delete(DEFAULT_PROFILE, KeyRef(first.kid))
        await service.schedule_deletion(DEFAULT_PROFILE, KeyRef(made[0].kid), 1)
        await service.sweep()
        await sweeper.sweep()
        await service.create_profile(mine)
        await service.generate(mine, "p256", several)
        await service.remove_profile(mine)
        await service.generate(DEFAULT_PROFILE, "p256", several)
        await sweeper.sweep()


async def compare(folder: Path) -> None:
    """Start again, an hour later, and raise unless the provider has exactly the store's keys."""
    system = time.time_ns
    time.time_ns = lambda: system() + HOUR  # type: ignore[assignment]
    provider = FilesProvider(f"files:{folder / 'token'}")

    async def destroy(key_id: bytes, token: str) -> bool:
        return provider.destroy_in(token, key_id)

    location = StoreLocation.parse(f"sqlite://{folder / 'keys.db'}")
    async with KeyStore.open(location, KEY, serving=True) as store:
        left = await ObjectSweeper(store, {"hsm": destroy}).sweep()
        named = set()
        for profile in await store.profiles():
            keys, others = await store.database.run(profile, objects_in)
            named |= {bytes.fromhex(each.object_id) for each in keys}
            left |= others
        if left or named != provider.find():
            there = {each.hex() for each in provider.find()}
            here = {each.hex() for each in named}
            raise SystemExit(f"left {left}, only here {here - there}, only there {there - here}")


def begin(work: Callable[[], Awaitable[None]], points: Points | None = None) -> tuple[int, int]:
    """Begin work in a process of its own; its number, and a pipe that gets the number of points."""
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        return child, reader
    code = 1
    try:
        asyncio.run(work())
        code = 0
        if points is not None:
            os.write(writer, str(points.number).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def end(begun: tuple[int, int]) -> int:
    """Wait for a process; the code or the signal that has ended it, or its number of points."""
    child, reader = begun
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as counted:
        number = counted.read()
    return int(number) if number else os.waitstatus_to_exitcode(status)


def forked(work: Callable[[], Awaitable[None]], points: Points | None = None) -> int:
    """Do work in a process of its own, as `begin` and `end` do."""
    return end(begin(work, points))


def make_store(folder: Path) -> None:
    """Make a store and a token in a new folder."""
    (folder / "token").mkdir(parents=True)

    async def make() -> None:
        async with KeyStore.create(StoreLocation.parse(f"sqlite://{folder / 'keys.db'}"), KEY):
            pass

    assert forked(make) == 0


def main(folder: Path, kills: int) -> None:
    """Kill processes at points spread over one run; print the number of points."""
    new, whole, both = folder / "new", folder / "whole", folder / "both"
    make_store(new)
    shutil.copytree(new, whole)
    points = Points()
    number = forked(lambda: make_and_delete(whole, points), points)
    assert number > kills, f"only {number} points"
    assert forked(lambda: compare(whole)) == 0
    places = [folder / str(kill * number // kills) for kill in range(kills)]
    for first in range(0, kills, _TOGETHER):
        some = places[first : first + _TOGETHER]
        killed = []
        for place in some:
            shutil.copytree(new, place)
            fatal = Points(int(place.name))
            killed.append(begin(partial(make_and_delete, place, fatal)))
        assert [end(each) for each in killed] == [-signal.SIGKILL] * len(some), some
        compared = [begin(partial(compare, place)) for place in some]
        assert [end(each) for each in compared] == [0] * len(some), some
    shutil.copytree(new, both)
    ends = begin(partial(make_and_delete, both, Points(number // 2), "a"))
    stays = begin(partial(make_and_delete, both, Points(), "b"))
    assert (end(ends), end(stays)) == (-signal.SIGKILL, 0)
    assert forked(partial(compare, both)) == 0
    print(number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
