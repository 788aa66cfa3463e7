"""Queues for tokens that were not accepted recently, one per client address."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from minikms.basics.addresses import network_of
from minikms.errors import TooManyAttempts

# Limits per address: distinct waiting tokens, and waiting calls.
_MOST_WAITING: Final = 100
_MOST_CALLS: Final = 300
# The number of recently accepted tokens to remember.
_MOST_ACCEPTED: Final = 10_000


class TokenQueues:
    """Remembers accepted tokens; all others wait in the queue of their address.

    Tokens are identified by their hashes. A queue exists only while a token waits in it.
    """

    def __init__(self) -> None:
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        self._queues: dict[str, _Queue] = {}

    def must_wait(self, token: bytes) -> bool:
        """Tell whether a token must wait: it must unless it was accepted recently."""
        return token not in self._accepted

    def accept(self, token: bytes) -> None:
        self._accepted[token] = None
        self._accepted.move_to_end(token)
        if len(self._accepted) > _MOST_ACCEPTED:
            self._accepted.popitem(last=False)

    def forget(self, token: bytes) -> None:
        self._accepted.pop(token, None)

    @asynccontextmanager
    async def waiting(self, token: bytes, address: str) -> AsyncIterator[asyncio.Lock]:
        """Queue a token from an address; yields the lock to hold while reading the store.

        Raises TooManyAttempts if too many other tokens from its address wait.
        """
        network = network_of(address)
        queue = self._queues.setdefault(network, _Queue())
        tokens = queue.tokens
        is_new = token not in tokens
        if (is_new and len(tokens) >= _MOST_WAITING) or tokens.total() >= _MOST_CALLS:
            raise TooManyAttempts(
                "Too many unknown tokens from this address are being checked.", retry_after=1
            )
        tokens[token] += 1
        try:
            yield queue.lock
        finally:
            tokens[token] -= 1
            if not tokens[token]:
                del tokens[token]
            if not tokens:
                del self._queues[network]


class _Queue:
    """The waiting tokens of one address, and the number of calls that wait for each."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.tokens: Counter[bytes] = Counter()
