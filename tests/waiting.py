"""Waiting for what happens elsewhere; where it does not, the failure says what that is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

SECONDS = 60


@asynccontextmanager
async def waiting_for(what: str) -> AsyncIterator[None]:
    """Fail where the block is not done in time."""
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError:
        pytest.fail(f"waited {SECONDS} s for {what}")


async def until(what: str, condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with waiting_for(what):
        while not condition():
            await asyncio.sleep(0.01)
