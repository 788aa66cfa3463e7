"""Removes keys whose deletion is due; of a key of a provider, its object at the provider first.

Each step can be repeated. A process that is killed, or a provider that does not answer, leaves a
key to the next sweep, and the key is gone for callers all the time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from minikms.errors import KeyUnreadable, ProfileNotFound, StoreUnavailable
from minikms.events import CURRENT, AuditEvent, AuditSink
from minikms.store.askar.errors import UndecryptableError
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.provider_objects import ProviderObject
from minikms.store.profiles.directory import RemovedProfile

LOGGER = logging.getLogger(__name__)

# Destroys the object with an identifier in the token with a serial number, empty for any; tells
# whether it is gone.
Destroy: TypeAlias = Callable[[bytes, str], Awaitable[bool]]


# A provider, and the serial number of a token of it.
_Place: TypeAlias = tuple[str, str]


@dataclass
class _Sweep:
    """One sweep: its sink, whether the store owns its objects, and the tokens that have failed."""

    sink: AuditSink | None
    owns: bool
    away: set[_Place] = field(default_factory=set)


class DueDeletions:
    """Removes the keys of a store whose deletion is due, and erases removed profiles.

    `destroy` has the function that destroys an object, by the name of its provider. Any number of
    processes may do so at the same time. Each removal of a key is an audit event, and so is each
    destruction of an object.
    """

    def __init__(self, store: KeyStore, destroy: Mapping[str, Destroy]) -> None:
        self._store = store
        self._directory = store.database.directory
        self._destroy = destroy
        self._noted: dict[str | None, dict[str, _Place | None]] = {}
        self._is_noted = asyncio.Event()
        self._unknown: set[str] = set()
        # The token of each key that waits for it, by profile and kid.
        self._waiting: dict[str | RemovedProfile, dict[str, _Place]] = {}
        store.on_ended(self._note)

    def waiting(self) -> Mapping[str, int]:
        """Count the keys whose objects could not be destroyed yet, by provider."""
        found = Counter(dict.fromkeys((*self._destroy, *self._unknown), 0))
        for keys in self._waiting.values():
            found.update(provider for provider, _ in keys.values())
        return found

    @property
    def may_go_on(self) -> bool:
        """Tell whether keys wait for a provider of the service."""
        places = {place for keys in self._waiting.values() for place in keys.values()}
        return any(provider in self._destroy for provider, _ in places)

    async def noted(self) -> None:
        """Return once this process has deleted a key of a provider."""
        await self._is_noted.wait()

    async def sweep(self, profiles: Sequence[str], sink: AuditSink | None) -> None:
        """Remove all due keys of these profiles, and erase removed profiles.

        Raises StoreUnavailable; another failure is logged, and holds up no other key or profile.
        """
        self._take_noted()
        sweep = await self._begin(sink)
        for profile in profiles:
            try:
                await self._sweep_profile(profile, sweep)
            except ProfileNotFound:
                continue  # removed meanwhile
            except (KeyUnreadable, UndecryptableError):
                LOGGER.exception("due keys of a profile are not deleted")
        removed = await self._sweep_removed(sweep)
        for gone in self._waiting.keys() - {*profiles, *removed}:
            del self._waiting[gone]

    async def go_on(self, sink: AuditSink | None) -> None:
        """Remove the keys that this process has deleted since the last sweep, or that wait."""
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
            with suppress(ProfileNotFound):  # removed meanwhile
                for kid, place in kids.items():
                    if place not in sweep.away:
                        await self._remove(name, kid, sweep)

    def _note(self, profile: str | None, kids: Iterable[str]) -> None:
        self._noted.setdefault(profile, {}).update(dict.fromkeys(kids))
        self._is_noted.set()

    def _take_noted(self) -> dict[str | None, dict[str, "_Place | None"]]:
        noted, self._noted = self._noted, {}
        self._is_noted.clear()
        return noted

    async def _begin(self, sink: AuditSink | None) -> _Sweep:
        return _Sweep(sink, await self._store.objects.owns())

    async def _sweep_profile(self, profile: str, sweep: _Sweep) -> None:
        seen: set[str] = set()
        # Keys that are left, however many, hold up no other.
        while kids := set(await self._store.due(profile, besides=len(seen))) - seen:
            for kid in kids:
                await self._remove(profile, kid, sweep)
            seen |= kids
        waiting = self._waiting.get(profile, {})
        for kid in waiting.keys() - seen:  # another process has removed it
            del waiting[kid]

    async def _remove(self, profile: str, kid: str, sweep: _Sweep) -> None:
        """Remove a key if its deletion is due, and its object is gone or stays."""
        outer = CURRENT.set(AuditEvent("sweepKey", sweep.sink, profile=profile, kid=kid))
        waiting = self._waiting.setdefault(profile, {})
        try:
            found = await self._store.objects.due(profile, kid)
            if found is None:
                await self._store.remove_due(profile, kid)
                return
            waiting[kid] = found.provider, found.token
            if await self._is_done(found, sweep):
                destruction = self._destruction(profile, found, sweep)
                await self._store.remove_due(profile, kid, found.object_id, destruction)
                del waiting[kid]
        except (StoreUnavailable, ProfileNotFound):
            raise
        except Exception:  # its entries may be damaged in any way, or the audit log not writable
            LOGGER.exception("the key %s, whose deletion is due, cannot be removed", kid)
        finally:
            CURRENT.reset(outer)

    async def _sweep_removed(self, sweep: _Sweep) -> Sequence[RemovedProfile]:
        """Erase the removed profiles whose objects are gone or stay; gives all of them."""
        removed = await self._directory.removed()
        for profile in removed:
            try:
                await self._erase(profile, sweep)
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
        if not waiting:
            await self._directory.erase(profile)

    async def _is_done(self, found: ProviderObject, sweep: _Sweep) -> bool:
        """Destroy an object, unless the store shares it; tells whether its key can be removed."""
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
        """The event of the destruction of an object; None if it stays.

        A removed profile is not named: another one may have its name now.
        """
        if not sweep.owns:
            return None
        return AuditEvent(
            "destroyObject",
            sweep.sink,
            profile=profile,
            profile_id=None if profile is None else self._directory.last_id(profile),
            kid=found.kid,
            provider=found.provider,
            object_id=found.object_id,
        )
