"""What goes over the wire: bytes as base64url, times as RFC 3339, names as percent-encoded text."""

import base64
from collections.abc import Mapping, Sequence
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
"""A field that a change leaves as it is, where None takes it away."""
UnsetType: TypeAlias = Literal[Unset.UNSET]


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `query` may have a parameter more than once, `body` is a JSON object.

    `is_repeatable` says that sending it twice does no more than sending it once.
    """

    method: str
    path: str
    body: Json | None = None
    query: Sequence[tuple[str, str]] = ()
    is_repeatable: bool = True


def encode(data: bytes) -> str:
    """Bytes as base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of base64url, with padding or without; raises ValueError where it is not that."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def encode_optional(data: bytes | None) -> str | None:
    """As `encode`; None stays None."""
    return None if data is None else encode(data)


def encode_time(time: datetime | None) -> str | None:
    """A time that knows its zone, as RFC 3339 in UTC; raises ValueError for one that does not."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError("Give a time with its zone, such as datetime.now(UTC).")
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(after: timedelta) -> str:
    """A duration in whole seconds, as the service reads it."""
    return f"{round(after.total_seconds())}s"


def segment(text: str) -> str:
    """Text as one segment of a path; raises InvalidSetting if it would be another path."""
    if text in ("", ".", ".."):
        raise InvalidSetting(f"{text!r} is no name: it would change the path of the call.")
    return quote(text, safe="")


def present(**fields: object) -> Json:
    """The fields that are given: those that are neither None nor UNSET.

    A name that is a keyword of Python has an underscore behind it, which is taken off.
    """
    return {
        name.rstrip("_"): value
        for name, value in fields.items()
        if value is not None and value is not UNSET
    }


def named(kid: str | None, alias: str | None, jwk: Jwk | None = None) -> Json:
    """The name of a key, or a public JWK in its place; raises TypeError for none, or several."""
    names = present(kid=kid, alias=alias, jwk=jwk)
    if len(names) != 1:
        raise TypeError("Name the key in one way: by kid, by alias, or where it may be by jwk.")
    return names


def next_page(link: str | None) -> str | None:
    """Where the next page begins, out of a `Link` header with `rel="next"` (RFC 8288)."""
    if link is None:
        return None
    target = link.partition("<")[2].partition(">")[0]
    return parse_qs(urlsplit(target).query)["after"][0]
