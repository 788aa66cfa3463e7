"""Gives tokens their tags, and drops revoked ones from the cache, while the service runs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from minikms.access.policy import TokenAccess
from minikms.access.tokens import Tokens
from minikms.basics.background import in_background
from minikms.errors import StoreUnavailable

LOGGER = logging.getLogger(__name__)

# Seconds between two rounds. Until the next round, a revoked token stays in the cache, though
# nobody may use it, and listings may lack tokens whose last use an older version has stored.
_PERIOD: Final = 240.0


@asynccontextmanager
async def tending_tokens(tokens: Tokens, access: TokenAccess) -> AsyncIterator[None]:
    """Tend the tokens now and every few minutes during the block.

    Several processes may do so concurrently.
    """
    async with in_background(_tend_again_and_again(tokens, access)):
        yield


async def _tend_again_and_again(tokens: Tokens, access: TokenAccess) -> None:
    while True:
        await access.drop_stale()
        try:
            await tokens.place_all(again=True)
        except StoreUnavailable:
            LOGGER.warning("tokens of older versions are not indexed: the store is unavailable")
        except Exception:  # the next time may succeed, so the task goes on
            LOGGER.exception("tokens of older versions are not indexed")
        await asyncio.sleep(_PERIOD)
