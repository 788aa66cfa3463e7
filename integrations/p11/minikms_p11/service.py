"""Calls of the service, over HTTP."""

import asyncio
import errno
import json
import logging
import secrets
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from yarl import URL

from minikms_p11.refusal import Problem

_log = logging.getLogger(__name__)

_SECONDS: Final = 30.0  # for a call: making an RSA key takes seconds
_REFUSED: Final = 2.5  # seconds in which a refused connection is tried again
_BETWEEN: Final = 0.1  # seconds between two tries
_URLS: Final = 64  # that are kept
_CONNECTIONS: Final = 64
_NOT_REPEATED: Final = ("key/generate",)  # calls that do more if they are done twice
_LARGEST_ANSWER: Final = 8 << 20  # bytes; a page of keys has at most 4 MiB


class Caller:
    """On whose behalf calls are made: a program, with a token of the service, in a profile."""

    def __init__(self, pid: int, token: str | None, profile: str) -> None:
        self._headers = {"X-Profile": profile, "Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        # The audit log of the service has the request id, and so the program's pid.
        self._request_id = f"p11:{pid}:{secrets.token_hex(4)}"
        self._calls = 0

    def headers(self) -> dict[str, str]:
        """The headers of the next call."""
        self._calls += 1
        return {**self._headers, "X-Request-Id": f"{self._request_id}:{self._calls}"}


class Service:
    """The service at a URL; `close` ends its connections."""

    def __init__(self, url: str) -> None:
        base = URL(url if url.endswith("/") else url + "/")
        # A call takes 3 % less of a processor with its URL from memory.
        self._url_of = lru_cache(_URLS)(lambda path: base.join(URL(path, encoded=True)))
        self._answers = True
        self._session = ClientSession(
            connector=TCPConnector(limit=_CONNECTIONS),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=_SECONDS),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self,
        caller: Caller,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of the answer; raises Problem."""
        return (await self._answer(caller, method, path, body, query))[0]

    async def page(
        self, caller: Caller, path: str, query: Mapping[str, str]
    ) -> tuple[Any, Mapping[str, str] | None]:
        """The JSON of a page, and the query of the next one; raises Problem."""
        return await self._answer(caller, "GET", path, None, query)

    async def _answer(
        self,
        caller: Caller,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
    ) -> tuple[Any, Mapping[str, str] | None]:
        url = self._url_of(path)
        if query:
            url = url.with_query(query)
        data = None if body is None else json.dumps(body).encode()
        try:
            try:
                answer = await self._connect_and_send(caller, method, url, data)
            except ServerDisconnectedError:
                # The service closed the connection while it was idle, or restarts.
                if path in _NOT_REPEATED:
                    raise
                answer = await self._connect_and_send(caller, method, url, data)
        except (TimeoutError, ClientError) as error:
            if self._answers:
                _log.error("the service does not answer: %s", error or type(error).__name__)
            self._answers = False
            raise Problem("unavailable") from None
        if not self._answers:
            _log.info("the service answers again")
        self._answers = True
        status, content, following = answer
        try:
            answered = json.loads(content)
        except ValueError:
            raise Problem("not-json", _name(method, path, body)) from None
        if status != 200:
            kind = answered.get("type") if isinstance(answered, dict) else None
            raise Problem(str(kind).rpartition(":")[2], _name(method, path, body))
        return answered, following.query if isinstance(following, URL) else None

    async def _connect_and_send(
        self, caller: Caller, method: str, url: URL, data: bytes | None
    ) -> tuple[int, bytes, object]:
        """Send a call, again if its connection is refused, as while the service restarts."""
        end = time.monotonic() + _REFUSED
        while True:
            try:
                return await self._send(caller, method, url, data)
            except ClientConnectorError as error:
                if error.errno != errno.ECONNREFUSED or time.monotonic() >= end:
                    raise
            await asyncio.sleep(_BETWEEN)

    async def _send(
        self, caller: Caller, method: str, url: URL, data: bytes | None
    ) -> tuple[int, bytes, object]:
        """The status, the content and the next page's URL of an answer."""
        async with self._session.request(
            method, url, data=data, headers=caller.headers(), allow_redirects=False
        ) as answer:
            content = bytearray()
            async for part in answer.content.iter_any():
                content += part
                if len(content) > _LARGEST_ANSWER:
                    raise Problem("answer-too-large", f"{method} {url.path}")
            following = answer.links["next"]["url"] if "Link" in answer.headers else None
            return answer.status, bytes(content), following


def _name(method: str, path: str, body: Mapping[str, Any] | None) -> str:
    """The name of a call in the log."""
    kid = body.get("kid") if body else None
    return f"{method} /{path}" if kid is None else f"{method} /{path}, key {kid}"
