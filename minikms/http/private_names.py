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
        (_HANDLER, "_current_request", "the request that is being answered"),
        (_HANDLER, "_close", "the connection ends after the request that is being answered"),
        (_HANDLER, "_force_close", "the connection ends now"),
        (_HANDLER, "_message_tail", "the bytes behind a request to upgrade"),
        (_HANDLER, "_loop", "times a head"),
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
        (_HANDLER, "_task_handler", "an argument of each request"),
        (_HANDLER, "_manager", "counts requests"),
        (http.HttpRequestParser, "message_consumed", "counts such a request"),
        (_HANDLER, "_paused", "the caller does not read its answers"),
        (_HANDLER, "_reading_paused", "the caller sends more than is read"),
        (_HANDLER, "_keepalive", "the connection stays open"),
        (_HANDLER, "_keepalive_handle", "the timer of a connection at rest"),
        (_HANDLER, "_keepalive_timeout", "how long it may rest"),
        (_HANDLER, "_next_keepalive_close_time", "when the timer is due"),
        (_HANDLER, "_process_keepalive", "the callback of the timer"),
        (_HANDLER, "_logging_enabled", "whether there is an access log"),
        (web.Request, "_match_info", "the result of the router"),
        (web.Application, "_handle", "lets the router find the handler of a request"),
        # `StreamWriter._headers_buf` is in no class: http/trial.py finds out.
        (
            web.Response,
            "_req",
            "the request of a head that is written as a whole (http/answers.py)",
        ),
        (web.Response, "_keep_alive", "the connection stays open after such a head"),
        (web.Response, "_payload_writer", "writes the body behind it"),
        (web.Response, "_body", "the length in it"),
    ),
    without="requests do not start in batches, and take longer",
)
