"""Time and memory of calls and commands, by the number of keys in a profile: a part of `run.py`."""

import asyncio
import contextlib
import random
import re
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Final

import click
from aiohttp import ClientSession, ClientTimeout
from report import Cost, Run
from service import process, running
from stored import create

STEPS: Final = (1, 1_000, 10_000, 100_000, 1_000_000)
CALLS: Final = 100  # each with a different key, if there are enough
BATCH: Final = 1000
PATIENT: Final = ClientTimeout(total=None)

# The algorithm of a tenth of the batches. Labels: one on half of all keys, one on a thousandth.
TENTH: Final = "p256"
FIRST, SIGN, GET, ALIAS = "sign, first use", "sign, in use", "get", "find by alias"
ASSOCIATE, GENERATE, THOUSAND = "associate", "generate", "generate 1,000 in a batch"
PAGE, NDJSON, JWKS = "page of 100", "all as NDJSON", "JWK Set"
SINGLE: Final = (FIRST, SIGN, GET, ALIAS, ASSOCIATE, GENERATE, THOUSAND, PAGE)
PAGES: Final = {
    PAGE: "limit=100",
    "in the middle": "limit=100&after={0}",
    "alg of a tenth": f"limit=100&alg={TENTH}",
    "alg of a tenth, in the middle": f"limit=100&alg={TENTH}&after={{0}}",
    "label of half": "limit=100&label=half:a",
    "label of a thousandth": "limit=100&label=rare:yes",
}
TIMES: Final = 7  # the number of times a page is read
BACKUP: Final = "store backup"  # only for an SQLite file
COMMANDS: Final = {
    "store verify": (),
    BACKUP: ("{}",),
    "store copy": ("--to", "sqlite://{}"),
}
LINES: Final = {"Accept": "application/x-ndjson"}

Calls = list[tuple[str, str, Mapping[str, object] | None]]


async def measure(run: Run, urls: Mapping[str, str], folder: Path, most: int, end: float) -> None:
    """Fill stores by steps up to `most` keys, and measure one after the other after each step."""
    async with AsyncExitStack() as stack:
        begin, profiles = time.monotonic(), {}
        for store, url in urls.items():
            key_file = f"{folder}/{store}.key"
            await create(url, key_file)
            options = ("--store", url, "--store-key-file", key_file)
            client, pid = await stack.enter_async_context(running(*options, timeout=PATIENT))
            profiles[store] = Profile(client, pid, options)
        for step in (step for step in STEPS if step <= most):
            async with run.before(end, f"{step:,} keys"):
                await measure_step(run, profiles, folder, step)
            click.echo(f"{step:,} keys: {(time.monotonic() - begin) / 60:.1f} minutes", err=True)


async def measure_step(run: Run, profiles: "dict[str, Profile]", folder: Path, step: int) -> None:
    """Fill profiles up to `step` keys, all at a time, and measure one after the other."""
    await asyncio.gather(*(profile.fill(step) for profile in profiles.values()))
    for store, profile in profiles.items():
        costs = run.costs.setdefault(store, {})[step] = {}
        for name, calls in profile.calls():
            with run.noting(f"{name}, {store}, {step:,} keys"):
                costs[name] = await profile.cost(calls, LINES if name == NDJSON else {})
    for command, more in COMMANDS.items():
        for store, profile in profiles.items():
            if has(store, command):
                target = folder / "copy.db"
                arguments = (*profile.options, *(text.format(target) for text in more))
                with run.noting(f"{command}, {store}, {step:,} keys"):
                    run.costs[store][step][command] = await command_cost(command, arguments)
                target.unlink(missing_ok=True)
    for store, profile in profiles.items():
        with run.noting(f"{GENERATE}, {store}, {step:,} keys"):
            await profile.make_more(run.costs[store][step])


def has(store: str, call: str) -> bool:
    """Tell whether a store supports a call or command."""
    return store == "sqlite" or call != BACKUP


class Profile:
    """A profile that is filled, in a service with a store of its own."""

    def __init__(self, client: ClientSession, pid: int, options: tuple[str, ...]) -> None:
        self.keys = 0
        self._client, self._pid, self.options = client, pid, options
        self._kids: list[str] = []  # some of each batch
        self._numbers = count()

    async def fill(self, end: int) -> None:
        """Make keys until there are `end`."""
        while self.keys < end:
            number, batch = min(BATCH, end - self.keys), self.keys // BATCH
            alg = TENTH if batch % 10 == 9 else "ed25519"
            labels = {"half": "a" if batch % 2 else "b"}
            if batch % 10 == 3 and number > 10:  # a thousandth: the first ten of a batch
                await self._make(alg, 10, labels | {"rare": "yes"})
                number -= 10
            kids = await self._make(alg, number, labels)
            if alg == "ed25519":
                self._kids += random.sample(kids, min(CALLS, number))

    async def _make(self, alg: str, number: int, labels: dict[str, str]) -> list[str]:
        body = {"alg": alg, "count": number, "labels": labels}
        async with self._client.post("/key/generate/batch", json=body) as answer:
            assert answer.status == 200
            self.keys += number
            return [key["kid"] for key in (await answer.json())["keys"]]

    def calls(self) -> Iterable[tuple[str, Calls]]:
        """Return the calls that make no keys, by name."""
        kids = random.sample(self._kids, min(CALLS, len(self._kids)))
        aliases = {f"alias-{next(self._numbers)}": kid for kid in kids}
        sign: Calls = [("POST", "/sign", {"kid": kid, "data": "aGVsbG8="}) for kid in kids]
        often = CALLS // len(kids)
        middle = f"{self.keys // 2:020d}"
        named: dict[str, Calls] = {
            FIRST: sign,
            SIGN: sign * often,
            GET: [("GET", f"/key/{kid}", None) for _ in range(often) for kid in kids],
            ASSOCIATE: [
                ("POST", f"/key/{kid}/associate", {"alias": alias})
                for alias, kid in aliases.items()
            ],
            ALIAS: [
                ("GET", f"/key?alias={alias}", None) for _ in range(often) for alias in aliases
            ],
            **{
                name: [("GET", f"/keys?{query.format(middle)}", None)] * TIMES
                for name, query in PAGES.items()
            },
            NDJSON: [("GET", "/keys", None)],
            JWKS: [("GET", "/jwks.json", None)],
        }
        return named.items()

    async def make_more(self, costs: dict[str, Cost]) -> None:
        """Measure calls that make keys."""
        ed25519 = {"alg": "ed25519"}
        costs[GENERATE] = await self.cost([("POST", "/key/generate", ed25519)] * CALLS)
        batch = ("POST", "/key/generate/batch", {**ed25519, "count": BATCH})
        costs[THOUSAND] = await self.cost([batch])
        self.keys += CALLS + BATCH

    async def cost(self, calls: Calls, headers: Mapping[str, str] | None = None) -> Cost:
        """Measure the median time of calls, and the peak memory meanwhile."""
        Path(f"/proc/{self._pid}/clear_refs").write_text("5", "ascii")  # proc(5): forget the peak
        times = []
        for method, path, body in calls:
            begin = time.perf_counter()
            async with self._client.request(method, path, json=body, headers=headers) as answer:
                assert answer.status == 200, f"{method} {path}: {answer.status}"
                async for _ in answer.content.iter_chunked(1 << 16):
                    pass
            times.append(time.perf_counter() - begin)
        return Cost(statistics.median(times), memory(self._pid, "VmHWM"))


async def command_cost(command: str, arguments: Sequence[str]) -> Cost:
    """Measure the time of a command, and its peak memory."""
    words = (sys.executable, "-P", "-m", "minikms", *command.split(), *arguments)
    begin, peak = time.perf_counter(), 0.0
    async with process(*words, stdout=DEVNULL, stderr=DEVNULL) as run:
        while run.returncode is None:
            with contextlib.suppress(FileNotFoundError, LookupError):  # it has just ended
                peak = memory(run.pid, "VmHWM")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.wait(), 0.05)
        assert run.returncode == 0, f"{command} ended with {run.returncode}"
    return Cost(time.perf_counter() - begin, peak)


def memory(process: int, line: str = "VmRSS") -> float:
    """Read the resident memory of a process in MiB: the present one, or with VmHWM the peak."""
    found = re.search(rf"{line}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text("ascii"))
    if not found:
        raise LookupError(process)
    return int(found.group(1)) / 1024
