"""Stores when keys and tokens were last used, while the service runs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from minikms.access.tokens import Tokens
from minikms.basics.background import in_background
from minikms.errors import StoreUnavailable
from minikms.keys.service import KeyService

LOGGER = logging.getLogger(__name__)

# Seconds between two writes; the number of noted times that are written sooner; and seconds between
# two looks at that number.
_PERIOD: Final = 120.0
_MANY: Final = 20_000
_LOOK: Final = 10.0


@asynccontextmanager
async def storing_last_uses(keys: KeyService, tokens: Tokens) -> AsyncIterator[None]:
    """Store the times of last uses every two minutes, and at the end of the block.

    Several processes may do so concurrently.
    """
    async with in_background(_store_again_and_again(keys, tokens)):
        yield
    await _store(keys, tokens)


async def _store_again_and_again(keys: KeyService, tokens: Tokens) -> None:
    while True:
        await _store(keys, tokens)
        until = time.monotonic() + _PERIOD
        while time.monotonic() < until and len(keys.operations.uses.times) < _MANY:
            await asyncio.sleep(_LOOK)


async def _store(keys: KeyService, tokens: Tokens) -> None:
    try:
        await keys.operations.uses.store()
        await tokens.uses.store()
    except StoreUnavailable:
        LOGGER.warning("last uses of keys and tokens are not stored: the store is unavailable")
    except Exception:  # the next time may succeed
        LOGGER.exception("last uses of keys and tokens are not stored")
