"""Deletes and rotates due keys while the service runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

from minikms.basics.background import in_background
from minikms.errors import StoreUnavailable
from minikms.events import AuditSink
from minikms.keys.deletions import DueDeletions

LOGGER = logging.getLogger(__name__)

# `KeyService.sweep`.
Sweep: TypeAlias = Callable[[AuditSink | None], Awaitable[None]]

# Seconds between two sweeps. Nobody sees a key once its deletion is due, but its material stays in
# the store until the sweep. Scheduled rotations are late by the same time. A deleted key of a
# provider is removed at once or, if its provider does not answer, after one of the next tries.
_PERIOD: Final = 300.0
_AGAIN: Final = 5.0


@asynccontextmanager
async def sweeping(
    deletions: DueDeletions, sweep: Sweep, sink: AuditSink | None
) -> AsyncIterator[None]:
    """Delete and rotate due keys by `sweep`, now and every few minutes, while the block runs.

    Between them, what `deletions` has noted is deleted.
    Any number of processes may sweep a store at the same time.
    """
    async with in_background(_sweep(deletions, sweep, sink)):
        yield


async def _sweep(deletions: DueDeletions, sweep: Sweep, sink: AuditSink | None) -> None:
    loop = asyncio.get_running_loop()
    next_sweep = loop.time()
    while True:
        until = next_sweep
        if deletions.may_go_on:
            until = min(until, loop.time() + _AGAIN)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await deletions.noted()
        try:
            if loop.time() < next_sweep:
                await deletions.go_on(sink)
            else:
                next_sweep = loop.time() + _PERIOD
                await sweep(sink)
        except StoreUnavailable:
            LOGGER.warning("due keys are neither deleted nor rotated: the store is unavailable")
        except Exception:  # the next sweep may succeed, so the task goes on
            LOGGER.exception("due keys are neither deleted nor rotated")
