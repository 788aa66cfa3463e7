"""The recorded calls of many clients, with their answers."""

import asyncio
import itertools
import math
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientConnectorError, ClientError, ClientSession, TCPConnector
from http_answers import bearer
from ports import free_port

_OF_DOOR = {503: "store-unavailable"}


@dataclass(frozen=True, eq=False)
class Process:
    """A process that answers calls.

    It cannot have cached anything before `started`, and misses changes by others for `lag` seconds.
    """

    started: float
    lag: float


@dataclass
class Call:
    """A call about an object, by times of the monotonic clock.

    `status` is 0 without an answer; then `slug` is `unsent` if nothing was sent. A write gives the
    object the value `writes`, a read has seen the value `shows`.
    """

    about: str
    process: Process
    begun: float
    request_id: str = ""
    writes: str | None = None
    shows: str | None = None
    ended: float = math.inf
    status: int = 0
    slug: str = ""
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Tell whether the write was acknowledged."""
        return self.status == 200

    @property
    def may_be_done(self) -> bool:
        """Whether the call was acknowledged, or has an unknown outcome."""
        if not self.status:
            return self.slug != "unsent"
        return self.is_done or self.answer.get("outcome") == "unknown"


class Target:
    """The addresses of a service and of its Vault door, and the process that answers there now."""

    def __init__(self, url: str, lag: float) -> None:
        self.url, self._lag = url, lag
        self.vault_port = free_port()

    def begin(self) -> None:
        """Start a new process there."""
        self.process = Process(time.monotonic(), self._lag)


class History:
    """Makes calls and records them."""

    def __init__(self, admin: str) -> None:
        self.calls: list[Call] = []
        self._admin = admin
        self._numbers = itertools.count()
        # A new connection for each call, so that each worker gets calls, and none is sent again.
        self._session = ClientSession(connector=TCPConnector(limit=0, force_close=True))
        self._session._retry_connection = False

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def call(
        self,
        target: Target,
        about: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str = "",
        profile: str = "default",
        writes: str | None = None,
        at: str = "",
    ) -> Call:
        """Make a call, at another address than the service's if `at` is given.

        Return it once it was answered or its connection was lost.
        """
        call = Call(about, target.process, time.monotonic(), f"call-{next(self._numbers)}", writes)
        self.calls.append(call)
        headers = bearer(token or self._admin)
        headers |= {"X-Request-Id": call.request_id, "X-Profile": profile}
        url = (at or target.url) + path
        try:
            async with self._session.request(method, url, json=body, headers=headers) as response:
                call.answer = await response.json(content_type=None)
                call.status = response.status
        except ClientConnectorError:
            call.slug = "unsent"
            await asyncio.sleep(0.2)
        except (ClientError, OSError):
            pass
        call.ended = time.monotonic()
        if call.status not in (0, 200):
            slug = str(call.answer.get("type", "")).rpartition(":")[2]
            call.slug = slug or _OF_DOOR.get(call.status, "")  # its answers do not contain a slug
        return call
