"""`minikms serve` with a token that is away, hangs, is slow, or refuses its PIN."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter

import pytest
from token_service import DATA, call, check, done, make, sign, slug, until_connected
from tokens import PIN
from waiting import waiting_for

AWAY = [float(each) for each in os.environ.get("MINIKMS_TEST_AWAY_SECONDS", "1").split(",")]


@pytest.mark.parametrize("seconds", AWAY)
async def test_a_token_is_away_under_load(begin, softhsm, seconds):
    _, session = await begin(softhsm)
    async with session:
        await until_connected(session)
        key = await make(session)
        own = await done(session, "POST", "/key/generate", {"alg": "p256"})
        stop, outcomes, delays = asyncio.Event(), Counter(), []

        async def use_token():
            while not stop.is_set():
                body = {"kid": key["kid"], "data": DATA}
                status, answer = await call(session, "POST", "/sign", body)
                if status == 200:
                    check(key, answer["sig"])
                    outcomes[200] += 1
                else:
                    outcomes[status, slug(answer)] += 1
                    await asyncio.sleep(0.01)

        async def use_own():
            while not stop.is_set():
                begun = time.perf_counter()
                await sign(session, own)
                delays.append(time.perf_counter() - begun)
                await asyncio.sleep(0.005)

        tasks = [asyncio.create_task(use_token()) for _ in range(8)]
        tasks.append(asyncio.create_task(use_own()))
        await asyncio.sleep(0.3)
        with softhsm.away():
            await asyncio.sleep(seconds)
            ready = await done(session, "GET", "/readyz")
            assert ready["away"] == ["hsm"]
        before, back = outcomes[200], time.monotonic()
        while outcomes[200] == before:
            assert time.monotonic() - back < 10
            await asyncio.sleep(0.01)
        await until_connected(session)
        stop.set()
        await asyncio.gather(*tasks)
        assert outcomes.keys() == {200, (503, "provider-unavailable")}, outcomes
        delays.sort()
        print(f"own keys: p99 {delays[len(delays) * 99 // 100] * 1000:.0f} ms, {outcomes}")


async def test_workers_with_a_wrong_pin_do_not_lock_the_token(begin, softhsm, connect):
    softhsm.pin_file.write_text("87654329")
    _, session = await begin(softhsm, "--workers", "3")
    async with session:
        for _ in range(20):
            status, problem = await call(
                session, "POST", "/key/generate", {"alg": "p256", "provider": "hsm"}
            )
            assert status == 503
            assert slug(problem) == "provider-unavailable"
            assert "87654329" not in str(problem)
        assert (await done(session, "GET", "/readyz"))["away"] == ["hsm"]
        softhsm.pin_file.unlink()
        softhsm.pin_file.write_text(PIN)
        assert connect(softhsm).status().available


async def test_a_token_that_hangs(begin, softhsm):
    """Another process holds the locks of the token's files, for which SoftHSM waits."""
    _, session = await begin(softhsm, "--provider-timeout", "1")
    async with session:
        await until_connected(session)
        key = await make(session)
        own = await done(session, "POST", "/key/generate", {"alg": "p256"})
        code = (
            "import fcntl, pathlib, sys\n"
            "files = [open(path, 'r+b') for path in pathlib.Path(sys.argv[1]).rglob('*')"
            " if path.is_file()]\n"
            "[fcntl.lockf(file, fcntl.LOCK_EX) for file in files]\n"
            "print('locked', flush=True); sys.stdin.read()\n"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(softhsm.tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            await asyncio.to_thread(holder.stdout.readline)
            body = {"kid": key["kid"], "data": DATA}
            calls = [call(session, "POST", "/sign", body) for _ in range(12)]
            hanging = asyncio.gather(*calls)
            for _ in range(50):
                await sign(session, own)
                await asyncio.sleep(0.01)
            for status, problem in await hanging:
                assert status == 503
                assert slug(problem) == "provider-unavailable"
        finally:
            holder.communicate(timeout=20)
        async with waiting_for("a signature"):
            while (await call(session, "POST", "/sign", body))[0] != 200:
                await asyncio.sleep(0.05)
        await sign(session, key)


@pytest.fixture
def slow(begin, slow_softhsm):
    """Start a service with its own key and a key of a token, whose calls then take 1.25 s."""

    async def run(limit):
        _, session = await begin(slow_softhsm, "--provider-timeout", str(limit))
        await until_connected(session)
        keys = await make(session), await done(session, "POST", "/key/generate", {"alg": "p256"})
        for key in keys:
            await sign(session, key)
        slow_softhsm.delay(1.25)
        return session, *keys

    return run


async def own_signatures_until(done_, session, own):
    """The seconds of the longest signature with a key of the service until something is done."""
    longest, number = 0.0, 0
    while not done_.done():
        begun = time.monotonic()
        await sign(session, own)
        longest, number = max(longest, time.monotonic() - begun), number + 1
        await asyncio.sleep(0.01)
    assert number > 10
    return longest


def calls_at_once(session, key, number=8):
    body = {"kid": key["kid"], "data": DATA}
    return asyncio.gather(*(call(session, "POST", "/sign", body) for _ in range(number)))


@pytest.mark.timeout(180)  # a signature by a new session takes a dozen calls of 1.25 s
async def test_a_slow_token_signs_late(slow, slow_softhsm):
    session, key, own = await slow(limit=120)
    async with session:
        begun = time.monotonic()
        signing = calls_at_once(session, key)
        longest = await own_signatures_until(signing, session, own)
        for status, answer in await signing:
            assert status == 200, answer
            check(key, answer["sig"])
        assert time.monotonic() - begun > 1.25
        assert longest < 1  # it waits for no call of the token
        slow_softhsm.delay(0)
        assert {status for status, _ in await calls_at_once(session, key)} == {200}
        assert "away" not in await done(session, "GET", "/readyz")


async def test_a_token_that_is_too_slow_is_unavailable_until_it_is_faster(slow, slow_softhsm):
    session, key, own = await slow(limit=1)
    async with session:
        begun = time.monotonic()
        signing = calls_at_once(session, key, 12)
        longest = await own_signatures_until(signing, session, own)
        for status, problem in await signing:
            assert (status, slug(problem)) == (503, "provider-unavailable")
        assert 1 <= time.monotonic() - begun < 3
        assert longest < 1
        slow_softhsm.delay(0)
        async with waiting_for("a signature"):
            while (await calls_at_once(session, key, 1))[0][0] != 200:
                await asyncio.sleep(0.05)
        for status, answer in await calls_at_once(session, key):
            assert status == 200, answer
            check(key, answer["sig"])


@pytest.mark.timeout(180)  # to connect takes a dozen calls of 1.25 s
async def test_a_slow_token_that_was_away_connects_although_no_call_waits_for_it(
    slow, slow_softhsm
):
    session, key, own = await slow(limit=1)
    async with session:
        with slow_softhsm.away():
            async with waiting_for("the loss"):
                while "away" not in await done(session, "GET", "/readyz"):
                    await calls_at_once(session, key, 1)
        connected = asyncio.create_task(until_connected(session, 120))
        assert await own_signatures_until(connected, session, own) < 1
        slow_softhsm.delay(0)
        async with waiting_for("a signature"):
            while (await calls_at_once(session, key, 1))[0][0] != 200:
                await asyncio.sleep(0.05)
        await sign(session, key)


def change_pin(token, old, new):
    """Change the PIN of a token in another process, as its administrator does."""
    code = (
        "import sys, pkcs11\n"
        "module, label, old, new = sys.argv[1:]\n"
        "token = pkcs11.lib(module).get_token(token_label=label)\n"
        "with token.open(rw=True, user_pin=old) as session:\n"
        "    session.set_pin(old, new)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(token.module), token.label, old, new],
        check=True,
        timeout=60,
    )


async def test_a_pin_that_is_changed_matters_after_a_loss(begin, softhsm, stored):
    service, session = await begin(softhsm, **stored)
    async with session:
        await until_connected(session)
        key = await make(session)
        change_pin(softhsm, PIN, "87654321")
        await sign(session, key)
        with softhsm.away():
            assert [status for status, _ in await calls_at_once(session, key)] == [503] * 8
        async with waiting_for("the login"):
            line = await asyncio.to_thread(service.read_until, "refused the PIN")
        assert "PinIncorrect; it is not tried again" in line
        for status, problem in await calls_at_once(session, key):
            assert (status, slug(problem)) == (503, "provider-unavailable")
        assert (await done(session, "GET", "/readyz"))["away"] == ["hsm"]
    service.stop()
    softhsm.pin_file.write_text("87654321")
    _, session = await begin(softhsm, **stored)
    async with session:
        await until_connected(session)
        await sign(session, key)
