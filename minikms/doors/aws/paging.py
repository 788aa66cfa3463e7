"""Listings in pages: limits, and the markers by which a listing goes on."""

import re
from typing import Any, Final, NamedTuple

from minikms.doors.aws.body import Body, Shape, integer, text
from minikms.doors.aws.errors import InvalidMarkerException
from minikms.encodings import b64url, b64url_decode

# The `seq` of a key, and a name that it has.
_MARKER: Final = re.compile(r"([0-9]{20}):(.*)", re.DOTALL)


class Page(Shape):
    """What every listing takes."""

    Limit = integer(1, 1000)
    Marker = text(1, 1024, "[\u0020-\u00ff]*")


class Position(NamedTuple):
    """Where a listing goes on: at the key with this `seq` or behind it, in that behind `name`."""

    seq: str = "0" * 20
    name: str = ""

    @property
    def after(self) -> str:
        """The `seq` behind which the keys of the page are."""
        return f"{max(int(self.seq) - 1, 0):020d}"

    @property
    def marker(self) -> str:
        """What the caller gives back, in the characters that AWS allows there."""
        return b64url(f"{self.seq}:{self.name}".encode())


def position(body: Body) -> Position:
    """Where the page of a request begins; raises InvalidMarkerException."""
    if "Marker" not in body:
        return Position()
    try:
        found = _MARKER.fullmatch(b64url_decode(body["Marker"]).decode())
    except ValueError:
        found = None
    if found is None:
        raise InvalidMarkerException("Could not deserialize marker.")
    return Position(*found.groups())


def behind(seq: str) -> Position:
    """The position behind a key and all that it has."""
    return Position(f"{int(seq) + 1:020d}")


def listed(member: str, items: list[Any], goes_on: Position | None) -> dict[str, Any]:
    """The answer of a listing, which `goes_on` somewhere unless that is None."""
    answer: dict[str, Any] = {member: items, "Truncated": goes_on is not None}
    if goes_on is not None:
        answer["NextMarker"] = goes_on.marker
    return answer
