"""Removes profiles: marks them in the directory, revokes their tokens, erases their contents."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

from aries_askar import AskarError, AskarErrorCode

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.store.askar.errors import UndecryptableError
from minikms.store.categories import LAST_USES, PROFILE, SEQUENCE
from minikms.store.connections.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.profiles.entries import askar_name, is_removed, marked_removed, use_tags
from minikms.store.profiles.token_entries import TOGETHER, revoke, tokens_of

ResultT = TypeVar("ResultT")


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
            return [(each.name, each.value) for each in entries if is_removed(each.value)]

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

    async def erase(self, profile: RemovedProfile) -> None:
        """Erase the contents of a removed profile."""

        async def work() -> None:
            await self._calls.pool.store.remove_profile(profile.askar_profile)
            self._calls.sealing_keys.pop(profile.askar_profile, None)
            async with self._calls.transaction() as transaction:
                await transaction.remove_all(LAST_USES, use_tags(profile.askar_profile))
                if await transaction.fetch(PROFILE, profile.entry, for_update=True) is not None:
                    await transaction.remove(PROFILE, profile.entry)

        await self._calls.run(work, write=True, timeout=LONG_TIMEOUT)

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
