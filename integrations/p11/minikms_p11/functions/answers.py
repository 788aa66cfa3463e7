"""The form of a function, and answers into a caller's buffer.

A function takes the program and the values of the request; it returns, at once or as a coroutine,
the values of the answer, or raises Refusal.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from minikms_p11.constants import CKR_FUNCTION_NOT_SUPPORTED
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Size

Function: TypeAlias = Callable[..., Any]


def fits(length: int, room: int | None) -> bool:
    """Whether an answer of `length` bytes fits; if `room` is None, only the length is requested."""
    return room is not None and length <= room


def into(value: bytes, room: int | None) -> bytes | Size:
    """The answer, or its length if only that is requested or the answer does not fit."""
    return value if fits(len(value), room) else Size(len(value))


def numbers_into(values: list[int], room: int | None) -> list[int] | Size:
    return values if fits(len(values), room) else Size(len(values))


def unsupported(*_: Any) -> Any:
    raise Refusal(CKR_FUNCTION_NOT_SUPPORTED)
