"""Removes profiles: marks them in the directory, revokes their tokens, erases their contents."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, Self, TypeVar

from aries_askar import AskarError, AskarErrorCode

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sequence import SEQ_TAG
from minikms.store.askar.sessions import Entry, KeyEntry, TagFilter, Transaction
from minikms.store.categories import KEY, LAST_USES, PROFILE, SEQUENCE
from minikms.store.connections.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.profiles.entries import askar_name, is_removed, marked_removed, use_tags
from minikms.store.profiles.token_entries import TOGETHER, revoke, tokens_of

ResultT = TypeVar("ResultT")

# The number of entries that one transaction erases, so that other writers do not wait long.
_PART: Final = 128

# The number of entries of the directory that are read, 20 µs each, before other calls go on.
_NAMES: Final = 100


class RemovedProfile(NamedTuple):
    """A removed profile whose contents remain: its former name, and Askar's name of it."""

    name: str
    askar_profile: str

    @property
    def entry(self) -> str:
        """The name of its entry in the directory; no name of a profile has a space."""
        return f"{self.name} {self.askar_profile}"

    @classmethod
    def of(cls, entry: str) -> Self:
        """The removed profile with an entry of this name."""
        name, _, askar_profile = entry.partition(" ")
        return cls(name, askar_profile)


class ProfileRemovals:
    """The steps of a removal.

    `mark` makes the profile gone for callers, `finish` frees its name, and `erase` ends it. Each
    step can be repeated, by any process.
    """

    def __init__(self, calls: StoreCalls) -> None:
        self._calls = calls

    async def mark(self, name: str) -> tuple[bytes, bool] | None:
        """Mark a profile as removed; return its entry, and whether this call has marked it."""
        async with self._calls.transaction() as transaction:
            entry = await transaction.fetch(PROFILE, name)
            if entry is None:
                return None
            removed = entry.value
            if is_removed(removed):
                return removed, False
            removed = marked_removed(removed)
            await transaction.replace(PROFILE, name, removed)
            return removed, True

    async def finish(self, name: str, entry: bytes) -> None:
        """Revoke the tokens of a profile that is marked as removed, and free its name."""
        while tokens := await self._calls.run(partial(self._tokens_of, name)):
            for start in range(0, len(tokens), TOGETHER):  # other writers have their turn
                some = tokens[start : start + TOGETHER]
                if not await self._calls.run(partial(self._revoke, name, entry, some), write=True):
                    return  # another process has finished the removal
        await self._calls.run(partial(self._free_name, name, entry), write=True)

    async def pending(self) -> list[RemovedProfile]:
        """Finish interrupted removals, and return the removed profiles that are not erased."""

        async def marked() -> list[tuple[str, bytes]]:
            async with self._calls.session() as session:
                entries = await session.fetch_all(PROFILE)
            found = []
            for place, entry in enumerate(entries, 1):
                value = entry.value
                if is_removed(value):
                    found.append((entry.name, value))
                if place % _NAMES == 0:
                    await asyncio.sleep(0)
            return found

        found = []
        for name, entry in await self._calls.run(marked):
            if name.endswith(f" {askar_name(entry)}"):
                found.append(RemovedProfile.of(name))
            else:
                await self.finish(name, entry)
                found.append(RemovedProfile(name, askar_name(entry)))
        return found

    async def run(
        self,
        profile: RemovedProfile,
        work: Callable[[Any], Awaitable[ResultT]],
        *,
        write: bool = False,
    ) -> ResultT:
        """The result of `work` in a session on a removed profile; with `write`, in a transaction.

        Raises KeyUnreadable, UndecryptableError, and ProfileNotFound if the profile was erased.
        """

        async def attempt() -> ResultT:
            if not write:
                async with self._calls.session(profile.askar_profile) as session:
                    return await work(session)
            async with self._calls.transaction(profile.askar_profile) as transaction:
                return await work(transaction)

        try:
            return await self._calls.run(attempt, write=write, timeout=LONG_TIMEOUT)
        except AskarError as exc:
            if exc.code is not AskarErrorCode.NOT_FOUND:
                raise
            raise ProfileNotFound() from None

    async def erase(self, profile: RemovedProfile, until: float = math.inf) -> bool:
        """Erase the contents of a removed profile; False if some are left at `until`.

        That is a time of the monotonic clock. The contents are erased in small transactions, each
        followed by a pause of its length. The last transaction erases the rest, also entries that
        do not decrypt. A later call, in any process, continues with an unfinished profile.
        """
        some = partial(self._erase_some, profile)
        began = time.monotonic()
        while await self._calls.run(some, write=True, timeout=LONG_TIMEOUT):
            now = time.monotonic()
            if now >= until:
                return False
            await asyncio.sleep(now - began)
            began = time.monotonic()
        await self._calls.run(partial(self._erase_rest, profile), write=True, timeout=LONG_TIMEOUT)
        return True

    async def _erase_some(self, profile: RemovedProfile) -> bool:
        """Erase a part of the contents of a removed profile; False if only few can be read."""
        try:
            async with self._calls.transaction(profile.askar_profile) as transaction:
                if await _remove_some(transaction) or await _remove_some_keys(transaction):
                    return True
        except KeyUnreadable:
            pass
        except AskarError as exc:
            if exc.code is not AskarErrorCode.NOT_FOUND:
                raise  # else another process has erased it
        async with self._calls.transaction() as transaction:
            return await _remove_some(transaction, LAST_USES, use_tags(profile.askar_profile))

    async def _erase_rest(self, profile: RemovedProfile) -> None:
        await self._calls.pool.store.remove_profile(profile.askar_profile)
        self._calls.sealing_keys.pop(profile.askar_profile, None)
        async with self._calls.transaction() as transaction:
            await transaction.remove_all(LAST_USES, use_tags(profile.askar_profile))
            if await transaction.fetch(PROFILE, profile.entry, for_update=True) is not None:
                await transaction.remove(PROFILE, profile.entry)

    async def _tokens_of(self, name: str) -> list[str]:
        async with self._calls.session() as session:
            return await tokens_of(session, name)

    async def _revoke(self, name: str, entry: bytes, tokens: Sequence[str]) -> bool:
        """Revoke tokens of a profile; False if its entry in the directory is another one by now."""
        async with self._calls.transaction() as transaction:
            now = await transaction.fetch(PROFILE, name)
            if now is None or now.value != entry:
                return False
            await revoke(transaction, name, tokens)
            return True

    async def _free_name(self, name: str, entry: bytes) -> None:
        """Remove the marker of a removed profile, and give its entry another name."""
        try:
            # A process that has not learned of the removal then stores nothing there.
            async with self._calls.transaction(askar_name(entry), name) as transaction:
                await transaction.remove_all(SEQUENCE)
                await transaction.remove_all(PROFILE)
        except (KeyUnreadable, UndecryptableError):
            pass  # nothing can be stored there
        except AskarError as exc:
            if exc.code is not AskarErrorCode.NOT_FOUND:
                raise  # else another process has erased it
        async with self._calls.transaction() as transaction:
            now = await transaction.fetch(PROFILE, name, for_update=True)
            if now is not None and now.value == entry:
                await transaction.remove(PROFILE, name)
                removed = RemovedProfile(name, askar_name(entry))
                await transaction.insert(PROFILE, removed.entry, entry)


async def _remove_some(
    transaction: Transaction, category: str | None = None, tag_filter: TagFilter | None = None
) -> bool:
    """Remove a part of the entries that a filter matches, unless only few can be read."""
    entries = list[Entry]()
    with suppress(UndecryptableError):
        entries = await transaction.fetch_all(category, tag_filter, _PART)
    if len(entries) < _PART:
        return False
    places = []
    for entry in entries:
        if entry.category == KEY and SEQ_TAG in entry.tags:
            places.append(entry.tags[SEQ_TAG])
        else:
            await transaction.remove(entry.category, entry.name, cached=False)
    if places:  # by one statement: most entries are records of keys
        await transaction.remove_all(KEY, {SEQ_TAG: {"$in": places}})
    return True


async def _remove_some_keys(transaction: Transaction) -> bool:
    """Remove a part of the keys that Askar holds, unless only few can be read."""
    keys = list[KeyEntry]()
    with suppress(UndecryptableError):
        keys = await transaction.all_keys(limit=_PART)
    if len(keys) < _PART:
        return False
    for key in keys:
        await transaction.remove_key(key.name)
    return True
