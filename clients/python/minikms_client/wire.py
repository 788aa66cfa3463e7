"""The wire format: bytes as base64url, times as RFC 3339, names percent-encoded."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

from minikms_client.errors import InvalidSetting

Json: TypeAlias = dict[str, Any]
Jwk: TypeAlias = Mapping[str, Any]
"""A JSON Web Key (RFC 7517)."""


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "UNSET"


UNSET: Final = Unset.UNSET
"""The default of a field that a change keeps; None would remove the field."""
UnsetType: TypeAlias = Literal[Unset.UNSET]


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `query` may contain a parameter repeatedly, `body` is a JSON object.

    If it `is_repeatable`, sending it twice has the same effect as once.
    """

    method: str
    path: str
    body: Json | None = None
    query: Sequence[tuple[str, str]] = ()
    is_repeatable: bool = True


def encode(data: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Decode base64url, with or without padding; raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def encode_optional(data: bytes | None) -> str | None:
    """Encode like `encode`; None stays None."""
    return None if data is None else encode(data)


def one_or_several(names: str | Iterable[str] | None) -> str | list[str] | None:
    """Return a name as it is, and several names as a list; None stays None."""
    return names if names is None or isinstance(names, str) else list(names)


def encode_time(time: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC; raises ValueError for a time without a zone."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError("Give a time with its zone, such as datetime.now(UTC).")
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(after: timedelta) -> str:
    """Format a duration in whole seconds, as the service reads it."""
    return f"{round(after.total_seconds())}s"


def whole_seconds(period: timedelta | None) -> int | None:
    """Convert a period to whole seconds for a body."""
    return None if period is None else round(period.total_seconds())


def segment(text: str) -> str:
    """Encode text as one segment of a path; raises InvalidSetting for a dot segment."""
    if text in ("", ".", ".."):
        raise InvalidSetting(f"{text!r} is not a name: it would change the path of the call.")
    return quote(text, safe="")


def present(**fields: object) -> Json:
    """Return the fields that are neither None nor UNSET.

    The trailing underscore of a name such as `from_`, which avoids a Python keyword, is removed.
    """
    return {
        name.rstrip("_"): value
        for name, value in fields.items()
        if value is not None and value is not UNSET
    }


def named(kid: str | None, alias: str | None, jwk: Jwk | None = None) -> Json:
    """Return the one field that names a key or holds a public JWK; raises TypeError otherwise."""
    names = present(kid=kid, alias=alias, jwk=jwk)
    if len(names) != 1:
        raise TypeError(
            "Name the key in one way: by kid, by alias, or if the call allows it by jwk."
        )
    return names


def next_page(link: str | None) -> str | None:
    """Return the start of the next page from a `Link` header with `rel="next"` (RFC 8288)."""
    if link is None:
        return None
    target = link.partition("<")[2].partition(">")[0]
    return parse_qs(urlsplit(target).query)["after"][0]
