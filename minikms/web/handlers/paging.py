"""What a query may say beyond its schema."""

import re
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from aiohttp import web

from minikms.durations import nanoseconds
from minikms.errors import ValidationFailed
from minikms.http.answers import Answer, Handler
from minikms.http.problems import pointer
from minikms.keys.jwk_set import JwkFilter
from minikms.web.schemas.fields import LABEL_PATTERN, MAX_FAULTS

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

# The form of each filter of a JWK Set, and how many there may be of one.
JWK_FILTERS: Final = {
    "kty": r"^[A-Za-z0-9_-]{1,64}\Z",
    "alg": r"^[A-Za-z0-9_+.-]{1,64}\Z",
    "use": r"^(sig|enc)\Z",
}
MAX_FILTERS: Final = 64
_EVERYTHING: Final = JwkFilter()

_YEAR = nanoseconds("365d")
_LABEL = re.compile(LABEL_PATTERN)


def strict(handler: Handler, known: Mapping[str, bool]) -> Handler:
    """The handler of calls with no other query parameters; `known` says which may be repeated.

    A misspelt one would be lost silently, and a key deleted at once, not later.
    """

    def checked(request: web.Request) -> Coroutine[Any, Any, Answer]:
        if request.query_string:
            _refuse_unknown(request, known)
        return handler(request)

    return checked


def _refuse_unknown(request: web.Request, known: Mapping[str, bool]) -> None:
    query, faults = request.query, []
    for name in dict.fromkeys(query):
        if name not in known:
            faults.append((pointer(name), "Unknown parameter."))
        elif not known[name] and len(query.getall(name)) > 1:
            faults.append((pointer(name), "Give it once."))
    if faults:
        raise ValidationFailed(errors=faults[:MAX_FAULTS])


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


def jwk_filter(request: web.Request) -> JwkFilter:
    """The members of a JWK Set that are wanted: `kty`, `alg` and `use`, each any number of times.

    A key type or an algorithm that is not known here matches nothing, so that callers can name all
    that they know.
    """
    if JWK_FILTERS.keys().isdisjoint(request.query):
        return _EVERYTHING
    wanted = {}
    for name, pattern in JWK_FILTERS.items():
        values = request.query.getall(name, ())
        if len(values) > MAX_FILTERS:
            raise ValidationFailed(errors=[(f"#/{name}", f"At most {MAX_FILTERS} of them.")])
        if not all(re.match(pattern, value) for value in values):
            raise ValidationFailed(errors=[(f"#/{name}", "Not of its form.")])
        wanted[name] = frozenset(values)
    return JwkFilter(**wanted)


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
