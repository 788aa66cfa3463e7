"""Patroni as docs/high-availability.md shows it: its leader is killed under load."""

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from serve.acknowledged_calls import CACHE_TTL, CLIENTS, Ledger, under_load, until_made, until_ready
from serve.haproxy import needs_haproxy
from serve.patroni import Cluster, needs_patroni
from waiting import LONG, waiting_for

pytestmark = [
    pytest.mark.kill,
    pytest.mark.postgres,
    pytest.mark.timeout(900),  # three leaders are killed; each keeps its role for 20 s
    needs_haproxy,
    needs_patroni,
]

KILLS = 3

# Seconds that a caller rests between calls while a member comes back, which takes long.
PAUSE = 1


@pytest.fixture
async def cluster(make_store, answering):
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="minikms-")))
        folder.chmod(0o755)  # PostgreSQL runs as another user than root
        cluster = Cluster(folder)
        stack.callback(cluster.end)
        leader = await asyncio.to_thread(cluster.build)
        standbys = [member.name for member in cluster.members if member is not leader]
        await stack.enter_async_context(cluster.serving(make_store, answering, standbys))
        yield cluster


async def test_leaders_that_are_killed_in_turn(cluster, run):
    """Nothing that was acknowledged is lost or doubled: a batch has its keys, and no more."""
    ledger = Ledger()
    async with under_load(cluster.caller, ledger, keeps_on=True):
        for _ in range(KILLS):
            ledger.pause = PAUSE
            leader = await asyncio.to_thread(cluster.until_whole)
            ledger.pause = 0
            await until_made(ledger, 5 * CLIENTS)  # so that callers delete keys, too
            await asyncio.to_thread(leader.kill)
            await asyncio.to_thread(cluster.until_another_leads, leader)
            await until_made(ledger, CLIENTS)
            leader.start()
        ledger.pause = PAUSE
        leader = await asyncio.to_thread(cluster.until_whole)
        await without_etcd(cluster, leader, ledger)
    await asyncio.sleep(CACHE_TTL)
    for session in cluster.sessions:
        await until_ready(session)
        await ledger.check(session)
    assert ledger.deleted
    assert ledger.aliases
    assert any(ledger.batches.values())
    assert ledger.unanswered == []
    assert {status for status, _ in ledger.refused} == {503}
    ended = await asyncio.to_thread(partial(run, "store", "verify", **cluster.options))
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


async def without_etcd(cluster, leader, ledger):
    """The leader goes on while it reaches every other Patroni."""
    for member in cluster.members:
        member.end_etcd()
    async with waiting_for("a leader that does without etcd", LONG):
        while not (await asyncio.to_thread(leader.ask, "/patroni")).get("failsafe_mode_is_active"):
            await asyncio.sleep(0.2)
    await until_made(ledger, 5 * CLIENTS)
    for member in cluster.members:
        member.start_etcd()
    await asyncio.to_thread(cluster.until_whole)
