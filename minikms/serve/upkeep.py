"""Work on the store that a running service repeats; several processes may do it concurrently."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from minikms.access.policy import TokenAccess
from minikms.access.tokens import Tokens
from minikms.basics.background import in_background
from minikms.errors import StoreUnavailable
from minikms.events import AuditSink
from minikms.keys.service import KeyService
from minikms.store import LEASE, Sweeps

LOGGER = logging.getLogger(__name__)

# Seconds between two sweeps of a store. Nobody sees a key once its deletion is due, but its
# material stays in the store until the sweep. Scheduled rotations are late by the same time. A
# deleted key of a provider is removed at once or, if its provider does not answer, after one of the
# next tries.
_SWEEP_EVERY: Final = 300.0
_SWEEP_AGAIN: Final = 5.0

# Seconds after which a process that sweeps tells the others that it still does.
_RENEW_EVERY: Final = LEASE / 4
# Nanoseconds between two searches through all profiles, in case an older process made keys due.
_LIST_EVERY: Final = 24 * 3600 * 10**9

# Seconds between two writes of last uses.
_WRITE_EVERY: Final = 120.0
# The number of noted times that are written sooner, and seconds between two looks at it.
_MANY: Final = 20_000
_LOOK: Final = 10.0

# Seconds between two rounds. Until the next round, a revoked token stays in the cache, though
# nobody may use it, and listings may lack tokens whose last use an older version has stored.
_TEND_EVERY: Final = 240.0


@asynccontextmanager
async def sweeping(keys: KeyService, sink: AuditSink | None) -> AsyncIterator[None]:
    """Delete and rotate due keys, now and every few minutes, while the block runs.

    One of all processes that share the store does so at a time; another one goes on if it is
    killed. In between, each process removes keys that it has deleted.
    """
    async with in_background(_sweep(keys, sink)):
        yield


@asynccontextmanager
async def storing_last_uses(keys: KeyService, tokens: Tokens) -> AsyncIterator[None]:
    """Store the times of last uses every two minutes, and at the end of the block."""
    async with in_background(_store_again_and_again(keys, tokens)):
        yield
    await _store_last_uses(keys, tokens)


@asynccontextmanager
async def tending_tokens(tokens: Tokens, access: TokenAccess) -> AsyncIterator[None]:
    """Give tokens their tags, and drop revoked ones from the cache, while the block runs."""
    async with in_background(_tend(tokens, access)):
        yield


async def _sweep(keys: KeyService, sink: AuditSink | None) -> None:
    loop, deletions = asyncio.get_running_loop(), keys.deletions
    next_turn, every = loop.time(), 0.0  # a process that starts waits only for a sweep under way
    while True:
        until = next_turn
        if deletions.may_go_on:
            until = min(until, loop.time() + _SWEEP_AGAIN)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await deletions.noted()
        with _logged("due keys are neither deleted nor rotated: the store is unavailable"):
            if loop.time() < next_turn:
                await deletions.go_on(sink)
                continue
            next_turn = loop.time() + LEASE  # if the store is unavailable
            wait = await keys.operations.store.sweeps.begin(every)
            every = _SWEEP_EVERY
            if wait is None:
                await _take_turn(keys, sink)
                next_turn = loop.time() + _SWEEP_EVERY
            else:
                next_turn = loop.time() + wait
                await deletions.go_on(sink)  # another process may have removed keys that wait here


async def _take_turn(keys: KeyService, sink: AuditSink | None) -> None:
    """Sweep the store, and let the next sweep begin in a few minutes, even if this one fails."""
    sweeps = keys.operations.store.sweeps
    last, began = sweeps.last, time.time_ns()
    try:
        async with in_background(_renew(sweeps)):
            if not 0 <= began - last.listed < _LIST_EVERY:
                await keys.list_due()
                last = last._replace(listed=began)
            left = await keys.sweep(sink)
        now = time.time_ns()
        last = last._replace(ended=now, took=now - began, left=left)
    except Exception:
        await sweeps.end(_SWEEP_EVERY, last)
        raise
    await sweeps.end(_SWEEP_EVERY, last)


async def _renew(sweeps: Sweeps) -> None:
    while True:
        await asyncio.sleep(_RENEW_EVERY)
        with _logged("another process may sweep the store too: it is unavailable"):
            await sweeps.renew()


async def _store_again_and_again(keys: KeyService, tokens: Tokens) -> None:
    while True:
        await _store_last_uses(keys, tokens)
        until = time.monotonic() + _WRITE_EVERY
        while time.monotonic() < until and len(keys.operations.uses.times) < _MANY:
            await asyncio.sleep(_LOOK)


async def _store_last_uses(keys: KeyService, tokens: Tokens) -> None:
    with _logged("last uses of keys and tokens are not stored: the store is unavailable"):
        await keys.operations.uses.store()
        await tokens.uses.store()


async def _tend(tokens: Tokens, access: TokenAccess) -> None:
    while True:
        await access.drop_stale()
        with _logged("tokens of older versions are not indexed: the store is unavailable"):
            await tokens.place_all(again=True)
        await asyncio.sleep(_TEND_EVERY)


@contextmanager
def _logged(message: str) -> Iterator[None]:
    """Log a failure instead of raising it: the next time may succeed.

    The message is for an unavailable store; for another failure, it is cut at its colon.
    """
    try:
        yield
    except StoreUnavailable:
        LOGGER.warning(message)
    except Exception:
        LOGGER.exception(message.partition(":")[0])
