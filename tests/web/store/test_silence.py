"""Silence of PostgreSQL: connections that die without a reset, and a server that stands still."""

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from proxy import Proxy
from waiting import until, waiting_for

from minikms.config import Config
from minikms.http.state import CONFIG
from minikms.serve.assembly import create_service
from minikms.store.connections import pool
from minikms.web.state import STORE

GENERATE = "POST", "/key/generate", {"alg": "ed25519"}
READY = "GET", "/readyz", None

# In seconds, as docs/operations/stores.md has them: every answer, and when a service writes again
# once new connections work.
ANSWERED, BACK = 5, 10
# For a machine that is busy with other tests: of an answer, and of a service that writes again.
MARGIN, RECOVERY_MARGIN = 10, 40

pytestmark = pytest.mark.timeout(120)  # a test waits for two recoveries

END_SLEEP = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"""


@pytest.fixture
async def proxy(own_postgres):
    async with Proxy(own_postgres.port) as proxy:
        yield proxy


@pytest.fixture
def url_options():
    """The query of the store's URL."""
    return ""


@pytest.fixture
async def client(start, make_store, own_postgres, proxy, url_options):
    options = await make_store(own_postgres.create_database())
    options["store"] = proxy.url(options["store"]) + url_options
    client = await start(create_service(Config(**options)))
    assert await answers(client) == {200}
    return client


async def answer(client, method, path, body):
    """The status of an answer, which comes within the documented limit."""
    begun = time.monotonic()
    async with client.request(method, path, json=body) as response:
        assert response.status in (200, 503), await response.text()
        assert time.monotonic() - begun < ANSWERED + MARGIN
        return response.status


async def answers(client):
    """The statuses of enough calls for every connection that the service may have."""
    return set(await asyncio.gather(*(answer(client, *call) for call in [GENERATE, READY] * 20)))


async def recovers(client):
    """Wait until ten writes in a row are done, within the documented limit."""
    begun, done = time.monotonic(), 0
    while done < 10:
        done = done + 1 if await answer(client, *GENERATE) == 200 else 0
        assert time.monotonic() - begun < BACK + RECOVERY_MARGIN
    assert await answer(client, *READY) == 200


async def fails(client):
    async with waiting_for("a write that fails"):
        while await answer(client, *GENERATE) == 200:
            pass


def reopened(client):
    return client.app[STORE].database.pool.reopened


async def test_connections_that_were_dropped(client, proxy, caplog):
    held = proxy.drop()
    await recovers(client)
    assert reopened(client) == 1
    errors = client.app[STORE].database.pool.errors
    assert [errors["dead"] > 0, errors["slow"]] == [True, 0]
    assert [" does not answer" in caplog.text, " answers again" in caplog.text] == [True, True]
    # The hanging call ends with its connection, and then its pool ends.
    closing = client.app[STORE].database._pool.closing
    assert len(closing) == 1
    held.set()
    await until("the old pool to be closed", lambda: not closing)


async def test_a_network_that_was_cut(client, proxy):
    proxy.cut()
    await fails(client)
    assert await answer(client, *READY) == 503
    assert await answer(client, *READY) == 503  # a call after the hanging ones, too
    proxy.drop()  # only new connections work
    await recovers(client)
    assert reopened(client) == 1


async def test_backends_that_stand_still(client, own_postgres):
    with own_postgres.backends_paused():
        await recovers(client)
        assert reopened(client) == 1
    await recovers(client)


async def test_the_number_of_hanging_pools_is_bounded(client, proxy, caplog, monkeypatch):
    monkeypatch.setattr(pool, "_MOST_OLD", 1)
    monkeypatch.setattr(pool, "_LONG_PAUSE", 0.1)
    held = proxy.drop()
    await recovers(client)
    assert await answers(client) == {200}
    proxy.drop()
    assert 503 in await answers(client)
    await until("no third pool", lambda: "calls that hang" in caplog.text)
    assert reopened(client) == 1
    held.set()
    await until("the first pool to be closed, and a third", lambda: reopened(client) == 2)
    await recovers(client)


@pytest.mark.parametrize("url_options", ["?connect_timeout=4"])
async def test_a_row_that_is_locked_for_long(client, own_postgres, caplog):
    """A server that answers is not silent: its refusal comes before the caller gives up."""
    database = client.app[CONFIG].store.rpartition("/")[2].partition("?")[0]
    lock = "BEGIN; SELECT id FROM profiles FOR UPDATE; SELECT pg_sleep(600);"
    with subprocess.Popen(
        [*own_postgres.psql(database), "-c", lock],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        try:
            await fails(client)
            assert await answer(client, "GET", "/keys", None) == 200
            assert "does not answer" not in caplog.text
        finally:
            own_postgres.execute(END_SLEEP)
    await recovers(client)


async def test_readiness_asks_for_a_write_where_writes_fail(client, own_postgres):
    own_postgres.set("default_transaction_read_only", "on")
    await fails(client)
    assert await answer(client, "GET", "/keys", None) == 200
    assert await answer(client, *READY) == 503
    own_postgres.set("default_transaction_read_only", "off")
    await recovers(client)


async def test_a_synchronous_standby_that_is_away(client, own_postgres):
    own_postgres.set("synchronous_standby_names", "nobody")
    await fails(client)
    assert await answer(client, *READY) == 503
    assert await answer(client, "GET", "/keys", None) == 200
    own_postgres.set("synchronous_standby_names", "")
    await recovers(client)


COPY = """
import asyncio, os, signal, sys
from minikms.errors import StoreUnavailable
from minikms.store.keys.key_store import KeyStore
from minikms.store.askar.location import StoreKey, StoreLocation

async def stand_still(session):
    await session.insert("test", "frozen", b"")
    print("stands still", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

async def write(session):
    await session.insert("test", "done", b"")

async def main(url, key):
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
        try:
            await store.database.run("default", stand_still, write=True)
        except StoreUnavailable:
            print("was refused", flush=True)
        while True:
            try:
                await store.database.run("default", write, write=True)
                break
            except StoreUnavailable:
                pass
    print("goes on", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.process
async def test_a_copy_that_stands_still_in_a_transaction(client):
    config = client.app[CONFIG]
    copy = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COPY, config.store, config.store_key, stdout=subprocess.PIPE
    )
    try:
        async with waiting_for("a copy that stands still"):
            assert await copy.stdout.readline() == b"stands still\n"
        assert await answer(client, *GENERATE) == 503  # its profile is locked
        await recovers(client)
        copy.send_signal(signal.SIGCONT)
        async with waiting_for("the copy"):
            assert await copy.stdout.read() == b"was refused\ngoes on\n"
            assert await copy.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            copy.kill()
        await copy.wait()
