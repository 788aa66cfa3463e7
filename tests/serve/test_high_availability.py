"""The setup of docs/high-availability.md: two copies, a primary with a standby, and haproxy.

With `MINIKMS_TEST_FAILOVER_ROUNDS=20` and `-s` it prints the rows of the page's table.
"""

import asyncio
import contextlib
import os
import statistics
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from serve.acknowledged_calls import (
    CACHE_TTL,
    CLIENTS,
    Ledger,
    status,
    under_load,
    until_made,
    until_ready,
)
from serve.haproxy import needs_haproxy
from serve.high_availability import COPIES, OPTIONS, Setup
from waiting import LONG, waiting_for

ROUNDS = int(os.environ.get("MINIKMS_TEST_FAILOVER_ROUNDS", "1"))

pytestmark = [
    pytest.mark.kill,
    pytest.mark.postgres,
    pytest.mark.timeout(900 * ROUNDS),  # a round fails over, and builds the standby again
    needs_haproxy,
]
# The page's bound in seconds from the promotion to the next write, and a margin for a machine that
# is busy with other tests.
BACK, MARGIN = 15, 15

# Seconds that a caller rests between calls while a copy is away, which takes long.
PAUSE = 1


@pytest.fixture
async def setup(make_store, answering):
    """The deployment of the page, with a session of a caller and one for each copy."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="minikms-")))
        folder.chmod(0o755)  # PostgreSQL runs as another user than root
        setup = Setup(folder)
        stack.callback(setup.end)
        for machine in setup.machines:
            await stack.enter_async_context(machine.network)
        await asyncio.to_thread(setup.build)
        await stack.enter_async_context(setup.serving(make_store, answering, ["db-2"]))
        yield setup


def killed(machine):
    machine.server.kill()


def frozen(machine):
    machine.server.pause()


def cut_off(machine):
    machine.network.cut()


FAULTS = killed, frozen, cut_off


async def test_primaries_that_fail_in_turn(setup, run):
    # Writes acknowledged around one kind of fault must survive the next faults.
    ledgers, back = {fault: Ledger() for fault in FAULTS}, defaultdict(list)
    for _ in range(ROUNDS):
        for fault, ledger in ledgers.items():
            async with under_load(setup.caller, ledger, keeps_on=True):
                await until_made(ledger, 5 * CLIENTS)  # so that callers delete keys, too
                back[fault].append(await fail_over(setup, fault, ledger))
                for session in setup.sessions:
                    await until_ready(session)
            await asyncio.to_thread(setup.add_standby)
    await asyncio.sleep(CACHE_TTL)
    for fault, ledger in ledgers.items():
        print_row(fault.__name__, ledger, back[fault])
        for session in setup.sessions:
            assert await ledger.lost(session) == []
        assert ledger.deleted
        assert ledger.aliases
        assert ledger.unanswered == []
        assert {status for status, _ in ledger.refused} == {503}
    await without_a_standby(setup)
    ended = await asyncio.to_thread(partial(run, "store", "verify", **setup.options))
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


async def fail_over(setup, fault, ledger):
    """Promote the standby of a primary that fails; gives the seconds until writes go on."""
    old = setup.primary
    await asyncio.to_thread(fault, old)
    await asyncio.to_thread(setup.haproxy.wait_until, "postgresql", old.name, "DOWN")
    if fault is not killed:  # no other is promoted before its machine is off
        await asyncio.to_thread(old.server.kill)
    begun, made = time.monotonic(), ledger.made
    await asyncio.to_thread(setup.promote)
    while ledger.made < made + CLIENTS:
        await asyncio.sleep(0.01)
        assert time.monotonic() - begun < BACK + MARGIN
    old.network.heal()
    return time.monotonic() - begun


async def without_a_standby(setup):
    """Writes wait for the standby and fail; reads succeed. Then the primary works without it."""
    copy = setup.sessions[0]
    await asyncio.to_thread(setup.standby.server.kill)
    assert await write(copy) == 503
    assert [await status(copy, path) for path in ("/keys", "/readyz")] == [200, 503]
    await asyncio.to_thread(setup.go_on_alone)
    async with waiting_for("a write without a standby", LONG):
        while await write(copy) != 200:
            await asyncio.sleep(0.05)


async def write(session):
    async with session.post("/key/generate", json={"alg": "ed25519"}) as response:
        return response.status


async def test_copies_that_are_restarted_and_killed(setup, answering):
    await rolling_upgrade(setup, answering)
    await killed_copy(setup)


async def rolling_upgrade(setup, answering):
    """Stop and start one copy after the other; no caller notices."""
    ledger = Ledger()
    async with under_load(setup.caller, ledger, keeps_on=True):
        for _ in range(ROUNDS):
            for number, name in enumerate(COPIES):
                await until_made(ledger, 2 * CLIENTS)
                stopping = asyncio.create_task(asyncio.to_thread(setup.services[number].stop))
                await asyncio.to_thread(setup.haproxy.wait_until, "kms", name, "DOWN")
                ledger.pause = PAUSE
                code, written = await stopping
                assert (code, "Traceback" in written) == (0, False)
                setup.services[number], session = await answering(
                    setup.options, *OPTIONS, port=setup.copies[number]
                )
                await session.close()
                await asyncio.to_thread(setup.haproxy.wait_until, "kms", name, "UP", "L7OK")
                ledger.pause = 0
        await until_made(ledger, 2 * CLIENTS)
    print_row("rolling upgrade", ledger, [])
    assert (ledger.refused, ledger.unanswered) == ([], [])
    await ledger.check(setup.caller)


async def killed_copy(setup):
    """Kill a copy, which only callers notice whose calls it had under way."""
    ledger = Ledger()
    async with under_load(setup.caller, ledger, keeps_on=True):
        await until_made(ledger, 4 * CLIENTS)
        setup.services[0].process.kill()
        ledger.pause = PAUSE
        await asyncio.to_thread(setup.haproxy.wait_until, "kms", COPIES[0], "DOWN")
        ledger.pause = 0
        await until_made(ledger, 2 * CLIENTS)
    print_row("a copy killed", ledger, [])
    # Its calls in flight, at most one for each client, get no answer, or haproxy's.
    assert {status for status, _ in ledger.refused} <= {502}
    assert len(ledger.refused) + len(ledger.unanswered) <= CLIENTS
    await ledger.check(setup.sessions[1])


def print_row(fault, ledger, back):
    """A row of the page's table: acknowledged and refused writes, and the seconds without any."""
    refused = Counter(f"{status} `{slug}`" for status, slug in ledger.refused)
    row = [
        fault,
        ROUNDS,
        f"{ledger.made:,} keys, {len(ledger.deleted):,} deletions, {ledger.named:,} aliases",
        ", ".join(f"{count:,} times {what}" for what, count in refused.items()) or "none",
        len(ledger.unanswered),
        f"{ledger.slowest:.1f} s",
        f"{statistics.median(back):.1f} s, {max(back):.1f} s" if back else "",
    ]
    print("\n|", " | ".join(map(str, row)), "|")
