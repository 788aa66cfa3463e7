"""Rates of a key hold over several workers and services, even if one is killed."""

import asyncio
import os
import signal
import threading
import time

import pytest
from aiohttp import ClientSession, TCPConnector
from http_answers import ok

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]  # four workers start

MINUTE = 200
DAY = 200
WORKERS = 2


@pytest.fixture
def begin_pair(serve, persistent):
    """Start a service of two workers."""

    def begin():
        service = serve("--port", "0", "--workers", str(WORKERS), **persistent)
        # Nobody else reads its log, which would fill the pipe.
        threading.Thread(target=service.process.stderr.read, daemon=True).start()
        return service

    return begin


@pytest.fixture
async def make():
    """Make a key with these rules; gives a function that counts successful signatures."""
    # A new connection for each call, so that both workers get calls.
    async with ClientSession(connector=TCPConnector(force_close=True)) as session:

        async def run(service, **rules):
            body = {"alg": "ed25519", "rules": rules}
            url = f"http://{service.host}:{service.port}"
            key = await ok(await session.post(f"{url}/key/generate", json=body))
            body = {"kid": key["kid"], "data": "aGk"}

            async def passed(service, number):
                waiting, statuses = iter(range(number)), []

                async def caller():
                    url = f"http://{service.host}:{service.port}"
                    for _ in waiting:
                        async with session.post(f"{url}/sign", json=body) as answer:
                            statuses.append(answer.status)

                await asyncio.gather(*(caller() for _ in range(16)))
                assert set(statuses) <= {200, 429}
                return statuses.count(200)

            return passed

        yield run


async def test_two_workers_let_through_the_rate_of_a_key_and_so_does_each_service(begin_pair, make):
    services = begin_pair(), begin_pair()
    passed = await make(services[0], per_minute=MINUTE)
    for service, times in zip(services, (5, 2), strict=True):
        begun = time.monotonic()
        number = await passed(service, times * MINUTE)
        minutes = (time.monotonic() - begun) / 60
        assert MINUTE <= number <= 1 + MINUTE * max(1, minutes) * 1.1


async def test_a_service_that_is_killed_forgets_no_use_of_a_day(begin_pair, make):
    killed, other = begin_pair(), begin_pair()
    passed = await make(killed, per_day=DAY)
    number = await passed(killed, DAY // 2)
    assert number == DAY // 2
    os.killpg(killed.process.pid, signal.SIGKILL)
    number += await passed(other, DAY)
    # Each worker that was killed may have leased a fiftieth.
    assert DAY - WORKERS * (DAY // 50) <= number <= DAY
