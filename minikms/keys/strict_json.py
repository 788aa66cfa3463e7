"""Reads JSON that every parser reads in the same way (RFC 8259, RFC 7493)."""

import json
from typing import Any, Final

import orjson

# Larger numbers lose digits in parsers that read all numbers as doubles (RFC 8259 section 6).
_MAX_INTEGER: Final = 2**53 - 1

_SPACE: Final = b" \t\r\n"


def read_strictly(text: bytes) -> Any:
    """Read a text; raises ValueError for a member twice, a huge number, a depth of 255, or no JSON.

    orjson refuses numbers and depths that others may not read, and writes no member twice: so a
    text with one differs from what it writes in more than white space.
    """
    try:
        value = orjson.loads(text)
        written = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
        if written.translate(None, _SPACE) == text.translate(None, _SPACE):
            return value
        # A text with other spellings, such as escapes, is read again, ten times as slowly.
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
