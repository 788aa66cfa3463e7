"""Calls that a service acknowledged under load, whose effects have to hold."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import time
from base64 import urlsafe_b64encode
from collections import Counter

from aiohttp import ClientError
from waiting import LONG, waiting_for

CLIENTS = 16

# Seconds after which every service on a store has seen a change, also if its notice was lost: the
# default of --cache-ttl.
CACHE_TTL = 5

# Keys of a batch.
BATCH = 3


class Ledger:
    """The answers of a service to many clients, and the calls without an answer."""

    def __init__(self):
        self.made = 0
        self.named = 0
        self.kids = set()  # made, and not asked to be deleted
        self.deleted = set()
        self.replaced = set()  # by a rotation that was answered
        self.batches = {}  # by their label, whether they were answered
        self.aliases = {}  # of an alias that only one client moves, the key that it names
        self.unanswered = []
        self.refused = []  # status, and slug of the problem; "" for a foreign body
        self.slowest = 0.0  # in seconds, of calls that were answered
        self.pause = 0.0  # in seconds, of a client between its turns
        self.numbers = itertools.count()

    async def client(self, session, stop, *, keeps_on=False):
        """Make, name, rotate, use and delete keys until `stop`, or until the service is gone."""
        chance, own = random.Random(next(self.numbers)), []
        alias = f"{id(self)} {next(self.numbers)}"
        while not stop.is_set():
            try:
                kid = await self.make(session, chance)
                own.append(kid)
                if chance.random() < 0.6:
                    # Until it is answered it may name either key.
                    self.aliases.pop(alias, None)
                    body = {"alias": alias}
                    await self.call(session, "POST", f"/key/{kid}/associate", body)
                    self.aliases[alias] = kid
                    self.named += 1
                if chance.random() < 0.2:
                    own.remove(kid)  # it may be replaced, whatever the answer is
                    own.append(await self.rotate(session, kid, alias))
                if chance.random() < 0.1:
                    await self.make_batch(session)
                await self.sign(session, chance.choice(own))
                if len(own) > 2:
                    gone = own.pop(chance.randrange(len(own)))
                    self.kids.discard(gone)
                    if self.aliases.get(alias) == gone:
                        del self.aliases[alias]
                    await self.call(session, "DELETE", f"/key/{gone}")
                    self.deleted.add(gone)
                await asyncio.sleep(self.pause)
            except (ClientError, OSError) as exc:
                self.unanswered.append(exc)
                if not keeps_on:
                    return
                await asyncio.sleep(0.05)
            except RefusedError as exc:
                self.refused.append(exc.args)
                await asyncio.sleep(0.2)

    async def make(self, session, chance):
        """A new key, generated or imported."""
        path, body = "/key/generate", {"alg": "ed25519"}
        if chance.random() < 0.3:
            path = "/key/import"
            body["secret"] = urlsafe_b64encode(os.urandom(32)).decode()
        kid = (await self.call(session, "POST", path, body))["kid"]
        self.kids.add(kid)
        self.made += 1
        return kid

    async def make_batch(self, session):
        """Keys that nobody deletes, with a label by which they are counted."""
        label = f"{id(self)} {next(self.numbers)}"
        self.batches[label] = False
        body = {"alg": "ed25519", "count": BATCH, "labels": {"batch": label}}
        made = await self.call(session, "POST", "/key/generate/batch", body)
        self.batches[label] = True
        self.kids.update(key["kid"] for key in made["keys"])

    async def rotate(self, session, kid, alias):
        """The key that replaces another, which may have the alias."""
        self.kids.discard(kid)
        named = self.aliases.pop(alias, None)  # either of the two, until it is answered
        new = (await self.call(session, "POST", f"/key/{kid}/rotate"))["kid"]
        self.kids.add(new)
        self.replaced.add(kid)
        if named is not None:
            self.aliases[alias] = new if named == kid else named
        return new

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
        """Check that every acknowledged key signs, and every acknowledged deletion holds."""
        assert await self.lost(session) == []

    async def lost(self, session):
        """Acknowledged effects that do not hold."""
        lost = []
        kept = self.replaced - self.deleted
        for wanted, kids in ((200, self.kids), (404, self.deleted), (409, kept)):
            for batch in batches(kids):
                found = await asyncio.gather(*(sign_status(session, kid) for kid in batch))
                lost += [pair for pair in zip(batch, found, strict=True) if pair[1] != wanted]
        for alias, kid in self.aliases.items():
            async with session.get("/key", params={"alias": alias}) as response:
                named = (await response.json()).get("kid")
                if named != kid:
                    lost.append((alias, response.status, named))
        return lost + await self.broken_batches(session)

    async def broken_batches(self, session):
        """Batches that lack keys: some of them, or all although the call was answered."""
        found = Counter()
        async with session.get("/keys", headers={"Accept": "application/x-ndjson"}) as response:
            async for line in response.content:
                found[json.loads(line)["labels"].get("batch")] += 1
        return [
            (label, found[label])
            for label, answered in self.batches.items()
            if found[label] != BATCH and (answered or found[label])
        ]


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
    async with waiting_for(f"{more} more keys", LONG):
        while ledger.made < made + more:
            await asyncio.sleep(0.005)


async def until_ready(session):
    async with waiting_for("a copy that is ready", LONG):
        while await status(session, "/readyz") != 200:
            await asyncio.sleep(0.05)
