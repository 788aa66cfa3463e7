"""The private names of aiohttp that this package uses, each with the reason."""

from typing import Final

from aiohttp import http, http_parser, streams, web, web_protocol
from aiohttp.http_parser import RawRequestMessage

from minikms.private_names import PrivateNames

_HANDLER: Final = web_protocol.RequestHandler

# Names that the limits of connections need (http/connection.py).
CONNECTION: Final = PrivateNames(
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
    ),
    without="connections have no limits but aiohttp's, and requests do not start in batches;"
    " install a version that setup.cfg admits",
)

# Further names that batches need (http/request_batches.py).
BATCHES: Final = PrivateNames(
    "aiohttp",
    (
        (http.HttpRequestParser, "message_consumed", "counts answered requests"),
        (web.Request, "_match_info", "the result of the router"),
    ),
    without="requests do not start in batches, and take longer",
)
