"""Bounds the bytes and the time of heads and bodies, and refuses the rest, as aiohttp does not."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web, web_protocol
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from minikms.config import Config
from minikms.errors import BadRequest, BodyTooLarge, HeadersTooLarge, KmsError, RequestTimeout

# None only if http/private_names.py then refuses the start.
ErrInfo: Final[Any] = getattr(web_protocol, "_ErrInfo", None)
"""A request that did not parse, in the queue."""

# Limit of the heads of all waiting requests together, in sizes of the largest head. Callers who
# send many requests at once rarely send large heads.
_HEADS_WAITING: Final = 4


class BoundedConnection(web.RequestHandler):
    """A connection that bounds the bytes it receives, and the time that a head takes.

    aiohttp alone would wait for the rest of a head as long as for the next request. The bytes of a
    head are counted as they arrive; so are chunk extensions and trailers of a body. All limits
    share one count of the received bytes. A client that half-closes the connection after a request
    still gets the answer.
    """

    __slots__ = (
        "_begun",
        "_config",
        "_head_size",
        "_head_slack",
        "_head_timer",
        "_incoming",
        "_last",
        "_lingering",
        "_waiting_size",
        "answering",
        "half_closed",
        "loop",
    )

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self.loop: asyncio.AbstractEventLoop = loop
        self._config = config
        # True while the server answers a request outside a batch.
        self.answering = False
        self.half_closed = False
        self._head_timer: asyncio.TimerHandle | None = None
        # Bytes received of an incomplete head, or of a body since its last content. The number is
        # between `_head_size` and `_head_size + _head_slack`, since a head may begin within data.
        self._head_size = self._head_slack = 0
        # Bytes received while requests waited, after their heads were last measured.
        self._waiting_size = 0
        # The body of the request that was received last. If `_last` is set, data after this body is
        # dropped.
        self._incoming: StreamReader = EMPTY_PAYLOAD
        self._last = False
        # The body of the request whose answer was begun last.
        self._begun: StreamReader = EMPTY_PAYLOAD
        # The rest of a refused request, received and dropped for a while, so that the client can
        # read its answer.
        self._lingering: StreamReader | None = None

    def close(self) -> None:
        """End the connection, after the current answer if there is one."""
        self._last = True
        if not self.answering:
            super().close()

    def _take_body(self, data: bytes) -> None:
        """Receive the rest of a body for its reader, which also gets any failure.

        Once the service shuts down, aiohttp drops the rest. It also queues a malformed chunk as a
        message after the request with this body. In both cases the reader would wait forever.
        """
        payload = self._incoming
        messages: Any = self._messages
        had, before = payload.total_bytes, len(messages)
        closing = self._force_close
        if self.answering and payload is self._begun:
            self._force_close = False
        try:
            super().data_received(data)
        except ValueError:  # for a bad URL after the body, as in `data_received`
            self._refuse(BadRequest("The request is not valid HTTP."))
            return
        finally:
            self._force_close = self._force_close or closing
        size = self._head_size + len(data)
        if len(messages) > before:
            self._head_size, self._head_slack = 0, len(data)
            message, incoming = messages[-1]
            if type(message) is not ErrInfo:
                self._incoming = incoming
                if message.upgrade:
                    self._decline_upgrade()
            elif not payload.is_eof():
                messages.pop()
                self._fail(payload, web.RequestPayloadError())
        elif payload.total_bytes > had or payload.is_eof():
            self._head_size, self._head_slack = 0, len(data)
        elif size > self._config.max_head:
            self._fail(payload, HeadersTooLarge())
        else:
            self._head_size = size
        if len(messages) > 1:
            self._bound_waiting(len(data))

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's is untyped
        """Return true to keep the connection of a half-closed client for its answers.

        A vanished client looks the same. TLS cannot be half-closed.
        """
        waiter = self._waiter
        rests = (waiter is not None and not waiter.done()) or self._head_timer is not None
        if rests or self.transport is None or self.transport.get_extra_info("sslcontext"):
            return False
        self.half_closed = True
        if not self._incoming.is_eof():
            self._fail(self._incoming, web.RequestPayloadError())
        elif self._messages:
            self._last = True
        else:
            self.close()  # after the answer in progress
        return True

    @property
    def ends(self) -> bool:
        """Tell whether the connection ends after the current answer."""
        return self._last and not self._messages

    def _decline_upgrade(self) -> None:
        """End the connection after a request to upgrade: aiohttp's parser loses the next request.

        The caller would take the answer to a later request for the answer to the lost one.
        """
        self._message_tail = b""
        self._last = True

    def _refuse(self, error: KmsError) -> None:
        """Answer this message with a problem, after the waiting requests, and read no more."""
        self._last = True
        self._head_size = 0
        self._incoming = EMPTY_PAYLOAD
        rest = EMPTY_PAYLOAD
        if isinstance(error, HeadersTooLarge | BodyTooLarge):
            rest = self._lingering = StreamReader(self, self._config.max_head, loop=self.loop)
        refused = ErrInfo(status=error.status, exc=error, message="")
        self._messages.append((refused, rest))

    def _fail(self, payload: StreamReader, exc: Exception) -> None:
        """Raise `exc` for the reader of a body, now or later; the connection then ends."""
        self._last = True
        self._head_size = 0
        if payload is self._begun and not self.answering:
            self.force_close()  # it was answered without its body
            return
        payload.set_exception(exc)
        payload.feed_eof()
        if not self._messages:
            self.close()

    def _refuse_large_heads(self, first: int) -> bool:
        """Refuse the first head from `first` on that is too large, and drop all after it."""
        messages = self._messages
        for place in range(first, len(messages)):
            if _size(messages[place][0]) > self._config.max_head:
                while len(messages) > place:
                    messages.pop()
                self._refuse(HeadersTooLarge())
                return True
        return False

    def _bound_waiting(self, size: int) -> None:
        """Count the bytes of waiting requests, and refuse a request that exceeds the limit.

        All waiting bodies together have the limit of one body: aiohttp stops reading at one large
        body, but accepts any number of smaller ones.
        """
        messages, most = self._messages, _HEADS_WAITING * self._config.max_head
        self._waiting_size += size
        if self._waiting_size <= most or self._last:
            return
        bodies = sum(payload.total_bytes for _, payload in messages)
        self._waiting_size = sum(_size(message) for message, _ in messages)
        if self._waiting_size > most:
            error: KmsError = HeadersTooLarge()
        elif bodies > self._config.max_body:
            error = BodyTooLarge("The bodies of waiting requests exceed this service's limit.")
        else:
            self._waiting_size += bodies
            return
        messages.pop()
        self._refuse(error)

    def _watch_head(self) -> None:
        """Start the timer of a head at its first bytes, and stop it when the head is complete.

        The timer of the first head starts with the connection.
        """
        if self._messages:  # the head is complete
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and self._waiter is not None and not self._waiter.done():
            self._head_timer = self.loop.call_later(self._config.header_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        """End the connection; if a part of a head has arrived, answer first."""
        self._head_timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return  # the connection ends already
        if self._head_size:
            self._refuse(RequestTimeout())
            waiter.set_result(None)
        else:
            self.force_close()


def _size(message: Any) -> int:
    """Return the size in bytes of the head of a request, without its end."""
    if type(message) is ErrInfo:
        return 0
    lines = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
    return lines + len(message.method) + len(message.path) + len(" HTTP/1.1\r\n")


def error_of(exc: BaseException | None) -> KmsError:
    """Return the error for a request that was refused, or did not parse."""
    if isinstance(exc, KmsError):
        return exc
    if isinstance(exc, LineTooLong):
        return HeadersTooLarge()
    return BadRequest("The request is not valid HTTP.")
