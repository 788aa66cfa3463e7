"""What a query may say beyond its schema."""

import re
from typing import Final

from aiohttp import web

from minikms.durations import nanoseconds
from minikms.errors import ValidationFailed
from minikms.web.schemas.fields import LABEL_PATTERN

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

_YEAR = nanoseconds("365d")
_LABEL = re.compile(LABEL_PATTERN)


def strict_limit(request: web.Request) -> None:
    """Raise ValidationFailed for the forms of a number that Python's int() alone would take."""
    text = request.query.get("limit", "0")
    if not (text.isascii() and text.isdigit()):
        raise ValidationFailed(errors=[("#/limit", "Must be a number of decimal digits.")])


def duration(text: str) -> int:
    """The nanoseconds that `after` asks for, such as 90s, 30m, 12h or 7d."""
    length = nanoseconds(text)
    if length > _YEAR:
        raise ValidationFailed(errors=[("#/after", "At most 365 days.")])
    return length


def label_filters(request: web.Request) -> list[tuple[str, str]]:
    """The labels that every listed key must have: `label=name:value`, any number of times.

    Read here: aiohttp-swagger3 takes a list apart at its commas, which a value may have.
    """
    found = []
    for text in request.query.getall("label", ()):
        if not _LABEL.match(text):
            raise ValidationFailed(errors=[("#/label", "Must be a label's name:value.")])
        name, _, value = text.partition(":")
        found.append((name, value))
    return found
