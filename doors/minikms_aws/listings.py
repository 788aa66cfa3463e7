"""Paged listings: AWS's markers, and the members of requests and answers that page."""

import binascii
import re
from typing import Any, Final, NamedTuple

from minikms_aws.body import Body, Integer, Shape, Text, base64
from minikms_aws.errors import AwsError

# A marker: the `seq` of a key, and one of its names.
_MARKER: Final = re.compile(r"([0-9]{20}):(.*)", re.DOTALL)

PAGE: Final[Shape] = {"Limit": Integer(1, 1000), "Marker": Text(1, 1024, "[\u0020-\u00ff]*")}
"""The members that the request of every listing has."""


class Position(NamedTuple):
    """The position at which a listing continues: after `name` of the key with this `seq`."""

    seq: str = "0" * 20
    name: str = ""

    @property
    def after(self) -> str:
        """Return the `seq` after which the page begins."""
        return f"{max(int(self.seq) - 1, 0):020d}"

    @property
    def marker(self) -> str:
        """Return the marker that the caller sends for the next page."""
        return base64(f"{self.seq}:{self.name}".encode())


def position(body: Body) -> Position:
    """Read the marker of a request; raises AwsError with InvalidMarkerException."""
    if "Marker" not in body:
        return Position()
    try:
        found = _MARKER.fullmatch(binascii.a2b_base64(body["Marker"], strict_mode=True).decode())
    except ValueError:
        found = None
    if found is None:
        raise AwsError("InvalidMarkerException", "Could not deserialize marker.")
    return Position(*found.groups())


def behind(seq: str) -> Position:
    """Return the position after a key and all its names."""
    return Position(f"{int(seq) + 1:020d}")


def listed(member: str, items: list[Any], goes_on: Position | None) -> dict[str, Any]:
    """Write the answer of a listing; `goes_on` is the position of the next page or None."""
    answer: dict[str, Any] = {member: items, "Truncated": goes_on is not None}
    if goes_on is not None:
        answer["NextMarker"] = goes_on.marker
    return answer
