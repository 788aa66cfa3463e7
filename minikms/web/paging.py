"""The cursor of a listing, which callers pass back as it came."""

import re

from aiohttp import web

from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import ValidationFailed

_SEQ = re.compile(rb"[0-9]{20}[0-9a-f]{8}")


def cursor(seq: str) -> str:
    """The cursor of the record at `seq`."""
    return jose_b64url(seq.encode("ascii"))


def position(after: str | None) -> str:
    """The `seq` behind a cursor, "" for none; raises ValidationFailed."""
    if after is None:
        return ""
    try:
        seq = b64url_decode(after)
    except ValueError:
        seq = b""
    if not _SEQ.fullmatch(seq):
        raise ValidationFailed(errors=[("#/after", "Not a cursor that a listing gave.")])
    return seq.decode("ascii")


def strict_limit(request: web.Request) -> None:
    """Raise ValidationFailed for the forms of a number that Python's int() alone would take."""
    text = request.query.get("limit", "0")
    if not (text.isascii() and text.isdigit()):
        raise ValidationFailed(errors=[("#/limit", "Must be a number of decimal digits.")])
