"""The private names of aiohttp that are used here, and why."""

from typing import Final

from aiohttp import http, http_parser, streams, web, web_protocol
from aiohttp.http_parser import RawRequestMessage

from minikms.private_names import PrivateNames

_HANDLER: Final = web_protocol.RequestHandler

# Names that limits of connections need (http/connection.py).
CONNECTION: Final = PrivateNames(
    "aiohttp",
    (
        (
            web_protocol,
            "_ErrInfo",
            "a fault of a request, in its place in the queue",
        ),
        (_HANDLER, "_messages", "the queue: requests that were read and not begun"),
        (_HANDLER, "_waiter", "the future that the connection's task awaits at rest"),
        (_HANDLER, "_force_close", "lets the body of a last request in"),
        (_HANDLER, "_message_tail", "the bytes behind a request to upgrade"),
        (_HANDLER, "_parser", "is replaced by one in Python at doors that take LIST"),
        (http_parser, "HttpRequestParserPy", "takes LIST, which the parser in C refuses"),
        (RawRequestMessage, "raw_headers", "the size of a head"),
        (RawRequestMessage, "upgrade", "the parser loses the bytes behind such a request"),
        (streams.StreamReader, "total_bytes", "the bytes received of a body"),
    ),
    without="connections have no limits but aiohttp's, and requests do not start in batches;"
    " install a version that setup.cfg admits",
)

# Names that batches need besides (http/request_batches.py).
BATCHES: Final = PrivateNames(
    "aiohttp",
    (
        (http.HttpRequestParser, "message_consumed", "counts a request that is answered"),
        (web.Request, "_match_info", "the result of the router"),
    ),
    without="requests do not start in batches, and take longer",
)
