"""Reads values in an answer's JSON, with checked types.

A wrong type raises TypeError or ValueError; a time also OverflowError.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


def typed(value: object, kind: type[ResultT]) -> ResultT:
    """Return the value if it has this type."""
    if type(value) is not kind:
        raise TypeError(f"A member is not of the type {kind.__name__}.")
    return value


def flag(value: object) -> bool:
    """Read a boolean."""
    return typed(value, bool)


def number(value: object) -> int:
    """Read an integer."""
    return typed(value, int)


def members(value: object) -> dict[str, Any]:
    """Read a JSON object."""
    return typed(value, dict)


def text(value: object) -> str:
    """Read a string that UTF-8 can encode."""
    found = typed(value, str)
    found.encode()  # fails for a lone surrogate
    return found


def texts(value: object) -> tuple[str, ...]:
    """Read a list of strings."""
    return tuple(map(text, typed(value, list)))


def each(form: Callable[[Any], ResultT], value: object) -> tuple[ResultT, ...]:
    """Read each item of a list by `form`."""
    return tuple(map(form, typed(value, list)))


def moment(value: object) -> datetime:
    """Read an RFC 3339 time, in UTC."""
    time = datetime.fromisoformat(text(value))
    if time.tzinfo is None:
        raise ValueError("A time has no zone.")
    return time.astimezone(UTC)


def seconds(value: object) -> timedelta:
    """Read a duration in seconds."""
    return timedelta(seconds=typed(value, int))


def optional(form: Callable[[Any], ResultT], value: object) -> ResultT | None:
    """Read a value by `form`; None stays None."""
    return None if value is None else form(value)
