"""Memory and audit log of a service while keys come and go, over minutes or hours.

Run it with the Python that Mini KMS is installed in: `python bench/soak.py --minutes 30`; options
of `minikms serve` may follow after `--`. Calls are spread evenly over the time, at `--rate` calls
a second. It prints the memory as it goes, ends by itself, and fails if the most since the minute
`--since` is more than `--at-most` times the memory at that minute. It also fails if the audit log
lacks the line of an answered call, or has a line of a call that it omits.
"""

import asyncio
import base64
import itertools
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import click
from aiohttp import ClientSession
from contender import free_port
from service import memory, running
from stored import create

CALLERS: Final = 8
PAGES: Final = 3  # of a listing, one after the other, at most
ALGS: Final = ("ed25519", "p256", "secp256k1", "p521")

# How often each call comes, relative to the others.
WEIGHTS: Final = {
    "generate": 24.0,
    "import": 6.0,
    "rotate": 6.0,
    "sign": 26.0,
    "find": 12.0,
    "page": 10.0,
    "alias": 10.0,
    "schedule": 2.0,
    "jwks": 0.5,
    "all": 0.1,
    "metrics": 2.0,
}
METRICS: Final = "/console/metrics"  # the audit log omits this call

# The more keys there are, the more often these calls delete a key instead.
MAKING: Final = ("generate", "import", "rotate")


class Unavailable(Exception):
    """The service refused a call with 503, as on a busy machine."""


class Soak:
    """Calls on keys that come and go, with about `keys` at any time."""

    def __init__(self, client: ClientSession, keys: int) -> None:
        self.done: Counter[str] = Counter()
        # The ids of answered requests, and of requests that the audit log omits.
        self.answered: set[str] = set()
        self.omitted: set[str] = set()
        self._client = client
        self._most = 2 * keys
        self._random = random.Random(1)  # noqa: S311 - it chooses calls, not secrets
        self._made = 0
        self._numbers = itertools.count()
        self._free: list[str] = []  # kids of keys that no call is using
        self._calls: dict[str, Callable[[], Awaitable[object]]] = {
            "generate": self._generate,
            "import": self._import,
            "page": self._page,
            "jwks": lambda: self._send("GET", "/jwks.json"),
            "all": lambda: self._send("GET", "/keys", Accept="application/x-ndjson"),
            "metrics": lambda: self._send("GET", METRICS),
        }
        self._uses: dict[str, Callable[[str], Awaitable[bool]]] = {
            "rotate": self._rotate,
            "sign": self._sign,
            "find": self._find,
            "alias": self._alias,
            "schedule": self._schedule,
            "delete": self._delete,
        }

    @property
    def keys(self) -> int:
        """The number of keys that no call is using."""
        return len(self._free)

    async def call(self, name: str) -> None:
        """Make a call, and count it; if there is no key to use, make one."""
        if name in MAKING and self._random.random() < len(self._free) / self._most:
            name = "delete"
        try:
            if name in self._calls:
                await self._calls[name]()
            else:
                await self._with_key(self._uses[name])
        except Unavailable:
            name = "unavailable"
        self.done[name] += 1

    async def _with_key(self, use: Callable[[str], Awaitable[bool]]) -> None:
        """Use a key that no other call is using; `use` returns whether it still exists."""
        place = self._random.randrange(len(self._free))
        self._free[place], self._free[-1] = self._free[-1], self._free[place]
        kid = self._free.pop()
        # After a 503 this is unknown, and the key is not used again.
        if await use(kid):
            self._free.append(kid)

    async def fill(self) -> None:
        """Make the first keys."""
        for _ in range(self._most // 2):
            await self._generate()

    async def _send(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[str, str | None]:
        """The body of the answer, and the path of the next page if there is one."""
        request_id = headers["X-Request-Id"] = f"soak-{next(self._numbers)}"
        async with self._client.request(method, path, json=body, headers=headers) as answer:
            text = await answer.text()
            (self.omitted if path == METRICS else self.answered).add(request_id)
            if answer.status == 503:
                raise Unavailable
            assert answer.status == 200, f"{method} {path}: {answer.status} {text}"
            following = re.match("<(.*)>", answer.headers.get("Link", ""))
            return text, following and following.group(1)

    def _options(self) -> dict[str, object]:
        """Names of a new key: its own alias, and a label that it shares."""
        self._made += 1
        return {"alias": f"alias-{self._made}", "labels": {"group": str(self._made % 7)}}

    async def _make(self, path: str, body: object = None) -> None:
        text, _ = await self._send("POST", path, body)
        kid = re.search('"kid":"([^"]+)"', text)
        assert kid
        self._free.append(kid.group(1))

    async def _generate(self) -> None:
        body = {"alg": self._random.choice(ALGS), **self._options()}
        await self._make("/key/generate", body)

    async def _import(self) -> None:
        secret = base64.urlsafe_b64encode(os.urandom(32)).decode()
        body = {"alg": "ed25519", "secret": secret, **self._options()}
        await self._make("/key/import", body)

    async def _rotate(self, kid: str) -> bool:
        """Rotate a key, and remove the one that was rotated."""
        await self._make(f"/key/{kid}/rotate")
        await self._send("DELETE", f"/key/{kid}")
        return False

    async def _sign(self, kid: str) -> bool:
        await self._send("POST", "/sign", {"kid": kid, "data": "aGVsbG8="})
        return True

    async def _find(self, kid: str) -> bool:
        await self._send("GET", f"/key/{kid}")
        return True

    async def _alias(self, kid: str) -> bool:
        """Give a key another alias, find the key by it, and remove the alias."""
        self._made += 1
        alias = f"alias-{self._made}"
        await self._send("POST", f"/key/{kid}/associate", {"alias": alias})
        await self._send("POST", "/sign", {"alias": alias, "data": "aGVsbG8="})
        await self._send("DELETE", f"/key/{kid}/associate?alias={alias}")
        return True

    async def _schedule(self, kid: str) -> bool:
        """Schedule the deletion of a key, and cancel it."""
        await self._send("DELETE", f"/key/{kid}?after=1d")
        await self._send("POST", f"/key/{kid}/restore")
        return True

    async def _delete(self, kid: str) -> bool:
        await self._send("DELETE", f"/key/{kid}")
        return False

    async def _page(self) -> None:
        """Read some pages, with each filter in turn and with limits of every size."""
        number = self._random.randrange(4)
        filters = ("", "&alg=p256", f"&label=group:{number}", "&alg=ed25519&label=group:1")
        path: str | None = f"/keys?limit={self._random.randint(1, 1000)}{filters[number]}"
        for _ in range(PAGES):
            if path is None:
                break
            _, path = await self._send("GET", path)


async def load(soak: Soak, weights: dict[str, float], rate: float, seconds: float) -> None:
    """Make calls at this rate, from callers that each wait for their answer."""
    chosen = random.Random(2)  # noqa: S311 - it chooses calls, not secrets
    begin, number = time.monotonic(), 0

    async def caller() -> None:
        nonlocal number
        while True:
            due, number = begin + number / rate, number + 1
            await asyncio.sleep(due - time.monotonic())
            if time.monotonic() > begin + seconds:
                return
            await soak.call(*chosen.choices(list(weights), list(weights.values())))

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(caller())


async def watch(soak: Soak, pid: int, every: float, found: list[tuple[float, float]]) -> None:
    """Print the minute, the memory and the calls that were made, and append the first two."""
    begin = time.monotonic()
    while True:
        minute, resident = (time.monotonic() - begin) / 60, memory(pid)
        found.append((minute, resident))
        calls = ", ".join(f"{name} {number}" for name, number in sorted(soak.done.items()))
        print(f"{minute:6.1f} min {resident:7.1f} MiB, {soak.keys} keys: {calls}", flush=True)
        await asyncio.sleep(every)


async def run(
    options: tuple[str, ...],
    weights: dict[str, float],
    *,
    minutes: float,
    rate: float,
    keys: int,
    every: float,
) -> tuple[list[tuple[float, float]], Soak]:
    """Start a service, make calls, stop it; return pairs of a minute and its resident MiB."""
    found: list[tuple[float, float]] = []
    options = (*options, "--metrics-port", str(free_port()))
    async with running(*options) as (client, pid):
        soak = Soak(client, keys)
        await soak.fill()
        watching = asyncio.create_task(watch(soak, pid, every, found))
        await load(soak, weights, rate, minutes * 60)
        watching.cancel()
        found.append((minutes, memory(pid)))
    return found, soak


def wrong_lines(soak: Soak, log: Path) -> int:
    """Print and count the answers without an audit line, and the lines of omitted calls."""
    with log.open("rb") as lines:
        recorded = {json.loads(line).get("request_id") for line in lines}
    missing, extra = soak.answered - recorded, soak.omitted & recorded
    print(f"{len(soak.answered)} answers: {len(missing)} without their audit line")
    print(f"{len(soak.omitted)} answers that the log omits: {len(extra)} with a line")
    return len(missing) + len(extra)


@click.command(help=__doc__)
@click.option("--minutes", default=30.0, show_default=True, type=click.FloatRange(0, 600))
@click.option("--rate", default=150.0, show_default=True, help="Calls a second.")
@click.option("--keys", default=1500, show_default=True, help="Number of keys at a time.")
@click.option("--sqlite", is_flag=True, help="Keys in an SQLite file, not in memory.")
@click.option("--calls", default=",".join(WEIGHTS), show_default=True, help="Those to make.")
@click.option("--every", default=30.0, show_default=True, help="Seconds between two lines.")
@click.option("--since", default=5.0, show_default=True, help="The minute to compare with.")
@click.option("--at-most", default=1.2, show_default=True, help="Largest ratio to that memory.")
@click.argument("options", nargs=-1)
def main(
    sqlite: bool, calls: str, since: float, at_most: float, options: tuple[str, ...], **load: Any
) -> None:
    """Measure, print, and compare."""
    weights = {name: WEIGHTS[name] for name in calls.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        if sqlite:
            url, file = f"sqlite://{folder}/keys.db", f"{folder}/store.key"
            asyncio.run(create(url, file))
            options = ("--store", url, "--store-key-file", file, *options)
        log = Path(folder, "audit.log")
        found, soak = asyncio.run(run((*options, "--audit-log", str(log)), weights, **load))
        wrong = wrong_lines(soak, log)
    compared = [resident for minute, resident in found if minute >= min(since, load["minutes"])]
    ratio = max(compared) / compared[0]
    print(f"from minute {since:g} on, at most {ratio:.2f} times {compared[0]:.0f} MiB")
    sys.exit(ratio > at_most or wrong > 0)


if __name__ == "__main__":
    main()
