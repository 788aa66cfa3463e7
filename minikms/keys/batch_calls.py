"""Performs an operation for many items, in a pool of threads for batches."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from minikms.errors import KmsError, ProviderUnavailable
from minikms.events import set_rule
from minikms.keys.guard import Guard
from minikms.keys.operation import BatchOperation, UsableKey
from minikms.keys.operations import By, KeyOperations, name_in_event
from minikms.keys.threads import is_slow

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class BatchCalls:
    """Performs an operation with one key for many items, in a pool of threads for batches."""

    def __init__(self, keys: KeyOperations) -> None:
        self._keys = keys

    async def perform(
        self,
        profile: str,
        by: By,
        batch: BatchOperation[Any, ItemT, ResultT],
        items: Sequence[ItemT | KmsError],
        check: Callable[[], None] = lambda: None,
    ) -> list[ResultT | KmsError]:
        """Return the result or the error of each item, in order.

        Threads for batches compute them, and call `check` before each slice; it raises if the
        caller is gone. Raises TooBusy.
        """
        key = await self._keys.usable_key(profile, by, batch)
        if type(key.material) is Guard:
            await self._keys.approvals.obtain_batch(profile, key, batch, items)
        elif key.rules is not None:
            number = sum(not isinstance(item, KmsError) for item in items)
            await self._keys.rates.count(profile, key, number)
        results = await self._run_batch(profile, key, batch, items, check)
        if key.rules is not None:
            _note_rule(results)
        left = _not_final(results, batch)
        if key.alias is None or not left:
            return results
        for kid in await self._keys.versions.predecessors(profile, key.kid, key.alias):
            older = await self._keys.predecessor(profile, kid, batch)
            if older is not None:
                again = [items[place] for place in left]
                others = await self._run_batch(profile, older, batch, again, check)
                for place, other in zip(left, others, strict=True):
                    results[place] = other
                left = _not_final(results, batch)
                if not left:
                    return results
        name_in_event(key)
        return results

    def stop(self) -> None:
        """Stop every running batch with TooBusy, at the end of its current slice."""
        self._keys.threads.stop()
        for provider in self._keys.providers:
            provider.stop_batches()

    async def _run_batch(
        self,
        profile: str,
        key: UsableKey[Any],
        batch: BatchOperation[Any, ItemT, ResultT],
        items: Sequence[ItemT | KmsError],
        check: Callable[[], None],
    ) -> list[ResultT | KmsError]:
        bound, slow = batch.bind(key), is_slow(key.algorithm, key.use.operation)
        call, provider = _tried(bound), self._keys.provider_of(key)
        batches = self._keys.threads.batches if provider is None else provider.batches
        return await batches.run_all(profile, items, call, check, slow=slow)


def _not_final(
    results: Sequence[ResultT | KmsError], batch: BatchOperation[Any, ItemT, ResultT]
) -> list[int]:
    """List the positions of results that a key from before a rotation may change."""
    return [
        place
        for place, result in enumerate(results)
        if not (isinstance(result, KmsError) or batch.is_final(result))
    ]


def _note_rule(results: Sequence[object]) -> None:
    """Record in the audit event the first rule that refused an item of a batch."""
    for result in results:
        if isinstance(result, KmsError) and result.rule is not None:
            set_rule(result.rule)
            return


def _tried(
    call: Callable[[Sequence[ItemT]], list[ResultT]],
) -> Callable[[Sequence[ItemT | KmsError]], Sequence[ResultT | KmsError]]:
    """Wrap `call` to return an error as the result of its item."""

    def one(item: ItemT | KmsError) -> ResultT | KmsError:
        if isinstance(item, KmsError):
            return item
        try:
            [result] = call([item])
        except ProviderUnavailable:
            raise  # the other items would wait for the provider as well
        except KmsError as exc:
            return exc
        return result

    def tried(items: Sequence[ItemT | KmsError]) -> Sequence[ResultT | KmsError]:
        right = [item for item in items if not isinstance(item, KmsError)]
        if len(right) == len(items):
            try:
                return call(right)
            except ProviderUnavailable:
                raise
            except KmsError:
                pass  # one of the items causes it
        return [one(item) for item in items]

    return tried
