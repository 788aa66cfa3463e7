"""One of the processes that share a store sweeps it; if it is killed, another one begins."""

import asyncio
import subprocess
import sys
import time

import pytest
from waiting import waiting_for

from minikms.store import sweeps
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore
from minikms.store.sweeps import LastSweep, Sweeps

EVERY = 300

BEGIN = """
import asyncio, sys
from minikms.store import sweeps
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore

async def main():
    sweeps.LEASE = 1
    async with KeyStore.open(StoreLocation.parse(sys.argv[1]), StoreKey(sys.argv[2])) as store:
        while await store.sweeps.begin(300) is None:
            print("begun", flush=True)
            while True:
                await asyncio.sleep(0.2)
                await store.sweeps.renew()

asyncio.run(main())
"""


async def test_one_sweeps_at_a_time():
    async with KeyStore.open_memory() as store:
        one, other = Sweeps(store.database), Sweeps(store.database)
        taken = await asyncio.gather(*(each.begin(EVERY) for each in (one, other, one, other)))
        assert taken.count(None) == 1
        assert all(0 < wait <= sweeps.LEASE for wait in taken if wait is not None)
        await one.end(EVERY, LastSweep(left=3))
        wait = await other.begin(EVERY)
        assert wait is not None
        assert sweeps.LEASE < wait <= EVERY
        assert other.last.left == 3


async def test_a_time_that_a_wrong_clock_has_stored_does_not_count():
    async with KeyStore.open_memory() as store:
        await store.sweeps.end(10 * EVERY, LastSweep())
        assert await store.sweeps.begin(EVERY) is None


@pytest.mark.process
async def test_another_process_begins_once_the_one_that_sweeps_is_killed(
    persistent_url, make_store
):
    options = await make_store(persistent_url)
    url, key = options["store"], options["store_key"]
    command = [sys.executable, "-c", BEGIN, url, key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert await asyncio.to_thread(process.stdout.readline) == "begun\n"
            async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
                for _ in range(10):  # longer than its first lease
                    assert await store.sweeps.begin(EVERY) is not None
                    await asyncio.sleep(0.2)
                process.kill()
                killed = time.time_ns()
                async with waiting_for("the turn"):
                    while await store.sweeps.begin(EVERY) is not None:
                        await asyncio.sleep(0.05)
                assert store.sweeps.last.next > killed
        finally:
            process.kill()
