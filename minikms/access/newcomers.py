"""Tokens that nobody was let in with lately: they wait by the address that they come from."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from minikms.addresses import network_of
from minikms.errors import TooManyAttempts

# How many different tokens of an address wait at once, and how many calls with them.
_MOST_WAITING: Final = 100
_MOST_CALLS: Final = 300
# How many tokens are known, those that let somebody in last.
_MOST_KNOWN: Final = 10_000


class Newcomers:
    """Which tokens have let somebody in, and a queue for each address that sends others.

    It decides who waits where, and lets nobody in. A token is given by its hash. What is kept of an
    address is gone once none of its tokens waits.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._queues: dict[str, _Queue] = {}

    def __contains__(self, token: bytes) -> bool:
        """Whether nobody was let in with `token` lately."""
        return token not in self._known

    def let_in(self, token: bytes) -> None:
        """Know a token from now on."""
        self._known[token] = None
        self._known.move_to_end(token)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def refuse(self, token: bytes) -> None:
        """Know a token no more."""
        self._known.pop(token, None)

    @asynccontextmanager
    async def waiting(self, token: bytes, address: str) -> AsyncIterator[asyncio.Lock]:
        """Let a token wait; gives the lock for what its address may do one at a time.

        Raises TooManyAttempts where enough others of its address wait.
        """
        network = network_of(address)
        queue = self._queues.setdefault(network, _Queue())
        tokens = queue.tokens
        is_new = token not in tokens
        if (is_new and len(tokens) >= _MOST_WAITING) or tokens.total() >= _MOST_CALLS:
            raise TooManyAttempts("Other tokens from this address are looked for.", retry_after=1)
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
    """The tokens of an address that wait, and how often each does."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.tokens: Counter[bytes] = Counter()
