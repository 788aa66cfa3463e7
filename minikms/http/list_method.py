"""Lets aiohttp's parser pass the method LIST, which it refuses.

LIST is hidden as LINK, which the parser knows. Both are as long and have the same first letters, so
that a method that comes in pieces is hidden as well.
"""

from collections.abc import Sequence
from typing import Any, Final

from aiohttp.streams import EMPTY_PAYLOAD

_LIST: Final = b"LIST"
_HIDDEN: Final = "LINK"
# Begins the methods that are changed. `LISK` becomes `LINT`, so that nothing but LIST becomes LINK.
_CHANGED: Final = b"LIS"
_TORN: Final = (b"L", b"LI")
_TO_HIDDEN: Final = bytes.maketrans(b"STK", b"NKT")

_EMPTY_LINES: Final = b"\r\n"
# Other bytes begin a request that is not changed.
_FIRST: Final = b"L\r\n"
_END: Final = b"\r\n\r\n"
# In how many parts to parse bytes at most: a head and a body for each request that may wait.
_PARTS: Final = 64
# While fewer requests wait, the parser has kept none back since an earlier call: it keeps requests
# behind 32, until 16 are left.
_FEW: Final = 8
# More than any body has.
_UNKNOWN: Final = 2**62


class ListParser:
    """A parser of aiohttp for one connection, whose queue of messages is `waiting`.

    It hides LIST only where a request begins for certain: bytes that may have one are parsed in
    parts that end with a head or a body. A LIST behind more requests than may wait is refused.
    """

    __slots__ = (
        "_begun",
        "_end",
        "_feed",
        "_head",
        "_is_list",
        "_payload",
        "_rest",
        "_waiting",
        "feed_eof",
        "message_consumed",
        "pause_reading",
        "set_upgraded",
    )

    def __init__(self, parser: Any, waiting: Sequence[Any]) -> None:
        self._feed = parser.feed_data
        self.feed_eof = parser.feed_eof
        self.message_consumed = parser.message_consumed
        self.pause_reading = parser.pause_reading
        self.set_upgraded = parser.set_upgraded
        self._waiting = waiting
        # The first bytes of a request, of its method; None once the method has ended.
        self._begun: bytes | None = None
        self._is_list = False
        # The head of the last request, and its body until it has come; None within the next head.
        self._head: Any = None
        self._payload: Any = EMPTY_PAYLOAD
        # How many bytes came behind the head of the last request, and once its body has come,
        # behind that.
        self._rest = 0
        # The last bytes that came.
        self._end = b""

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """Parse bytes as aiohttp's parser does."""
        if _CHANGED not in data and not data.endswith(_TORN):
            return self._parse(data)
        messages: list[Any] = []
        for _ in range(_PARTS):
            size = self._part(data)
            found, upgraded, tail = self._parse(data[:size])
            messages += found
            data = data[size:]
            if upgraded:
                return messages, True, tail + data
            if not data:
                return messages, False, b""
        found, upgraded, tail = self._parse(data)
        return [*messages, *found], upgraded, tail

    def _part(self, data: bytes) -> int:
        """Return how many bytes to parse next: to the end of a head, or of a body."""
        if self._payload not in (None, EMPTY_PAYLOAD) and not self._head.chunked:
            length = self._head.headers.get("Content-Length")
            return len(data) if length is None else max(int(length) - self._rest, 1)
        came = self._end[-3:] + data
        place = came.find(_END)
        return len(data) if place < 0 else len(data) - len(came) + place + len(_END)

    def _parse(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        if data:
            if self._begun is None and self._payload is EMPTY_PAYLOAD and self._is_between():
                if data[0] in _FIRST:
                    self._begun = b""
                else:
                    self._payload = None
            if self._begun is not None:
                data = self._hide(data, self._begun)
        messages, upgraded, tail = self._feed(data)
        if messages:
            if self._is_list:
                self._is_list = False
                message, payload = messages[0]
                messages[0] = message._replace(method="LIST"), payload
            self._head, self._payload = messages[-1]
            # Behind several heads, there are more bytes than the last body has.
            came = self._end[-3:] + data
            place = came.find(_END)
            self._rest = len(came) - place - len(_END)
            if place < 0 or len(self._waiting) >= _FEW:
                self._rest = _UNKNOWN
        else:
            self._rest += len(data)
        if (body := self._payload) is not None and body is not EMPTY_PAYLOAD and body.is_eof():
            self._rest -= body.total_bytes
            self._payload = EMPTY_PAYLOAD
        if self._payload is EMPTY_PAYLOAD:
            self._head = None  # a connection at rest keeps no token
        self._end = data[-4:] if len(data) > 3 else (self._end + data)[-4:]
        return messages, upgraded, tail

    def _is_between(self) -> bool:
        """Return true if the next byte begins a request for certain, or an empty line before it.

        The body has come, and nothing behind it. A body in chunks takes more bytes than its length.
        It ends like a head; if another head had begun behind it, the bytes would not end so.
        """
        return not self._rest or (self._end == _END and len(self._waiting) < _FEW)

    def _hide(self, data: bytes, begun: bytes) -> bytes:
        """Hide a method at the beginning of `data`, of which `begun` came before."""
        start = 0
        if not begun:
            start = len(data) - len(data.lstrip(_EMPTY_LINES))
            if start == len(data):
                return data
        end = start + len(_LIST) - len(begun)
        method = begun + data[start:end]
        if len(method) == len(_LIST) or not _LIST.startswith(method):
            self._begun = self._payload = None
            self._is_list = method == _LIST
        else:
            self._begun = method
        if not method.startswith(_CHANGED):
            return data
        return data[:start] + method.translate(_TO_HIDDEN)[len(begun) :] + data[end:]
