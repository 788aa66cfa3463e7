"""Makes next keys, rotates keys, and retires replaced keys, on request or when it is due."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from minikms.errors import (
    KeyUnreadable,
    KmsError,
    ProfileFrozen,
    ProfileNotFound,
    StatementTimeout,
    StoreUnavailable,
)
from minikms.events import CURRENT, AuditEvent, AuditSink
from minikms.key_requests import KeyPolicy, KeyRef, require_own_aliases
from minikms.keys.making import KeyMaker, is_slow_to_make, maker
from minikms.keys.operations import KeyOperations
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store import (
    POSTPONED,
    CheckVersions,
    NotDueError,
    NotRotatableError,
    Successor,
    UndecryptableError,
    no_check_of_versions,
)

LOGGER = logging.getLogger(__name__)


class Rotation:
    """Makes next keys, rotates keys, and retires replaced keys, on request or when it is due.

    `taken` and `failed` count the steps of `take_steps`, by operation.
    """

    def __init__(
        self, keys: KeyOperations, maker: KeyMaker, reserved_aliases: Sequence[str]
    ) -> None:
        self._registry = keys.registry
        self._store = keys.store
        self._maker = maker
        self._reserved_aliases = reserved_aliases
        self.taken: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    async def make_next(self, profile: str, kid: str) -> KeyRecord:
        """Make the next key of a key, unless it has one; return the record of the next key.

        Raises the errors of `rotate`.
        """

        async def store(successor: Successor) -> KeyRecord:
            return await self._store.rotations.make_next(profile, kid, successor)

        return await self._replace(profile, KeyRef(kid=kid), store)

    async def rotate(
        self,
        profile: str,
        kid: str,
        *,
        keep_schedule: bool = False,
        if_published: int | None = None,
    ) -> KeyRecord:
        """Replace a key by its next key, or else a new one; return the record of the new one.

        The old key becomes `verify-only`. If the key has `rotate_every`, a new period begins unless
        `keep_schedule`. With `if_published`, the next key must have been published for so many
        seconds.

        Raises KeyNotFound, KeyNotUsable if the old key is not enabled, TooEarly, TooBusy,
        TooManyKeys, TooManyAliases, TooLargeRecord, and UnsupportedOperation for a public key
        alone.
        """
        return await self._rotate(
            profile, KeyRef(kid=kid), keep_schedule=keep_schedule, if_published=if_published
        )

    async def rotate_name(
        self, profile: str, name: str, check: CheckVersions | None = None
    ) -> KeyRecord:
        """Replace the key of an alias as `rotate` does, but leave the old key enabled.

        `check` is called before the change, with the old record and the versions of the alias; if
        it raises, nothing changes. Raises AliasNotFound and the errors of `rotate`.
        """
        require_own_aliases(self._reserved_aliases, name)
        return await self._rotate(profile, KeyRef(alias=name), check or no_check_of_versions)

    async def _rotate(
        self,
        profile: str,
        ref: KeyRef,
        check: CheckVersions | None = None,
        *,
        keep_schedule: bool = False,
        if_published: int | None = None,
    ) -> KeyRecord:
        async def store(successor: Successor) -> KeyRecord:
            return await self._store.rotations.rotate(
                profile,
                ref,
                successor,
                check,
                keep_schedule=keep_schedule,
                if_published=if_published,
            )

        return await self._replace(profile, ref, store)

    async def _replace(
        self, profile: str, ref: KeyRef, store: Callable[[Successor], Awaitable[KeyRecord]]
    ) -> KeyRecord:
        """Call `store` with the function that returns the successor of the key.

        `store` calls it in its transaction, if it needs one. A successor that is slow to make is
        made before the transaction. It is made again if the transaction finds a key of another kind
        to replace.
        """
        with suppress(_SlowToMake):
            return await store(self._make_successor)
        while True:
            found = await self._store.record(profile, ref)
            try:
                async with self._making_successor(profile, found) as (record, material):
                    successor = partial(_give_if_alike, (record, material), found)
                    stored = await store(successor)
                    if stored.kid != record.kid:
                        raise _NotNeeded(stored)
                    return stored
            except _NotNeeded as exc:
                return exc.stored
            except _SlowToMake:
                continue

    def _make_successor(self, old: KeyRecord) -> tuple[KeyRecord, Stored]:
        """Make the successor of a key; raises _SlowToMake if making it is slow."""
        algorithm = self._registry.of(old)
        if is_slow_to_make(algorithm, "generate"):
            raise _SlowToMake
        return maker(algorithm, _policy_of(old), algorithm.generate)()

    @asynccontextmanager
    async def _making_successor(
        self, profile: str, found: KeyRecord
    ) -> AsyncIterator[tuple[KeyRecord, Stored]]:
        """Make the successor of `found`; the block stores it.

        If the block fails, an object that was made at a provider is destroyed.
        """
        algorithm, policy = self._registry.of(found), _policy_of(found)
        if policy.provider is not None:
            async with self._maker.making_at_provider(profile, algorithm, policy) as [made]:
                yield made
            return
        make = maker(algorithm, policy, algorithm.generate)
        yield await self._maker.in_turn(profile, algorithm, "generate", make)

    async def take_steps(self, profiles: Iterable[str], sink: AuditSink | None) -> set[str]:
        """Make the next keys of these profiles that are due, rotate due keys, and retire keys.

        Return the profiles in which keys may be left. Raises StoreUnavailable; another failure is
        logged, and holds up no other key or profile.
        """
        left = set()
        for profile in profiles:
            try:
                due = await self._store.rotations.due(profile)
                for kid in due:
                    await self._take_step(profile, kid, sink)
                if due:  # there may be more
                    left.add(profile)
            except ProfileNotFound:
                continue  # removed meanwhile
            except ProfileFrozen:
                left.add(profile)
            except (KeyUnreadable, UndecryptableError, StatementTimeout):
                left.add(profile)
                LOGGER.exception("due keys of a profile are not rotated")
        return left

    async def _take_step(self, profile: str, kid: str, sink: AuditSink | None) -> None:
        """Do what is due with a key, if it still is; if that fails, postpone it."""

        async def store(successor: Successor) -> KeyRecord:
            return await self._store.rotations.take_step(profile, kid, successor)

        event = AuditEvent("rotateKey", sink, profile=profile, kid=kid)
        outer = CURRENT.set(event)
        try:
            await self._replace(profile, KeyRef(kid=kid), store)
            self.taken[event.operation] += 1
            return
        except NotDueError:
            return  # another process was first
        except (StoreUnavailable, ProfileNotFound, ProfileFrozen):
            raise
        except NotRotatableError:
            pass
        except KmsError as exc:  # such as too many versions
            self.failed[event.operation] += 1
            why = exc.detail or exc.title
            LOGGER.warning("the key %s, whose rotation is due, cannot be rotated: %s", kid, why)
        except Exception as exc:  # an algorithm's message may contain a secret
            self.failed[event.operation] += 1
            why = type(exc).__name__
            LOGGER.error("the key %s, whose rotation is due, cannot be rotated: %s", kid, why)
        finally:
            CURRENT.reset(outer)
        await self._store.rotations.postpone(profile, kid, time.time_ns() + POSTPONED)


class _NotNeeded(Exception):
    """Another key than the one that was made is now in the key's place, or its next key."""

    def __init__(self, stored: KeyRecord) -> None:
        super().__init__()
        self.stored = stored


class _SlowToMake(Exception):
    """The successor must be made before the transaction, since making it is slow."""


def _give_if_alike(
    made: tuple[KeyRecord, Stored], found: KeyRecord, old: KeyRecord
) -> tuple[KeyRecord, Stored]:
    """Return the successor `made` for `found`; raises _SlowToMake if `old` is another kind."""
    if (old.alg, _policy_of(old)) != (found.alg, _policy_of(found)):
        raise _SlowToMake
    return made


def _policy_of(record: KeyRecord) -> KeyPolicy:
    """Return the policy of a key's successor; the store copies aliases and labels."""
    return KeyPolicy(
        exportable=record.exportable,
        operations=record.operations,
        rules=record.rules,
        provider=record.provider,
    )
