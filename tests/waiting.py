"""Wait for something that happens elsewhere, and name it if it does not happen."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

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
