"""aiohttp's parser in Python, for doors with the method LIST, which the parser in C refuses."""

import re
from typing import Any, Final

from aiohttp import http_parser, web
from aiohttp.http_exceptions import BadStatusLine

# As strict as the parser in C, except for the method (RFC 9112 section 3).
_REQUEST_LINE: Final = re.compile(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/1\.[01]")

# Limits of unread bytes of a body, and of waiting requests, as in aiohttp's other parser.
_BODY_WAITING: Final = 256 * 1024
_REQUESTS_WAITING: Final = 32

# `object` only if http/private_names.py then refuses the start.
_Base: Final[Any] = getattr(http_parser, "HttpRequestParserPy", object)


class PythonParser(_Base):  # type: ignore[misc]  # mypy cannot see the class
    """Parses the requests of a connection, whose methods may be any upper-case words."""

    def __init__(self, connection: web.RequestHandler, **kwargs: Any) -> None:
        super().__init__(
            connection,
            limit=_BODY_WAITING,
            max_line_size=connection.max_line_size,
            max_headers=connection.max_headers,
            max_field_size=connection.max_field_size,
            payload_exception=web.RequestPayloadError,
            max_msg_queue_size=_REQUESTS_WAITING,
            **kwargs,
        )

    def parse_message(self, lines: list[bytes]) -> Any:
        """Parse the lines of a head."""
        if not _REQUEST_LINE.fullmatch(lines[0]):
            raise BadStatusLine("The request line is not valid.")
        return super().parse_message(lines)
