"""Wait for something that happens elsewhere, and name it if it does not happen."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientResponse

SECONDS = 25  # less than most tests may take, so that they fail here
LONG = 60  # for tests that may take longer


@asynccontextmanager
async def waiting_for(what: str, seconds: float = SECONDS) -> AsyncIterator[None]:
    """Fail if the block takes too long."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        pytest.fail(f"waited {seconds} s for {what}")


async def until(what: str, condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with waiting_for(what):
        while not condition():
            await asyncio.sleep(0.01)


def wait_until(what: str, condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until a condition holds, in a test without an event loop."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s for {what}")
        time.sleep(0.1)  # many a condition asks a service for all its metrics


async def once_not_busy(call: Callable[[], Awaitable[ClientResponse]]) -> ClientResponse:
    """Make a call until its answer is not 503, which a busy machine may cause; give the answer."""
    async with waiting_for("an answer that is not 503"):
        while (response := await call()).status == 503:
            response.release()
            await asyncio.sleep(0.1)
    return response


async def until_refused(use: Callable[[], Awaitable[ClientResponse]], end: float) -> None:
    """Use something again and again until it is refused; a use that begins after `end` must be.

    `end` is a time of the monotonic clock.
    """
    async with asyncio.timeout(LONG):
        while True:
            begun = time.monotonic()
            if (await use()).status != 200:
                return
            assert begun < end
            await asyncio.sleep(min(end - time.monotonic() - 0.1, 0.02))
