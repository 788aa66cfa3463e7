"""Callers that abuse a service, all at once or for some seconds, and count the answers."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from aiohttp import ClientError, ClientSession, TCPConnector
from service import bearer

# A function of the service's URL and a token that returns counted answers.
Abuse = Callable[[str, str], Coroutine[Any, Any, Counter[str]]]

# The address of the abusers. Others call from 127.0.0.1, and connections and wrong tokens are
# counted by address.
ELSEWHERE = ("127.0.0.2", 0)


def abuser(
    url: str, token: str = "", headers: Mapping[str, str] | None = None, *, connections: int = 0
) -> ClientSession:
    """Make a client at the abusers' address; 0 connections means one per call."""
    connector = TCPConnector(limit=connections, local_addr=ELSEWHERE)
    own = bearer(token) if token else {}
    return ClientSession(url, connector=connector, headers={**own, **(headers or {})})


async def answer(client: ClientSession, method: str, path: str, **sent: Any) -> str:
    """Make a call, and return the status, or the kind of failure."""
    try:
        async with client.request(method, path, **sent) as answered:
            await answered.read()
            return str(answered.status)
    except ClientError as exc:
        return type(exc).__name__


async def all_at_once(number: int, call: Callable[[], Awaitable[str]]) -> Counter[str]:
    """Make `number` calls at the same time."""
    return Counter(await asyncio.gather(*(call() for _ in range(number))))


async def for_seconds(
    seconds: float, callers: int, *calls: Callable[[], Awaitable[str]]
) -> Counter[str]:
    """Let each caller make these calls in turn until the time has passed."""
    until, found = time.monotonic() + seconds, Counter[str]()

    async def caller(number: int) -> None:
        while time.monotonic() < until:
            number += 1
            found[await calls[number % len(calls)]()] += 1

    await asyncio.gather(*map(caller, range(callers)))
    return found
