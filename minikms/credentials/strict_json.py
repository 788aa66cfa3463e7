"""Reads JSON, and refuses JSON that parsers read differently (RFC 8259, RFC 7493)."""

import json
from typing import Any, Final

import orjson

# Parsers that read numbers as doubles lose digits of larger ones (RFC 8259 section 6).
_MAX_INTEGER: Final = 2**53 - 1

_SPACE: Final = b" \t\r\n"


def read_strictly(text: bytes) -> Any:
    """Read JSON; raises ValueError for a duplicate member, a huge number, or a depth of 255.

    orjson refuses numbers and depths that other parsers may not read. It writes no member twice, so
    JSON with a duplicate member differs from its output in more than white space.
    """
    try:
        value = orjson.loads(text)
        written = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
        if written.translate(None, _SPACE) == text.translate(None, _SPACE):
            return value
        # JSON with escapes, for example, also differs. It is read again, ten times as slowly.
        return _DECODER.decode(text.decode())
    except (TypeError, RecursionError):
        raise ValueError("not to be read in one way") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _MAX_INTEGER:
        raise ValueError("a huge number")
    return int(text)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members, parse_int=_integer)
