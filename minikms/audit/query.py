"""Queries for lines of an audit log, matched against lines and blocks of a file."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from minikms.events import SUCCESS

FAILED: Final = "failed"
"""In a query: every outcome but success."""

LATEST: Final = "~"  # after every time

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_OPENING: Final = "openAuditLog"

# The bytes of a member, or an expression that matches several.
Needle: TypeAlias = bytes | re.Pattern[bytes]


class OwnLines(NamedTuple):
    """The lines of one profile, without lines of earlier profiles of its name.

    Its lines have its `id`. Lines written by version 0.3.0 and earlier have no id: they match from
    the time `since` on, and never if it is None.
    """

    id: str
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A query for lines; None matches every value.

    `kids` match the key of a call, or the key that replaced it. `outcome` is an outcome, or
    `FAILED`. `profiles` are the profiles of the lines by name; for a name with None, all its lines
    match. With `admitted`, a line of a failed call matches only if its caller may use the profile.
    `until` is exclusive. Times are in nanoseconds since the epoch.
    """

    kids: Collection[str] | None = None
    who: str | None = None
    operation: str | None = None
    outcome: str | None = None
    profiles: Mapping[str, OwnLines | None] | None = None
    admitted: bool = False
    since: int | None = None
    until: int | None = None


class LineFilter:
    """Matches lines and blocks against a query."""

    def __init__(self, query: Query) -> None:
        self.since = "" if query.since is None else _text(query.since)
        self.until = LATEST if query.until is None else _text(query.until)
        self._query = query
        self._equal = {
            name: value
            for name, value in (
                ("who", query.who),
                ("operation", query.operation),
                ("outcome", None if query.outcome == FAILED else query.outcome),
            )
            if value is not None
        }
        self.needles: list[Needle] = [_member(*pair) for pair in self._equal.items()]
        if query.kids is not None:
            self.needles.append(_kid_of(query.kids))
        if query.outcome == FAILED:
            self.needles.append(re.compile(b'"outcome":"(?!%s")' % SUCCESS.encode()))
        if query.profiles is not None:
            profiles = (re.escape(orjson.dumps(name)) for name in sorted(query.profiles))
            self.needles.append(re.compile(b'"profile":(?:%s)' % b"|".join(profiles)))

    def members(self, line: bytes) -> dict[str, Any] | None:
        """Parse a line into its members; None if it does not match or is incomplete."""
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(found, dict) or found.get("operation") == _OPENING:
            return None
        written, outcome = found.get("time"), found.get("outcome")
        if not isinstance(written, str) or not self.since <= written < self.until:
            return None
        kids = self._query.kids
        if kids is not None and found.get("kid") not in kids and found.get("new_kid") not in kids:
            return None
        if any(found.get(name) != value for name, value in self._equal.items()):
            return None
        if self._query.outcome == FAILED and outcome == SUCCESS:
            return None
        if not self._is_of_profiles(found, written):
            return None
        if self._query.admitted and outcome != SUCCESS and found.get("admitted") is not True:
            return None
        return found

    def _is_of_profiles(self, found: Mapping[str, Any], written: str) -> bool:
        """Tell whether a line is from a requested profile, not an earlier one of its name."""
        wanted, name = self._query.profiles, found.get("profile")
        if wanted is None:
            return True
        if not isinstance(name, str) or name not in wanted:
            return False
        own = wanted[name]
        if own is None:
            return True
        if "profile_id" in found:
            return bool(found["profile_id"] == own.id)
        return own.since is not None and written >= _text(own.since)


def _member(name: str, value: str) -> bytes:
    """Return the bytes of a member as a line contains it."""
    return b'"%s":%s' % (name.encode(), orjson.dumps(value))


def _kid_of(kids: Collection[str]) -> Needle:
    """Match a `kid` or `new_kid` that is one of these; for one kid, plain bytes are faster."""
    values = [orjson.dumps(kid) for kid in kids]
    if len(values) == 1:
        return b'kid":%s' % values[0]
    return re.compile(b'kid":(?:%s)' % b"|".join(map(re.escape, values)))


def _text(nanoseconds: int) -> str:
    """Format a time as in lines."""
    moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
