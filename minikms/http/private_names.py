"""The private names of aiohttp that this package uses, each with the reason."""

from importlib.metadata import version
from typing import Final

from aiohttp import http, http_parser, streams, web, web_protocol
from aiohttp.http_parser import RawRequestMessage

from minikms.basics.private_names import PrivateNames
from minikms.startup_errors import LibraryError

_HANDLER: Final = web_protocol.RequestHandler

# The versions that are tested, as in setup.cfg.
ADMITTED: Final = ">=3.14.1,<3.15"
_SERIES: Final = "3.14."

# Every connection needs these names (bounded.py, connection.py and request_batches.py beside it).
NAMES: Final = PrivateNames(
    "aiohttp",
    (
        (
            web_protocol,
            "_ErrInfo",
            "a request that did not parse, in the queue",
        ),
        (_HANDLER, "_messages", "the queue of requests that were received and not started"),
        (_HANDLER, "_waiter", "the future that the connection's task awaits while idle"),
        (_HANDLER, "_force_close", "accepts the body of the last request during a shutdown"),
        (_HANDLER, "_message_tail", "the bytes after a request to upgrade"),
        (_HANDLER, "_parser", "is replaced by the parser in Python at doors with LIST"),
        (http_parser, "HttpRequestParserPy", "accepts LIST, which the parser in C refuses"),
        (RawRequestMessage, "raw_headers", "the size of a head"),
        (RawRequestMessage, "upgrade", "the parser loses the bytes after such a request"),
        (streams.StreamReader, "total_bytes", "the bytes received of a body"),
        (http.HttpRequestParser, "message_consumed", "counts answered requests"),
        (web.Request, "_match_info", "the result of the router"),
    ),
    without="the service does not start",
)


def check() -> None:
    """Refuse a version of aiohttp that the connections do not support; raises LibraryError."""
    why = NAMES.missing()
    installed = version("aiohttp")
    if not why and not installed.startswith(_SERIES):
        why = f"aiohttp {installed} is not supported"
    if why:
        raise LibraryError(f"{why}: {NAMES.without}; install aiohttp{ADMITTED}.")
