"""Signatures with many keys, each call with a random one: a part of `run.py`."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import click
from contender import Request
from contenders import RAFT
from mini_kms import MiniKms
from report import CONNECTIONS, FAILURES, Found, Run
from rows import Row, requests_of
from server import MIB, Measurement, Server, started

KEYS: Final = (1, 1_000, 40_000, 100_000)
NAMES: Final = ("sqlite-2", "postgres-2", RAFT)

COLD, WARMED, IN_USE = "just started", "10 s after a start with --warm", "in use"
WARMING: Final = 10.0  # seconds from such a start to the load
WARM: Final = {"MINIKMS_WARM": "true"}
WARM_NAMES: Final = ("sqlite-2", "postgres-2")

# Each row uses the newest keys of a store, which `--warm` reads first.

# The default cache must hold this number of keys; for more, the cache is enlarged.
BY_DEFAULT: Final = 40_000
ROOM: Final = {"MINIKMS_CACHE_MEMORY": str(512 * MIB)}

# Keys count as in use when each was drawn so often on average, by either worker, or after loads of
# 1, 2, 4 seconds, and so on up to the longest. Each of two workers has cached 98 % of them then.
DRAWN: Final = 8
LONGEST: Final = 64


def row(keys: int, state: str = IN_USE) -> Row:
    """Make a row with this number of keys."""
    return Row("sign", "ed25519", CONNECTIONS, keys, state)


@dataclass
class KeysInUse:
    """Contenders with filled stores, started for each row."""

    run: Run
    folders: Mapping[str, Path]
    rounds: int
    seconds: int
    requests: dict[str, list[Request]] = field(default_factory=dict)

    async def measure(self, most: int, end: float) -> None:
        """Make `most` keys in each store, then measure each number of KEYS up to that."""
        half = (time.monotonic() + end) / 2
        await asyncio.gather(*(self._fill(name, most, half) for name in self.folders))
        if not self.requests:
            return
        for keys in KEYS:
            states = [IN_USE]
            if keys > 1:
                states = [COLD, *([WARMED] if keys == BY_DEFAULT else []), IN_USE]
            for one in (row(keys, state) for state in states if keys <= most):
                async with self.run.before(end, str(one)):
                    measure = self._in_use if one.state == IN_USE else self._starts
                    self.run.rows[one] = await measure(one)
                    click.echo(self.run.line(one), err=True)

    async def _fill(self, name: str, keys: int, end: float) -> None:
        """Make keys and a request for each, unless a contender cannot run here, or takes long."""
        async with (
            self.run.before(end, f"{keys:,} keys, {name}"),
            started(self.run.contenders[name], self.folders[name]) as server,
        ):
            self.requests[name] = await requests_of(server, row(keys))

    async def _starts(self, one: Row) -> Found:
        """Start a contender for each load; if it starts cold, no key is used twice."""
        found: Found = {}
        for _ in range(self.rounds):
            for name in self._names(one):
                await self.run.add(found, one, name, self._start(one, name))
        return found

    def _names(self, one: Row) -> list[str]:
        """Return the contenders of a row."""
        chosen = WARM_NAMES if one.state == WARMED else NAMES
        return [name for name in chosen if name in self.requests]

    async def _start(self, one: Row, name: str) -> Measurement:
        chosen, begin = self.requests[name][-one.keys :], time.monotonic()
        if one.state == COLD:
            random.shuffle(chosen)
            async with self._started(name, {}) as server:
                return await server.load(chosen, CONNECTIONS, self.seconds, "once")
        async with self._started(name, WARM) as server:
            await asyncio.sleep(begin + WARMING - time.monotonic())
            return await server.load(chosen, CONNECTIONS, self.seconds, "draw")

    async def _in_use(self, one: Row) -> Found:
        """Start all, draw keys until they are in use, then load one after the other."""
        found: Found = {}
        async with AsyncExitStack() as stack:
            servers: dict[str, Server] = {}
            for name in self._names(one):
                starting = self._started(name, ROOM if one.keys > BY_DEFAULT else {})
                try:
                    server = await stack.enter_async_context(starting)
                    await use(server, self.requests[name][-one.keys :])
                    servers[name] = server
                except FAILURES as exc:
                    self.run.miss(f"{one}, {name}: {exc!r}")
                    found[name] = "failed"
            for _ in range(self.rounds):
                for name, server in servers.items():
                    chosen = self.requests[name][-one.keys :]
                    # Other contenders were loaded since, for longer than PostgreSQL is trusted.
                    await server.load(chosen, CONNECTIONS, 1, "draw")
                    load = server.load(chosen, CONNECTIONS, self.seconds, "draw")
                    await self.run.add(found, one, name, load)
            self.run.memory[one] = {name: server.memory() for name, server in servers.items()}
        return found

    def _started(
        self, name: str, variables: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Server]:
        contender = self.run.contenders[name]
        if isinstance(contender, MiniKms):
            contender = replace(contender, variables=variables)
        return started(contender, self.folders[name])


async def use(server: Server, requests: Sequence[Request]) -> None:
    """Draw keys until they are in use."""
    drawn, seconds = 0.0, 1
    while drawn < DRAWN * len(requests) and seconds <= LONGEST:
        load = await server.load(requests, CONNECTIONS, seconds, "draw")
        drawn += load.rate * seconds
        seconds *= 2
