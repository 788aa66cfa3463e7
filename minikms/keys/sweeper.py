"""Deletes and rotates the keys that are due for it, while the service runs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from minikms.background import in_background
from minikms.errors import StoreUnavailable
from minikms.events import AuditSink
from minikms.keys.service import KeyService

LOGGER = logging.getLogger(__name__)

# Seconds between two sweeps. A key cannot be seen once its deletion is due; until the sweep, its
# material stays in the store. Scheduled rotations are as late. A key of a provider that was deleted
# is removed at once. If its provider does not answer, it is tried again every few seconds.
_PERIOD: Final = 300.0
_AGAIN: Final = 5.0


@asynccontextmanager
async def sweeping(keys: KeyService, sink: AuditSink | None) -> AsyncIterator[None]:
    """Delete and rotate keys that are due, now and every few minutes, as long as the block lasts.

    Any number of processes may do so at the same time.
    """
    async with in_background(_sweep(keys, sink)):
        yield


async def _sweep(keys: KeyService, sink: AuditSink | None) -> None:
    loop = asyncio.get_running_loop()
    next_sweep = loop.time()
    while True:
        until = next_sweep
        if keys.deletions.may_go_on:
            until = min(until, loop.time() + _AGAIN)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await keys.deletions.noted()
        try:
            if loop.time() < next_sweep:
                await keys.deletions.go_on(sink)
            else:
                next_sweep = loop.time() + _PERIOD
                await keys.sweep(sink)
        except StoreUnavailable:
            LOGGER.warning("due keys are neither deleted nor rotated: the store is unavailable")
        except Exception:  # the next sweep may succeed, so the task goes on
            LOGGER.exception("due keys are neither deleted nor rotated")
