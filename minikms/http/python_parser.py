"""The parser of doors that take LIST: aiohttp's in Python. The one in C refuses the method."""

import re
from typing import Any, Final

from aiohttp import http_parser, web
from aiohttp.http_exceptions import BadStatusLine

# As strict as the parser in C, but for the method (RFC 9112 section 3).
_REQUEST_LINE: Final = re.compile(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/1\.[01]")

# Bytes of a body that wait to be read, and parsed requests that wait: as in aiohttp's own parser.
_BODY_WAITING: Final = 256 * 1024
_REQUESTS_WAITING: Final = 32

# Another class only if http/private_names.py reports it as missing.
_Base: Final[Any] = getattr(http_parser, "HttpRequestParserPy", object)


class PythonParser(_Base):  # type: ignore[misc]  # mypy cannot see the class
    """Parses the requests of a connection, with any method in upper case."""

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
        """Parse a head by its lines."""
        if not _REQUEST_LINE.fullmatch(lines[0]):
            raise BadStatusLine("The request line is not valid.")
        return super().parse_message(lines)
