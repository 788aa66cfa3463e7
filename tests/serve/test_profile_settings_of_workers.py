"""The settings of a profile in several services and workers: exact, or as far as documented."""

import asyncio
import threading
import time

import pytest
from aiohttp import ClientSession, TCPConnector
from http_answers import ok
from problems import slug_of

pytestmark = pytest.mark.process

ALICE = {"X-Profile": "alice"}
MAKERS = 64
MOST = 100
RATE = 100
CALLS = 3_000


@pytest.fixture
def begin_pair(serve):
    """Start a service of two workers, and give its URL."""

    def begin(options):
        service = serve("--port", "0", "--workers", "2", **options)
        # Nobody else reads its log, which would fill the pipe.
        threading.Thread(target=service.process.stderr.read, daemon=True).start()
        return f"http://{service.host}:{service.port}"

    return begin


async def many(sessions, number, call):
    """The statuses of `number` calls, by 64 callers at a time of these services in turn."""
    waiting = iter(range(number))
    statuses = []

    async def caller(session):
        for _ in waiting:
            statuses.append(await call(session))

    await asyncio.gather(*(caller(sessions[turn % len(sessions)]) for turn in range(MAKERS)))
    return statuses


async def generate(session):
    """Make a key, or be refused; again if the store of a busy machine has done nothing in time."""
    while True:
        async with session.post("/key/generate", json={"alg": "ed25519"}, headers=ALICE) as answer:
            slug = await slug_of(answer)
            if slug != "store-unavailable":
                assert slug in ("", "too-many-keys")
                return answer.status
            assert "outcome" not in await answer.json()


@pytest.mark.timeout(120)  # four workers start
async def test_64_makers_on_two_services_make_as_many_keys_as_allowed(begin_pair, persistent):
    urls = begin_pair(persistent), begin_pair(persistent)
    async with ClientSession(urls[0]) as one, ClientSession(urls[1]) as other:
        await ok(await one.post("/profile", json={"name": "alice"}))
        await ok(await one.patch("/profile/alice", json={"max_keys": MOST}))
        statuses = await many([one, other], 4 * MOST, generate)
        assert sorted(statuses) == [200] * MOST + [422] * (3 * MOST)
        listed = await ok(await other.get("/keys?limit=1000", headers=ALICE))
        assert len(listed) == MOST
        deleted = [other.delete(f"/key/{key['kid']}", headers=ALICE) for key in listed[:30]]
        for answer in await asyncio.gather(*deleted):
            await ok(answer)
        statuses = await many([one, other], MOST, generate)
        assert sorted(statuses) == [200] * 30 + [422] * (MOST - 30)


@pytest.mark.timeout(120)  # thousands of calls
async def test_two_workers_let_through_the_rate_of_a_profile(begin_pair, persistent):
    # A new connection for each call, so that both workers get calls.
    connector = TCPConnector(force_close=True)
    async with ClientSession(begin_pair(persistent), connector=connector) as session:
        await ok(await session.post("/profile", json={"name": "alice"}))
        made = await session.post("/key/generate", json={"alg": "ed25519"}, headers=ALICE)
        body = {"kid": (await ok(made))["kid"], "data": "aGk"}

        async def sign(session):
            async with session.post("/sign", json=body, headers=ALICE) as answer:
                return answer.status

        assert await many([session], 64, sign) == [200] * 64  # each worker has cached the key
        await ok(await session.patch("/profile/alice", json={"calls_per_second": RATE}))
        begun = time.monotonic()
        statuses = await many([session], CALLS, sign)
        seconds = time.monotonic() - begun
    passed = statuses.count(200)
    assert passed + statuses.count(429) == CALLS
    # From rest, the calls of a second pass at once; each worker learns of the rate by a call.
    assert 0.9 * RATE * (seconds - 1) <= passed <= 1.1 * RATE * (seconds + 1) + 2 * MAKERS
