"""Histories of services under faults, compared with models of what may happen (history_models.py).

Clients change and use keys for half a minute, while processes are killed and stopped, and
connections to PostgreSQL are stalled, delayed and closed. `MINIKMS_TEST_HISTORY_SEED` repeats the
choices of a run, though not its times; `MINIKMS_TEST_HISTORY_SECONDS` is its length. Each run
prints both.

The models were tried with deliberate faults of the service, in runs of 30 to 60 seconds:

| fault | found by |
|---|---|
| a write is acknowledged before its commit | states of keys |
| an outcome that is unknown is told as not done | deletions of keys |
| notices and checks are ignored | states of keys |
| cached keys are used without a check, however old (notices are ignored) | aliases |
| a service does not count its own changes | states of keys |
| a new state is not announced | states of keys |
| a revoked token is not announced | tokens |
| workers do not share counters | states of keys (second seed) |
| the key of an alias is cached forever | aliases |
| another call moves an alias back, once in ten times | aliases |
| a profile gets one key too many; a deleted key counts | the number of keys |
| each service counts `per_day` by itself; the store leases more than that (second seed) | uses |
| a second call makes another next key of a key | next keys |
| a refusal leaves no audit line, or two | the audit log |
| an audit line is written a second after the answer | the audit log |
| a turn of the event loop writes no line if its first call has none | the audit log |

Not found: a write that does not count the changes by others
(test_unannounced_changes.py finds it); ignored notices alone, since `--cache-ttl` is the promise.
"""

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress

import psutil
import pytest
from aiohttp import ClientError, ClientSession
from ports import free_port
from proxy import Proxy
from serve.history import History, Target
from serve.history_load import Load
from serve.history_models import violations
from waiting import LONG, waiting_for

SECONDS = float(os.environ.get("MINIKMS_TEST_HISTORY_SECONDS", "30"))
SEED = os.environ.get("MINIKMS_TEST_HISTORY_SEED") or str(random.randrange(10**6))

# Clients of each of three services: each number is the share of changes in a client's calls.
# Clients without changes go on by the cache while a service does not reach its database.
CLIENTS = 0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.5
TTL = 1  # --cache-ttl

# Seconds of a fault. A service that stands still holds a profile for five, before others change it.
LENGTHS = 0.2, 1, 3, 8

pytestmark = [pytest.mark.kill, pytest.mark.timeout(4 * SECONDS + 300)]


class Copy(Target):
    """One of several services on a PostgreSQL, which it reaches through its own proxy."""

    def __init__(self, number, serve, options, folder, server):
        self._serve, self._options = serve, options
        self._port = free_port()
        self._log = folder / f"audit-{number}.log"
        self.proxy = Proxy(server.port)
        super().__init__(f"http://127.0.0.1:{self._port}", lag=TTL)

    def begin(self):
        super().begin()
        options = self._options | {"store": self.proxy.url(self._options["store"])}
        args = ["--port", str(self._port), "--cache-ttl", str(TTL), "--log-level", "warning"]
        args += ["--vault-port", str(self.vault_port)]
        self.service = self._serve(*args, "--audit-log", str(self._log), wait=False, **options)

    async def held(self, seconds):
        """Nothing passes between the service and the database."""
        self.proxy.cut()
        await asyncio.sleep(seconds)
        self.proxy.heal()

    async def dropped(self, seconds):
        """Nothing passes on the open connections, such as the one of notices."""
        held = self.proxy.drop()
        await asyncio.sleep(seconds)
        held.set()

    async def ended(self, seconds):
        """All connections end, once."""
        self.proxy.end_all()

    async def delayed(self, seconds):
        """All that passes is late."""
        self.proxy.delay = 0.1
        await asyncio.sleep(seconds)
        self.proxy.delay = 0

    async def stopped(self, seconds):
        """The process stands still."""
        self.service.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.service.process.send_signal(signal.SIGCONT)

    async def killed(self, seconds):
        """The process is killed, and replaced after a while."""
        self.service.process.kill()
        await asyncio.sleep(seconds)
        await begin(self)

    faults = held, held, dropped, dropped, ended, ended, ended, delayed, stopped, killed


class Workers(Target):
    """A service of two workers on an SQLite file."""

    def __init__(self, serve, options, folder):
        self._serve, self._options = serve, options
        self._port, self._log = free_port(), folder / "audit.log"
        super().__init__(f"http://127.0.0.1:{self._port}", lag=0)

    def begin(self):
        super().begin()
        args = ["--port", str(self._port), "--workers", "2", "--log-level", "warning"]
        args += ["--vault-port", str(self.vault_port), "--audit-log", str(self._log)]
        self.service = self._serve(*args, wait=False, **self._options)

    def _worker(self):
        children = psutil.Process(self.service.process.pid).children()
        workers = [each for each in children if "spawn_main" in "".join(each.cmdline())]
        return workers[int(time.monotonic() * 1000) % len(workers)]

    async def stopped(self, seconds):
        """A worker stands still."""
        with suppress(psutil.NoSuchProcess, ZeroDivisionError):  # it is being replaced
            worker = self._worker()
            worker.suspend()
            await asyncio.sleep(seconds)
            worker.resume()

    async def killed(self, seconds):
        """A worker is killed."""
        with suppress(psutil.NoSuchProcess, ZeroDivisionError):
            self._worker().kill()

    async def all_killed(self, seconds):
        """All processes are killed, and replaced after a while."""
        os.killpg(self.service.process.pid, signal.SIGKILL)
        await asyncio.sleep(seconds)
        await begin(self)

    faults = stopped, stopped, killed, killed, killed, all_killed


async def begin(target):
    """Start a service and wait until it answers; again if it ends, since it found no database."""
    async with waiting_for("a service that answers", LONG), ClientSession() as session:
        while True:
            target.begin()
            log = threading.Thread(target=target.service.process.stderr.read, daemon=True)
            log.start()  # so that its pipe is never full
            while target.service.process.poll() is None:
                with suppress(ClientError):
                    async with session.get(target.url + "/healthz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)


@pytest.fixture
async def options(make_store, admin):
    """Options of services on a new store whose callers need tokens, and the operator's one."""

    async def make(url):
        guarded = {"auth": "token", "admin_token_file": admin[1], "max_wrong_tokens": "100000"}
        return await make_store(url) | guarded

    return make


async def trouble(target, chance, stop, begun):
    """Let one fault follow another until `stop`, after which none is left."""
    while not stop.is_set():
        await asyncio.sleep(chance.uniform(0.5, 4))
        fault = chance.choice(target.faults)
        begun[fault.__name__] += 1
        await fault(target, chance.choice(LENGTHS))


async def run(targets, folder, admin):
    """Run clients and faults for a while, and compare the answers with the models."""
    chance, stop, begun = random.Random(SEED), asyncio.Event(), Counter()
    async with AsyncExitStack() as stack:
        history = History(admin)
        stack.push_async_callback(history.close)
        await asyncio.gather(*(begin(target) for target in targets))
        load = Load(history, targets, chance)
        await load.at(targets[0]).make_all()
        async with asyncio.TaskGroup() as group:
            for target in targets:
                for changing in CLIENTS * (3 // len(targets)):
                    group.create_task(load.at(target, 9).client(stop, changing))
                group.create_task(trouble(target, chance, stop, begun))
            await asyncio.sleep(SECONDS)
            stop.set()
        await asyncio.sleep(TTL + 1)
        for target in targets:
            await load.at(target).read_all()
            await target.faults[-1](target, 0)  # killed and replaced
            await load.at(target).read_all()
    calls = history.calls
    print(f"seed {SEED}: {len(calls)} calls in {SECONDS:g} s; {dict(begun)}")
    print(Counter((call.about.partition(" ")[0], call.slug or call.status) for call in calls))
    logs = [log.read_text().splitlines() for log in folder.glob("audit*.log")]
    return violations(calls, [json.loads(line) for log in logs for line in log])


async def test_three_services_on_one_postgresql(serve, options, admin, tmp_path, postgres_server):
    given = await options(postgres_server.create_database())
    copies = [Copy(n, serve, given, tmp_path, postgres_server) for n in range(3)]
    async with AsyncExitStack() as stack:
        for copy in copies:
            await stack.enter_async_context(copy.proxy)
        assert await run(copies, tmp_path, admin[0]) == []
        for copy in copies:
            copy.service.process.kill()  # before its connections end


async def test_two_workers_on_a_file(serve, options, admin, tmp_path):
    workers = Workers(serve, await options(f"sqlite://{tmp_path}/keys.db"), tmp_path)
    assert await run([workers], tmp_path, admin[0]) == []
