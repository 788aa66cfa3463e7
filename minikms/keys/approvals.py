"""Asks for approvals of uses of keys, and waits for them (docs/approvals.md).

A use is performed twice: the first time, its key is a guard that only tells what it would sign.
That is what the approvers are asked for. Nothing of it is kept: the same call, sent again, takes
the approval, and then signs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from minikms.errors import ApprovalRequired, KmsError
from minikms.keys.guard import MAX_SIGNATURES, AskedError, Guard, refuse, require_asking
from minikms.keys.key_rates import KeyRates
from minikms.keys.operation import BatchOperation, Each, Operation, UsableKey
from minikms.keys.threads import KeyThreads
from minikms.store import GuardedUse, KeyStore, UnapprovedError, Waiting

ResultT = TypeVar("ResultT")

# Seconds between two looks at an approval that a call waits for.
_PAUSE: Final = 0.25


class Approvals:
    """Asks for approvals of uses of keys, waits for them, and takes them.

    `of_store` are the approvals themselves.
    """

    def __init__(self, store: KeyStore, rates: KeyRates, threads: KeyThreads) -> None:
        self._rates = rates
        self._threads = threads
        self.of_store = store.approvals

    async def obtain(
        self, profile: str, key: UsableKey[Any], operation: Operation[Any, Any]
    ) -> None:
        """Obtain the approval of an operation with a guarded key, and open its guard for that.

        Raises ApprovalRequired, RuleViolated, OverRate, and the errors of the operation.
        """
        require_asking(operation)
        guard: Guard = key.material
        guard.meaning = operation.meaning(key)
        if operation.is_long or operation.is_slow:
            found = await self._threads.long.run(profile, partial(_asked, key, operation))
        else:
            found = _asked(key, operation)
        await self._take(profile, key, guard, [found])

    async def obtain_batch(
        self,
        profile: str,
        key: UsableKey[Any],
        batch: BatchOperation[Any, Any, Any],
        items: Sequence[Any],
    ) -> None:
        """Obtain the approval of a batch with a guarded key; raises like `obtain`."""
        guard: Guard = key.material
        if len(items) > MAX_SIGNATURES:
            refuse(f"A batch of the key has at most {MAX_SIGNATURES} items.")
        if isinstance(batch, Each):
            for item in items:
                require_asking(item)
        bound, found = batch.bind(key), []
        for item in items:
            if not isinstance(item, KmsError):
                try:
                    bound([item])
                except AskedError as asked:
                    found.append(asked)
                except KmsError:  # it is the result of this item
                    continue
        if found:
            await self._take(profile, key, guard, found)

    async def _take(
        self, profile: str, key: UsableKey[Any], guard: Guard, found: Sequence[AskedError]
    ) -> None:
        data = tuple(each for asked in found for each in asked.data)
        use = GuardedUse(key.use.operation, tuple(asked.what for asked in found), data)

        async def take() -> None:
            if not await self.of_store.is_approved(profile, key.kid, use):
                raise UnapprovedError(key.kid, use)
            await self._rates.count(profile, key, len(found))
            await self.of_store.take(profile, key.kid, use)

        await self.attempt(profile, take)
        guard.approve(use)

    async def attempt(self, profile: str, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Return the result of a call; ask for the approval that it needs, and wait for that.

        Raises ApprovalRequired.
        """
        until: float | None = None
        while True:
            try:
                return await call()
            except UnapprovedError as exc:
                waiting = await self.of_store.ask(profile, exc.kid, exc.use)
                if until is None:
                    until = time.monotonic() + waiting.rule.wait
                if not await self._is_approved(profile, waiting, until):
                    raise ApprovalRequired(waiting.document()) from None

    async def _is_approved(self, profile: str, waiting: Waiting, until: float) -> bool:
        """Wait for an approval; return false if it is not there at a time, or was withdrawn."""
        found: Waiting | None = waiting
        while found is not None:
            if found.is_approved:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(_PAUSE, left))
            found = await self.of_store.find(profile, waiting.approval.id)
        return False


def _asked(key: UsableKey[Any], operation: Operation[Any, Any]) -> AskedError:
    """Perform an operation until it asks for a signature; return what it asked for."""
    try:
        operation.compute(key)
    except AskedError as asked:
        return asked
    return refuse("The operation signs nothing that approvers can be asked for.")
