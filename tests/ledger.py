"""What a service has acknowledged under load, which is to hold whatever happened meanwhile."""

import asyncio
import contextlib
import itertools
import random
import time

from aiohttp import ClientError
from waiting import waiting_for

CLIENTS = 16


class Ledger:
    """The answers of a service to many clients, and the calls without an answer."""

    def __init__(self):
        self.made = 0
        self.named = 0
        self.kids = set()  # made, and not asked to be deleted
        self.deleted = set()
        self.aliases = {}  # of an alias that only one client moves, the key that it names
        self.unanswered = []
        self.refused = []  # status, and slug of the problem; "" where it is no problem of ours
        self.slowest = 0.0  # in seconds, of calls that were answered
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
                    self.named += 1
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
        begun = time.monotonic()
        async with session.request(method, path, json=body) as response:
            is_json = response.content_type.endswith("json")  # a load balancer's is not
            answer = await response.json(content_type=None) if is_json else {}
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if response.status != 200:
                slug = answer.get("type", "").rpartition(":")[2]
                raise RefusedError(response.status, slug)
            return answer

    async def check(self, session):
        """Every key whose 200 was received signs, and every acknowledged deletion holds."""
        assert await self.lost(session) == []

    async def lost(self, session):
        """What was acknowledged and does not hold."""
        lost = []
        for wanted, kids in ((200, self.kids), (404, self.deleted)):
            for batch in batches(kids):
                found = await asyncio.gather(*(sign_status(session, kid) for kid in batch))
                lost += [pair for pair in zip(batch, found, strict=True) if pair[1] != wanted]
        for alias, kid in self.aliases.items():
            async with session.get("/key", params={"alias": alias}) as response:
                named = (await response.json()).get("kid")
                if named != kid:
                    lost.append((alias, response.status, named))
        return lost


class RefusedError(Exception):
    """An answer that is not a success."""


def batches(kids):
    kids = sorted(kids)
    return [kids[start : start + CLIENTS] for start in range(0, len(kids), CLIENTS)]


async def status(session, path):
    async with session.get(path) as response:
        return response.status


async def sign_status(session, kid):
    async with session.post("/sign", json={"kid": kid, "data": "aGVsbG8="}) as response:
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
    async with waiting_for(f"{more} more keys"):
        while ledger.made < made + more:
            await asyncio.sleep(0.005)
