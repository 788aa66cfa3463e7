"""Removes keys whose deletion is due; destroys the object of a provider's key before its record.

Every step can be repeated. If a process is killed or a provider does not answer, the next sweep
continues. Callers do not see the key in the meantime.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from minikms.errors import (
    KeyUnreadable,
    ProfileFrozen,
    ProfileNotFound,
    StatementTimeout,
    StoreUnavailable,
)
from minikms.events import CURRENT, AuditEvent, AuditSink
from minikms.store import KeyStore, ProviderObject, RemovedProfile, UndecryptableError

LOGGER = logging.getLogger(__name__)

# The number of keys that a sweep removes at a time. They share a transaction, which delays other
# writes by its length. A pause of the same length follows.
_TOGETHER: Final = 16

# Seconds after which a sweep leaves the rest of removed profiles, so that keys that are deleted in
# the meantime have their turn. It goes on at once after that.
_ERASING: Final = 10.0

# Destroys the object with this identifier in the token with this serial number (empty for any);
# returns whether the object is gone.
Destroy: TypeAlias = Callable[[bytes, str], Awaitable[bool]]


# A provider, and the serial number of one of its tokens.
_Place: TypeAlias = tuple[str, str]


@dataclass
class _Sweep:
    """A sweep: `owns` if the store may destroy its objects, `away` are tokens that do not answer.

    It erases removed profiles up to `until`, a time of the monotonic clock. Objects are destroyed
    one by one, so that only one call waits for a token that does not answer.
    """

    sink: AuditSink | None
    owns: bool
    until: float
    away: set[_Place] = field(default_factory=set)
    destroying: asyncio.Lock = field(default_factory=asyncio.Lock)


class DueDeletions:
    """Removes the keys of a store whose deletion is due, and erases removed profiles.

    `destroy` maps the name of a provider to the function that destroys one of its objects. Any
    number of processes may sweep a store at the same time. Each removal of a key and each
    destruction of an object is an audit event.
    """

    def __init__(self, store: KeyStore, destroy: Mapping[str, Destroy]) -> None:
        self._store = store
        self._directory = store.database.directory
        self._destroy = destroy
        self._noted: dict[str | None, dict[str, _Place | None]] = {}
        self._is_noted = asyncio.Event()
        self._unknown: set[str] = set()
        # By profile and kid: the token in which the object of a key could not be destroyed yet.
        self._waiting: dict[str | RemovedProfile, dict[str, _Place]] = {}
        store.database.on_ended(self._note)

    def waiting(self) -> Mapping[str, int]:
        """Count the keys whose objects could not be destroyed yet, by provider."""
        found = Counter(dict.fromkeys((*self._destroy, *self._unknown), 0))
        for keys in self._waiting.values():
            found.update(provider for provider, _ in keys.values())
        return found

    @property
    def may_go_on(self) -> bool:
        """Tell whether keys wait for a provider that the service has."""
        places = {place for keys in self._waiting.values() for place in keys.values()}
        return any(provider in self._destroy for provider, _ in places)

    async def noted(self) -> None:
        """Wait until this process deletes a key of a provider."""
        await self._is_noted.wait()

    async def sweep(self, profiles: Sequence[str], sink: AuditSink | None) -> set[str]:
        """Remove all due keys of these profiles, and erase removed profiles.

        Return the profiles in which keys are left. Raises StoreUnavailable; another failure is
        logged, and holds up no other key or profile.
        """
        self._take_noted()
        sweep, left = await self._begin(sink), set()
        for profile in profiles:
            try:
                if await self._sweep_profile(profile, sweep):
                    left.add(profile)
            except ProfileNotFound:
                continue  # removed meanwhile
            except ProfileFrozen:
                left.add(profile)
            except (KeyUnreadable, UndecryptableError, StatementTimeout):
                left.add(profile)
                LOGGER.exception("due keys of a profile are not deleted")
        removed = await self._sweep_removed(sweep)
        for gone in self._waiting.keys() - {*profiles, *removed}:
            del self._waiting[gone]
        return left

    async def go_on(self, sink: AuditSink | None) -> None:
        """Remove keys that this process deleted since the last sweep, and keys that wait."""
        noted = self._take_noted()
        sweep = await self._begin(sink)
        for profile, waiting in list(self._waiting.items()):
            name = None if isinstance(profile, RemovedProfile) else profile
            kids = noted.setdefault(name, {})
            kids.update(waiting)
        for name, kids in noted.items():
            if name is None:
                await self._sweep_removed(sweep)
                continue
            try:
                for kid, place in kids.items():
                    if place not in sweep.away:
                        await self._remove(name, kid, sweep)
            except ProfileNotFound:  # removed meanwhile
                self._waiting.pop(name, None)
            except ProfileFrozen:
                continue

    def _note(self, profile: str | None, kids: Iterable[str]) -> None:
        self._noted.setdefault(profile, {}).update(dict.fromkeys(kids))
        self._is_noted.set()

    def _take_noted(self) -> dict[str | None, dict[str, "_Place | None"]]:
        noted, self._noted = self._noted, {}
        self._is_noted.clear()
        return noted

    async def _begin(self, sink: AuditSink | None) -> _Sweep:
        return _Sweep(sink, await self._store.objects.owns(), time.monotonic() + _ERASING)

    async def _sweep_profile(self, profile: str, sweep: _Sweep) -> bool:
        """Remove the due keys of a profile; returns whether some are left."""
        left: set[str] = set()
        # Keys that cannot be removed do not hold up others, even if a page is full of them.
        while kids := set(await self._store.deletions.due(profile, besides=len(left))) - left:
            rest = iter(kids)
            while some := list(islice(rest, _TOGETHER)):
                began = time.monotonic()
                removals = (self._remove(profile, kid, sweep) for kid in some)
                done = await asyncio.gather(*removals, return_exceptions=True)
                for kid, removed in zip(some, done, strict=True):
                    if isinstance(removed, BaseException):
                        raise removed
                    if not removed:
                        left.add(kid)
                await asyncio.sleep(time.monotonic() - began)
        waiting = self._waiting.get(profile, {})
        for kid in waiting.keys() - left:  # another process has removed it
            del waiting[kid]
        return bool(left)

    async def _remove(self, profile: str, kid: str, sweep: _Sweep) -> bool:
        """Remove a key whose deletion is due, once its object is destroyed or left to others.

        Returns whether it is removed.
        """
        outer = CURRENT.set(AuditEvent("sweepKey", sweep.sink, profile=profile, kid=kid))
        waiting = self._waiting.setdefault(profile, {})
        try:
            if await self._store.deletions.remove_due(profile, kid):
                return True
            found = await self._store.objects.due(profile, kid)
            if found is None:  # another process was first, or the deletion was cancelled
                waiting.pop(kid, None)
                return False
            waiting[kid] = found.provider, found.token
            if (await self._directory.settings_of(profile)).frozen:
                raise ProfileFrozen()  # before the object is destroyed
            if not await self._is_done(found, sweep):
                return False
            destruction = self._destruction(profile, found, sweep)
            removed = await self._store.deletions.remove_due(
                profile, kid, found.object_id, destruction
            )
            del waiting[kid]
        except (StoreUnavailable, ProfileNotFound, ProfileFrozen):
            raise
        except Exception:  # its entries may be damaged, or the audit log may not be writable
            LOGGER.exception("the key %s, whose deletion is due, cannot be removed", kid)
            return False
        finally:
            CURRENT.reset(outer)
        return removed

    async def _sweep_removed(self, sweep: _Sweep) -> Sequence[RemovedProfile]:
        """Erase removed profiles once their objects are gone or left; returns all of them."""
        removed = await self._directory.removals.pending()
        for gone in self._waiting.keys() - {*removed}:
            if isinstance(gone, RemovedProfile):  # another process has erased it
                del self._waiting[gone]
        for profile in removed:
            try:
                await self._erase(profile, sweep)
            except StatementTimeout:
                LOGGER.warning("a removed profile is not erased yet: a statement took too long")
            except StoreUnavailable:
                raise
            except ProfileNotFound:
                self._waiting.pop(profile, None)  # another process has erased it
            except Exception:  # the audit log may not be writable
                LOGGER.exception("a removed profile cannot be erased")
        return removed

    async def _erase(self, profile: RemovedProfile, sweep: _Sweep) -> None:
        waiting: dict[str, _Place] = {}
        for each in await self._store.objects.of_removed(profile):
            if await self._is_done(each, sweep):
                destruction = self._destruction(None, each, sweep)
                await self._store.objects.forget(profile, each, destruction)
            else:
                waiting[each.kid] = each.provider, each.token
        self._waiting[profile] = waiting
        if not waiting and not await self._directory.removals.erase(profile, sweep.until):
            self._note(None, ())  # `go_on` continues

    async def _is_done(self, found: ProviderObject, sweep: _Sweep) -> bool:
        """Destroy an object unless the store shares it; returns whether to remove its key."""
        if not sweep.owns:
            LOGGER.warning(
                "the object %s of the provider %s stays: this store shares its objects",
                found.object_id,
                found.provider,
            )
            return True
        destroy, token = self._destroy.get(found.provider), (found.provider, found.token)
        if destroy is None:
            self._log_unknown(found.provider)
            sweep.away.add(token)
            return False
        async with sweep.destroying:
            if token in sweep.away:
                return False
            if await destroy(bytes.fromhex(found.object_id), found.token):
                return True
            sweep.away.add(token)
            return False

    def _log_unknown(self, provider: str) -> None:
        """Log once that the service lacks a provider."""
        if provider not in self._unknown:
            self._unknown.add(provider)
            LOGGER.warning("objects are left at the provider %s, which the service lacks", provider)

    def _destruction(
        self, profile: str | None, found: ProviderObject, sweep: _Sweep
    ) -> AuditEvent | None:
        """Make the audit event for destroying an object; None if the object is left.

        The event does not name a removed profile, since a new profile may have its name.
        """
        if not sweep.owns:
            return None
        return AuditEvent(
            "destroyObject",
            sweep.sink,
            profile=profile,
            profile_id=None if profile is None else self._directory.ids.get(profile),
            kid=found.kid,
            provider=found.provider,
            object_id=found.object_id,
        )
