"""Durability after a kill: of the service, of one of two, of PostgreSQL."""

import asyncio
import contextlib
import itertools
import os
import random
import signal
from functools import partial

import pytest
from aiohttp import ClientError

pytestmark = pytest.mark.kill

CLIENTS = 16
ROUNDS = int(os.environ.get("MINIKMS_TEST_KILL_ROUNDS", "6"))


class Ledger:
    """The answers of a service to many clients, and the calls without an answer."""

    def __init__(self):
        self.made = 0
        self.kids = set()  # made, and not asked to be deleted
        self.deleted = set()
        self.aliases = {}  # of an alias that only one client moves, the key that it names
        self.unanswered = []
        self.refused = []
        self.numbers = itertools.count()

    async def client(self, session, stop, *, keeps_on=False):
        """Make, name, use and delete keys until `stop`, or until the service is gone."""
        chance, own = random.Random(next(self.numbers)), []
        alias = f"{id(self)} {next(self.numbers)}"
        while not stop.is_set():
            try:
                made = await self.call(session, "POST", "/key/generate", {"alg": "ed25519"})
                kid = made["kid"]
                own.append(kid)
                self.kids.add(kid)
                self.made += 1
                if chance.random() < 0.6:
                    # Until it is answered it may name either key.
                    self.aliases.pop(alias, None)
                    body = {"alias": alias}
                    await self.call(session, "POST", f"/key/{kid}/associate", body)
                    self.aliases[alias] = kid
                await self.sign(session, chance.choice(own))
                if len(own) > 3:
                    gone = own.pop(chance.randrange(len(own)))
                    self.kids.discard(gone)
                    if self.aliases.get(alias) == gone:
                        del self.aliases[alias]
                    await self.call(session, "DELETE", f"/key/{gone}")
                    self.deleted.add(gone)
            except (ClientError, OSError) as exc:
                self.unanswered.append(exc)
                if not keeps_on:
                    return
                await asyncio.sleep(0.05)
            except RefusedError as exc:
                self.refused.append(exc.args)
                await asyncio.sleep(0.05)

    async def sign(self, session, kid):
        signed = await self.call(session, "POST", "/sign", {"kid": kid, "data": "aGVsbG8="})
        assert signed["kid"] == kid

    async def call(self, session, method, path, body=None):
        async with session.request(method, path, json=body) as response:
            answer = await response.json(content_type=None)
            if response.status != 200:
                raise RefusedError(response.status, answer)
            return answer

    async def check(self, session):
        """Every key whose 200 was received signs, and every acknowledged deletion holds."""
        for kids in batches(self.kids):
            await asyncio.gather(*(self.sign(session, kid) for kid in kids))
        for kids in batches(self.deleted):
            for answer in asyncio.as_completed([status(session, f"/key/{kid}") for kid in kids]):
                assert await answer == 404
        for alias, kid in self.aliases.items():
            async with session.get("/key", params={"alias": alias}) as response:
                assert (response.status, (await response.json())["kid"]) == (200, kid)


class RefusedError(Exception):
    """An answer that is not a success."""


def batches(kids):
    kids = sorted(kids)
    return [kids[start : start + CLIENTS] for start in range(0, len(kids), CLIENTS)]


async def status(session, path):
    async with session.get(path) as response:
        return response.status


@contextlib.asynccontextmanager
async def under_load(session, ledger, **options):
    """Clients that call until the block ends."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(ledger.client(session, stop, **options))
        try:
            yield
        finally:
            stop.set()


async def until_made(ledger, more):
    made = ledger.made
    async with asyncio.timeout(60):
        while ledger.made < made + more:
            await asyncio.sleep(0.005)


def verified(run, options):
    ended = run("store", "verify", **options)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


async def test_the_service_is_killed(answering, run, persistent):
    ledger, chance = Ledger(), random.Random(1)
    for _ in range(ROUNDS):
        service, session = await answering(persistent)
        async with session:
            await ledger.check(session)
            async with under_load(session, ledger):
                # So many keys that clients come to delete some, however slow the machine is.
                await until_made(ledger, CLIENTS * (1 + 9 * chance.random()))
                await asyncio.sleep(0.02 * chance.random())
                service.process.send_signal(signal.SIGKILL)
        service.end()
        verified(run, persistent)
    assert ledger.refused == []
    assert len(ledger.unanswered) > ROUNDS  # the kill came in the middle
    assert len(ledger.kids) > CLIENTS * ROUNDS
    assert ledger.deleted
    _, session = await answering(persistent)
    async with session:
        await ledger.check(session)
        async with session.get("/keys", headers={"Accept": "application/x-ndjson"}) as response:
            listed = [line async for line in response.content]
    assert len(listed) >= len(ledger.kids)


async def test_one_of_two_copies_is_killed(answering, run, make_store, postgres_server):
    options = await make_store(postgres_server.create_database())
    first, to_first = await answering(options)
    _, to_second = await answering(options)
    killed, left = Ledger(), Ledger()
    async with to_first, to_second:
        async with under_load(to_second, left), under_load(to_first, killed):
            await asyncio.sleep(1)
            first.process.send_signal(signal.SIGKILL)
            await asyncio.sleep(1)
        assert (left.unanswered, left.refused, killed.unanswered != []) == ([], [], True)
        await left.check(to_second)
        await killed.check(to_second)
    verified(run, options)


@pytest.mark.parametrize("own_postgres", [{"durable": True}], indirect=True)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgresql_is_restarted_under_load(answering, run, make_store, own_postgres, mode):
    options = await make_store(own_postgres.create_database())
    ledger, restart = Ledger(), partial(own_postgres.restart, mode)
    service, session = await answering(options)
    async with session:
        async with under_load(session, ledger, keeps_on=True):
            for _ in range(3):
                await asyncio.sleep(1)
                await asyncio.to_thread(restart)
            made = ledger.made
            await asyncio.sleep(2)
        assert ledger.made > made
        assert ledger.unanswered == []
        slugs = {(status, body["type"].rpartition(":")[2]) for status, body in ledger.refused}
        assert slugs == {(503, "store-unavailable")}
        await ledger.check(session)
    assert service.process.poll() is None
    verified(run, options)


async def test_a_stop_while_postgresql_hangs(answering, make_store, own_postgres):
    options = await make_store(own_postgres.create_database())
    service, session = await answering(options)
    async with session:
        own_postgres.pause()
        hanging = [status(session, "/keys") for _ in range(20)]
        assert set(await asyncio.gather(*hanging)) == {503}
        service.process.terminate()
        assert await asyncio.to_thread(service.process.wait, 60) == 0
        own_postgres.resume()
