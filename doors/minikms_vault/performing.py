"""Operations with the key of a name and a version: one, or a batch."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from minikms.doors import KeyRef, KmsError, errors, keep_key, set_batch
from minikms.doors.operations import Each, Operation
from minikms_vault.body import Body
from minikms_vault.errors import as_vault, invalid
from minikms_vault.names import NamedKey
from minikms_vault.operation import VaultCall
from minikms_vault.types import key_types

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

MAX_ITEMS: Final = 1000
"""The largest number of items in a batch."""


class Use(NamedTuple, Generic[ResultT]):
    """An operation with a key."""

    key: NamedKey
    operation: Operation[Any, ResultT]


async def perform(call: VaultCall, use: Use[ResultT], cannot: str) -> ResultT:
    """Perform an operation with a key; `cannot` is Vault's message for a type that lacks it."""
    try:
        return await call.service.perform(call.profile, use.key.ref, use.operation)
    except errors.UnsupportedOperation as exc:
        raise await _unsupported(call, use.key.ref, use.operation, exc, cannot) from None


async def perform_each(
    call: VaultCall, uses: Sequence[Use[ResultT] | KmsError], cannot: str
) -> list[ResultT | KmsError]:
    """Perform many operations of one kind; return a result or an error for each.

    Each key is looked up once. An error in `uses` is returned as the result of its item. If the
    type of the key lacks the operation, each item has an error with the message `cannot`.
    """
    results: list[Any] = list(uses)
    places: dict[KeyRef, list[int]] = {}
    for place, use in enumerate(uses):
        if isinstance(use, Use):
            places.setdefault(use.key.ref, []).append(place)
    for ref, some in places.items():
        keep_key()
        operations = [results[place].operation for place in some]
        for place, result in zip(some, await _batch(call, ref, operations, cannot), strict=True):
            results[place] = result
    set_batch(results)
    return results


async def _batch(
    call: VaultCall, ref: KeyRef, operations: list[Operation[Any, Any]], cannot: str
) -> Sequence[Any]:
    # A handler makes one kind of operation for all items, so the uses of the first hold for all.
    batch = Each[Any, Any](operations[0].uses)
    try:
        return await call.service.perform_batch(
            call.profile, ref, batch, operations, call.door.presence()
        )
    except errors.UnsupportedOperation as exc:
        return [await _unsupported(call, ref, operations[0], exc, cannot)] * len(operations)
    except errors.KeyNotFound:
        return [invalid("no such key version")] * len(operations)
    except errors.KeyNotUsable as exc:
        return [exc] * len(operations)


async def _unsupported(
    call: VaultCall, ref: KeyRef, operation: Operation[Any, Any], error: KmsError, cannot: str
) -> KmsError:
    """Return Vault's error if the type of a key lacks an operation, else `error`."""
    record = await call.service.get(call.profile, ref)
    found = key_types(call.registry).of(record)
    can = call.registry.of(record).operations
    if found is None or any(use.operation in can for use in operation.uses):
        return error
    return invalid(cannot.format(found.name))


async def answered(
    call: VaultCall,
    body: Body,
    use: Callable[[Body], Use[ResultT]],
    shown: Callable[[Use[ResultT], ResultT], dict[str, Any]],
    *,
    cannot: str,
    failed: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Perform the operation of a body, or of each item of its `batch_input`; returns `data`.

    `use` reads a body or an item, and `shown` writes a result. The result of a failed item has the
    members of `failed`.
    """
    items = items_of(body)
    if items is None:
        one = use(body)
        return shown(one, await perform(call, one, cannot))
    uses = [tried(use, item) for item in items]
    results = await perform_each(call, uses, cannot)
    return {"batch_results": results_of(items, uses, results, shown, failed)}


def results_of(
    items: Sequence[Body],
    uses: Sequence[Use[ResultT] | KmsError],
    results: Sequence[ResultT | KmsError],
    shown: Callable[[Use[ResultT], ResultT], dict[str, Any]],
    failed: Mapping[str, Any] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Write the results of a batch, each with its item's `reference`."""
    answers = []
    for item, use, result in zip(items, uses, results, strict=True):
        answer = (
            shown(use, result)
            if not isinstance(use, KmsError) and not isinstance(result, KmsError)
            else {**failed, "error": _sentence(result)}
        )
        answers.append({**answer, "reference": item.text("reference")})
    return answers


def items_of(body: Body) -> list[Body] | None:
    """Read `batch_input`; None if there is none. Raises VaultError if it is empty or too long."""
    items = body.items("batch_input")
    if items is None:
        return None
    if not items:
        raise invalid("missing batch input to process")
    if len(items) > MAX_ITEMS:
        raise invalid(f"batch_input has at most {MAX_ITEMS:,} items")
    return items


def tried(make: Callable[[ItemT], ResultT], item: ItemT) -> ResultT | KmsError:
    """Return the result of `make(item)`, or the KmsError that `make` raises."""
    try:
        return make(item)
    except KmsError as exc:
        return exc


def _sentence(error: Any) -> str:
    """Write the error of an item."""
    return "; ".join(as_vault(error)[1])
