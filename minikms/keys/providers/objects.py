"""Objects of providers: made for keys that are stored, and destroyed if no key names them.

An object is announced in the store before it is made, so that none is left over, whenever this
process ends (store/keys/object_entries.py).
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias, TypeVar

from minikms.background import in_background
from minikms.errors import (
    AuditUnavailable,
    KeyUnreadable,
    ProfileNotFound,
    ProviderUnavailable,
    StoreUnavailable,
)
from minikms.events import AuditEvent, AuditSink
from minikms.records import SECOND
from minikms.store.askar.errors import UndecryptableError
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.object_entries import ProviderObject

LOGGER = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# Destroys the object with an identifier in the token with a serial number, empty for any. Tells
# whether it is gone; False if another token is in place. Raises ProviderUnavailable.
Destroy: TypeAlias = Callable[[bytes, str], Awaitable[bool]]

# A provider, and the serial number of a token of it.
_Place: TypeAlias = tuple[str, str]

# Seconds in which a call makes its objects and stores their keys: for any call, and for each
# object.
_TIME: Final = 900
_EACH: Final = 10

# Seconds between two sweeps of all profiles, until another attempt if a provider did not destroy an
# object, and until another sweep if the store did not answer.
_PERIOD: Final = 300.0
_AGAIN: Final = 5.0
_OUTAGE: Final = 60.0

# The number of objects that are destroyed before their entries are removed.
_TOGETHER: Final = 64


class ObjectsBeingMade:
    """The objects that one call makes, by their identifiers `key_ids`.

    `late` is called on the event loop if the call has ended before the last of them was made.
    """

    def __init__(self, key_ids: list[bytes], late: Callable[[], None]) -> None:
        self.key_ids = key_ids
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._under_way = 0
        self._has_ended = False

    def make(self, make: Callable[[bytes], ResultT], key_id: bytes) -> ResultT:
        """Call `make` with an identifier, in any thread; not once the call has ended."""
        with self._lock:
            if self._has_ended:
                raise ProviderUnavailable()
            self._under_way += 1
        try:
            return make(key_id)
        finally:
            with self._lock:
                self._under_way -= 1
                is_last = self._has_ended and not self._under_way
            if is_last:
                with suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._late)

    def end(self) -> bool:
        """End the call; tells whether no object is being made any more."""
        with self._lock:
            self._has_ended = True
            return not self._under_way


class ObjectMaker:
    """Announces objects before they are made, and condemns them if their call fails."""

    def __init__(self, store: KeyStore) -> None:
        self._objects = store.objects
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def making(
        self, profile: str, provider: str, count: int = 1
    ) -> AsyncIterator[ObjectsBeingMade]:
        """Announce `count` objects, which the block makes, and whose keys it stores.

        If the block fails, the objects whose keys are not stored are destroyed later. Raises
        ProfileNotFound and StoreUnavailable.
        """
        until = time.time_ns() + (_TIME + count * _EACH) * SECOND
        key_ids = await self._objects.intend(profile, provider, count, until)

        def condemn() -> None:
            self._tasks.add(task := asyncio.create_task(self._condemn(profile, provider, key_ids)))
            task.add_done_callback(self._tasks.discard)

        being_made = ObjectsBeingMade(key_ids, condemn)
        try:
            yield being_made
        except BaseException:
            # If one is still being made, its thread does so at the end.
            if being_made.end():
                condemn()  # its caller may be gone, and does not wait for it
            raise

    async def drain(self) -> None:
        """Wait until the calls that have failed have condemned their objects."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _condemn(self, profile: str, provider: str, key_ids: list[bytes]) -> None:
        try:
            try:
                await self._objects.condemn(profile, provider, key_ids)
            except ProfileNotFound:
                await self._objects.condemn(None, provider, key_ids)
        except StoreUnavailable:
            LOGGER.warning("objects of a failed call are destroyed later: the store is unavailable")


class ObjectSweeper:
    """Destroys objects that no key names: at the start, when some are condemned, and regularly.

    Any number of processes may do so at the same time. `providers` has the function that destroys
    an object, by the name of its provider. Each destruction is an audit event of its own, which
    `sink` records.
    """

    def __init__(
        self, store: KeyStore, providers: Mapping[str, Destroy], sink: AuditSink | None = None
    ) -> None:
        self._store = store
        self._providers = providers
        self._sink = sink
        self._noted: set[str | None] = set()
        self._is_noted = asyncio.Event()
        self._warned: set[str] = set()
        self._elsewhere: set[_Place] = set()
        self._waiting: dict[str | None, Counter[str]] = {}
        store.objects.on_condemned(self._note)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep as long as the block lasts."""
        async with in_background(self._run()):
            yield

    def waiting(self) -> Mapping[str, int]:
        """Count the objects that its sweeps have found and not destroyed, by provider.

        It counts up to 10,000 in a profile. Providers that the service lacks may have some.
        """
        found = Counter(dict.fromkeys((*self._providers, *self._warned), 0))
        for objects in self._waiting.values():
            found.update(objects)
        return found

    async def sweep(self) -> set[str | None]:
        """Destroy the objects that no key names any more; give the profiles in which some are left.

        It also finishes removals of profiles that were interrupted. Raises StoreUnavailable.
        """
        await self._store.database.directory.finish_removals()
        profiles = [None, *await self._store.profiles()]
        for removed in self._waiting.keys() - profiles:
            del self._waiting[removed]
        return await self._sweep(profiles)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_sweep, left = loop.time(), set[str | None]()
        while True:
            until = min(next_sweep, loop.time() + _AGAIN) if left else next_sweep
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._is_noted.wait()
            some = left | self._noted
            self._noted.clear()
            self._is_noted.clear()
            try:
                if loop.time() < next_sweep:
                    left = await self._sweep(some)
                else:
                    next_sweep = loop.time() + _PERIOD
                    left = await self.sweep()
            except StoreUnavailable:
                LOGGER.warning("objects of providers are not destroyed: the store is unavailable")
                next_sweep, left = loop.time() + _OUTAGE, set()
            except Exception:  # the next sweep may succeed, so the task goes on
                LOGGER.exception("objects of providers are not destroyed")
                left = set()

    def _note(self, profile: str | None) -> None:
        self._noted.add(profile)
        self._is_noted.set()

    async def _sweep(self, profiles: Iterable[str | None]) -> set[str | None]:
        """Sweep profiles; None is the store's own, which has the objects of removed ones."""
        away: set[_Place] = set()
        left = set()
        for profile in profiles:
            try:
                due = await self._store.objects.due(profile)
                self._waiting.pop(profile, None)
                if due and not await self._destroy(profile, due, away):
                    left.add(profile)
            except ProfileNotFound:
                continue  # removed meanwhile
            except AuditUnavailable:  # the audit log has said so
                left.add(profile)
            except (KeyUnreadable, UndecryptableError):
                LOGGER.exception("objects of a profile are not destroyed")
        return left

    async def _destroy(
        self, profile: str | None, due: Sequence[ProviderObject], away: set[_Place]
    ) -> bool:
        """Destroy objects and remove their entries; tells whether no provider has failed.

        `away` has the tokens that have failed before; a token that fails now is added.
        """
        waiting = self._waiting[profile] = Counter(each.provider for each in due)
        owns = await self._store.objects.owns()
        for start in range(0, len(due), _TOGETHER):
            some = [each for each in due[start : start + _TOGETHER] if self._is_known(each)]
            some = [each for each in some if _place(each) not in away]
            if not some:
                continue
            condemned = await self._store.objects.condemn_ended(profile, some)
            destroyed: dict[ProviderObject, AuditEvent] = {}
            for each in condemned:
                if not owns:
                    LOGGER.warning(
                        "the object %s of the provider %s stays: this store shares its objects",
                        each.object_id,
                        each.provider,
                    )
                elif await self._is_destroyed(each, away):
                    destroyed[each] = self._event(profile, each)
            gone = list(destroyed) if owns else condemned
            await self._store.objects.remove(profile, gone, destroyed)
            left = set(condemned).difference(gone)
            waiting.subtract(each.provider for each in some if each not in left)
        return away.isdisjoint(map(_place, due))

    def _is_known(self, found: ProviderObject) -> bool:
        """Tell whether the service has the provider of an object; logs that it does not, once."""
        if found.provider not in self._providers and found.provider not in self._warned:
            self._warned.add(found.provider)
            LOGGER.warning(
                "objects are left at the provider %s, which the service lacks", found.provider
            )
        return found.provider in self._providers

    def _event(self, profile: str | None, destroyed: ProviderObject) -> AuditEvent:
        return AuditEvent(
            "destroyObject",
            self._sink,
            profile=profile,
            provider=destroyed.provider,
            object_id=destroyed.object_id,
        )

    async def _is_destroyed(self, condemned: ProviderObject, away: set[_Place]) -> bool:
        """Destroy an object unless its token is away; tells whether it is gone."""
        name, object_id, token = condemned
        if _place(condemned) in away:
            return False
        is_gone = False
        try:
            is_gone = await self._providers[name](bytes.fromhex(object_id), token)
        except ProviderUnavailable:
            pass  # it is logged
        except Exception as exc:  # of a provider: its text may contain a secret
            LOGGER.error(
                "the provider %s cannot destroy the object %s: %s",
                name,
                object_id,
                type(exc).__name__,
            )
        else:
            if not is_gone:
                self._warn_of_token(name, token)
        if not is_gone:
            away.add(_place(condemned))
        return is_gone

    def _warn_of_token(self, provider: str, token: str) -> None:
        if (provider, token) not in self._elsewhere:
            self._elsewhere.add((provider, token))
            LOGGER.warning(
                "objects are left at the token %s of the provider %s: another token is in place",
                token,
                provider,
            )


def _place(found: ProviderObject) -> _Place:
    return found.provider, found.token
