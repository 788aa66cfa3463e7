"""Kills processes that make and delete keys of a provider, and compares store and provider after.

Run as a program with a folder, the number of kills, and either nothing more or the URLs of empty
databases, two more than kills: it forks a process for each, without starting an interpreter again.
A process counts its commits, and the calls of the provider that change something, and is killed
before or after one of them.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minikms_files import FilesProvider

from minikms.errors import AliasExists
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.providers.providers import Providers
from minikms.keys.service import KeyService
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.provider_objects import compare as compared
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sessions import Transaction
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore
from minikms.store.profiles import removals

KEY = StoreKey(new_raw_key())
REGISTRY = AlgorithmRegistry.from_installed()
_TOGETHER = 5  # processes at a time, since they mostly wait for the disk


class Place(NamedTuple):
    """The store and the token of some processes."""

    store: str
    token: Path

    @property
    def location(self) -> StoreLocation:
        return StoreLocation.parse(self.store)

    @property
    def uri(self) -> str:
        return f"files:{self.token}"


class Points:
    """Tells its parent the points at which a process may be killed, and kills it at one of them."""

    def __init__(self, fatal: int = -1) -> None:
        self._fatal = fatal
        self._number = 0
        self.writer = -1

    def reach(self, name: str) -> None:
        os.write(self.writer, f"{name}\n".encode())
        if self._number == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self._number += 1

    def around(self, kind: type, name: str) -> None:
        """Tell a point before each call of a method, and one after it."""
        method = getattr(kind, name)

        def told(*args: Any) -> Any:
            what = name if getattr(args[0], "written", True) else f"empty {name}"
            self.reach(f"before {what}")
            result = method(*args)
            if asyncio.iscoroutine(result) or asyncio.isfuture(result):
                return self._awaited(what, result)
            self.reach(f"after {what}")
            return result

        setattr(kind, name, told)

    async def _awaited(self, name: str, result: Awaitable[Any]) -> Any:
        value = await result
        self.reach(f"after {name}")
        return value


def left_over(names: Sequence[str]) -> int:
    """The number of objects without a key once a process was killed at the last of its points."""
    number = 0
    for name in names:
        if name == "after make":
            number += 1
        elif name in ("after commit", "after destroy"):
            number = 0
    return number


async def make_and_delete(place: Place, points: Points, mine: str = "a") -> None:
    """Make keys, fail to make others, and delete some; `mine` is an alias and a profile."""
    registry = REGISTRY.with_providers({"hsm": FilesProvider(place.uri)})
    providers = Providers(registry)
    async with KeyStore.open(place.location, KEY, serving=True) as store, providers.running():
        service = KeyService(registry, store, providers=providers)
        while not providers["hsm"].status.available:
            await asyncio.sleep(0.001)
        several = KeyPolicy(provider="hsm")
        await service.creation.generate(
            DEFAULT_PROFILE, "p256", several
        )  # the store notes its prefix
        for kind, name in (
            (Transaction, "commit"),
            (FilesProvider, "make"),
            (FilesProvider, "destroy"),
        ):
            points.around(kind, name)
        policy = KeyPolicy(provider="hsm", aliases=(mine,), alias_taken="refuse")
        first = await service.creation.generate(DEFAULT_PROFILE, "p256", policy)
        with suppress(AliasExists):
            await service.creation.generate(DEFAULT_PROFILE, "ed25519", policy)
        made = await service.creation.generate_batch(DEFAULT_PROFILE, "p256", 3, several)
        await service.rotation.rotate(DEFAULT_PROFILE, first.kid)
        await service.changes.delete(DEFAULT_PROFILE, KeyRef(first.kid))
        await service.changes.schedule_deletion(DEFAULT_PROFILE, KeyRef(made[0].kid), 1)
        await service.sweep()
        await service.rotation.rotate_name(DEFAULT_PROFILE, mine)
        await service.aliases.delete_name(DEFAULT_PROFILE, mine, lambda *_: None)
        await service.profiles.create(mine)
        await service.creation.generate(mine, "p256", several)
        await service.operations.store.remove_profile(mine)
        await service.sweep()
        await service.profiles.create(mine)
        await service.creation.generate_batch(mine, "ed25519", 3 * removals._PART, KeyPolicy())
        await service.operations.store.remove_profile(mine)
        await service.creation.generate(DEFAULT_PROFILE, "p256", several)


async def compare(place: Place, orphans: int) -> None:
    """Start again; raise unless the provider has the store's keys and `orphans` other ones."""
    provider = FilesProvider(place.uri)
    registry = REGISTRY.with_providers({"hsm": provider})
    providers = Providers(registry)
    async with KeyStore.open(place.location, KEY, serving=True) as store, providers.running():
        service = KeyService(registry, store, providers=providers)
        while not providers["hsm"].status.available:
            await asyncio.sleep(0.001)
        await service.sweep()
        found = await compared(StoreInspector(store.database), "hsm", provider)
        assert (found.missing, found.others, len(found.orphans)) == ([], 0, orphans), found
        assert len(provider.find()) == found.keys + orphans
        assert await store.database.directory.removals.pending() == []
        for profile in await store.directory.names():
            assert await store.deletions.due(profile) == []


def begin(work: Callable[[], Awaitable[None]], points: Points | None = None) -> tuple[int, int]:
    """Begin work in a process of its own; its number, and a pipe that gets its points."""
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        return child, reader
    code = 1
    if points is not None:
        points.writer = writer
    try:
        asyncio.run(work())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def end(begun: tuple[int, int]) -> tuple[int, list[str]]:
    """Wait for a process; the code or the signal that has ended it, and its points."""
    child, reader = begun
    with os.fdopen(reader) as told:
        names = told.read().splitlines()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), names


async def make_store(place: Place) -> None:
    """Make a store and a token."""
    place.token.mkdir(parents=True)
    async with KeyStore.create(place.location, KEY):
        pass


def make(place: Place, fatal: int = -1, mine: str = "a") -> tuple[int, int]:
    """Begin to make and delete keys, up to one of the points."""
    points = Points(fatal)
    return begin(partial(make_and_delete, place, points, mine), points)


def main(folder: Path, kills: int, urls: Sequence[str]) -> None:
    """Kill processes at points spread over one run; print their number."""
    removals._PART = 2  # a small profile is also erased in parts
    if not urls:
        urls = [f"sqlite://{folder}/keys{number}.db" for number in range(kills + 2)]
    places = [Place(url, folder / f"token{number}") for number, url in enumerate(urls)]
    for place in places:
        assert end(begin(partial(make_store, place)))[0] == 0
    whole, both, *others = places
    code, names = end(make(whole))
    assert code == 0
    assert len(names) > kills, names
    assert end(begin(partial(compare, whole, 0)))[0] == 0
    fatal = [kill * len(names) // kills for kill in range(kills)]
    for first in range(0, kills, _TOGETHER):
        some = others[first : first + _TOGETHER]
        ended = [end(each) for each in list(map(make, some, fatal[first : first + _TOGETHER]))]
        assert [code for code, _ in ended] == [-signal.SIGKILL] * len(some)
        begun = [
            begin(partial(compare, place, left_over(names)))
            for place, (_, names) in zip(some, ended, strict=True)
        ]
        assert [end(each)[0] for each in begun] == [0] * len(some), [each[-1] for _, each in ended]
    dies, lives = make(both, names.index("before destroy"), "a"), make(both, mine="b")
    (code, names), (other, _) = end(dies), end(lives)
    assert (code, other) == (-signal.SIGKILL, 0)
    assert end(begin(partial(compare, both, left_over(names))))[0] == 0
    print(len(fatal))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
