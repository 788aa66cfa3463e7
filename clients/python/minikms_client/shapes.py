"""Values of an answer's JSON, with checked types.

A wrong type raises TypeError or ValueError, a time also OverflowError.
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
    """A boolean."""
    return typed(value, bool)


def number(value: object) -> int:
    """A whole number."""
    return typed(value, int)


def members(value: object) -> dict[str, Any]:
    """A JSON object."""
    return typed(value, dict)


def text(value: object) -> str:
    """A text that UTF-8 can encode."""
    found = typed(value, str)
    found.encode()  # fails for half a surrogate pair
    return found


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(map(text, typed(value, list)))


def each(form: Callable[[Any], ResultT], value: object) -> tuple[ResultT, ...]:
    """Each item of a list, as `form` reads it."""
    return tuple(map(form, typed(value, list)))


def moment(value: object) -> datetime:
    """A time of RFC 3339, in UTC."""
    time = datetime.fromisoformat(text(value))
    if time.tzinfo is None:
        raise ValueError("A time has no zone.")
    return time.astimezone(UTC)


def seconds(value: object) -> timedelta:
    """A whole number of seconds."""
    return timedelta(seconds=typed(value, int))


def optional(form: Callable[[Any], ResultT], value: object) -> ResultT | None:
    """A value as `form` reads it; None stays None."""
    return None if value is None else form(value)
