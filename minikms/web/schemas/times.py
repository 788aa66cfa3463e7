"""Times in bodies and in parameters (RFC 3339)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from marshmallow import ValidationError

from minikms.web.schemas.fields import Converted

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A little less than the nanoseconds that a JSON number of the store can hold.
_LATEST: Final = datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)
# RFC 3339 section 5.6; Python also takes other forms of ISO 8601.
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII
)


def rfc3339(nanoseconds: int) -> str:
    """A time since the epoch, in UTC and to the millisecond (RFC 3339)."""
    moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Timestamp(Converted):
    """Nanoseconds since the epoch: taken as RFC 3339 with any offset, given in UTC."""

    fault = "Must be a time of RFC 3339 with an offset."
    write = staticmethod(rfc3339)

    def __init__(self, description: str = "", **kwargs: Any) -> None:
        super().__init__(description, metadata={"format": "date-time"}, **kwargs)

    def convert(self, text: str) -> int:
        if not _RFC3339.match(text):
            raise ValueError
        moment = datetime.fromisoformat(text.upper())
        if not _EPOCH <= moment <= _LATEST:
            raise ValidationError("Must be from 1970 to 2199.")
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
