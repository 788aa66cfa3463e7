"""The calls of a provider: in threads of its own, for a limited time, and few at once."""

import asyncio
import gc
import re
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from minikms_files import FilesProvider
from waiting import until, wait_until

from minikms.basics.system_calls import memory_file
from minikms.errors import ProviderFault, ProviderUnavailable, ValidationFailed
from minikms.keys.providers import providers
from minikms.keys.providers import threads as provider_threads
from minikms.keys.providers.providers import Providers
from minikms.plugin.registry import AlgorithmRegistry

# Seconds that no call takes, and that each call takes that is held.
LONG, SHORT = 1000, 0.02


@pytest.fixture
async def opened(tmp_path):
    """A provider that is open."""
    registry = AlgorithmRegistry.from_installed()
    registry = registry.with_providers({"hsm": FilesProvider(f"files:{tmp_path}")})
    running = Providers(registry, limit=LONG)
    async with running.running():
        await until("it", lambda: running["hsm"].status.available)
        yield running["hsm"]


async def test_a_call_has_a_thread_of_the_provider(opened):
    name = await opened.run(lambda: threading.current_thread().name)
    assert name == "provider hsm"
    assert threading.current_thread().name != name


async def test_a_call_raises_its_error(opened):
    def fail():
        raise ValidationFailed("It is not valid.")

    with pytest.raises(ValidationFailed, match="It is not valid"):
        await opened.run(fail)
    assert opened.status.available


async def test_a_call_that_takes_too_long_is_left(opened):
    go_on = threading.Event()
    opened._limit = SHORT
    with pytest.raises(ProviderUnavailable):
        await opened.run(go_on.wait)
    opened._limit = LONG
    assert await opened.run(lambda: 1) == 1  # another thread
    go_on.set()
    await until("its end", lambda: not opened._calls)


@pytest.mark.parametrize(("quick", "threads"), [(LONG, 1), (0, 4)], ids=["quick", "slow"])
async def test_quick_calls_share_a_thread(opened, monkeypatch, quick, threads):
    limits = {"_QUICK": quick, "_SLOW": 1, "_TURN": LONG, "_PATIENCE": LONG}
    for name, value in limits.items():
        monkeypatch.setattr(provider_threads, name, value)
    meeting = threading.Barrier(threads)

    def work():
        meeting.wait(LONG)
        return threading.get_ident()

    assert await opened.run(lambda: 1) == 1
    found = await asyncio.gather(*(opened.run(work) for _ in range(4)))
    assert len(set(found)) == threads


async def test_no_call_waits_long_for_the_thread_of_a_slow_one(opened, monkeypatch):
    monkeypatch.setattr(provider_threads, "_SLOW", LONG)  # all are taken for quick ones
    go_on = threading.Event()
    slow = asyncio.create_task(opened.run(go_on.wait))
    assert await asyncio.gather(*(opened.run(lambda: 1) for _ in range(3))) == [1, 1, 1]
    assert not slow.done()
    go_on.set()
    assert await slow


async def test_a_call_that_was_made_does_not_wait_for_a_slow_one(opened, monkeypatch):
    for name in ("_SLOW", "_TURN"):
        monkeypatch.setattr(provider_threads, name, LONG)
    go_on = threading.Event()
    quick, slow = (asyncio.create_task(opened.run(work)) for work in (lambda: 1, go_on.wait))
    assert await quick == 1
    assert not slow.done()
    go_on.set()
    assert await slow


async def test_making_a_key_may_take_longer(opened, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(providers, "_MAKING", LONG / SHORT)
    opened._limit = SHORT
    made = asyncio.create_task(opened.run(go_on.wait, making=True))
    with pytest.raises(ProviderUnavailable):
        await opened.run(go_on.wait)
    assert not made.done()
    go_on.set()
    assert await made


async def test_calls_are_refused_at_once_when_all_threads_are_stuck(opened):
    go_on, number = threading.Event(), provider_threads.THREADS
    stuck = [asyncio.create_task(opened.run(go_on.wait)) for _ in range(number)]
    await until("all threads", lambda: sum(call.has_begun for call in opened._calls) == number)
    opened._calls.update(dict.fromkeys(opened._calls, 0.0))  # their time is over
    with pytest.raises(ProviderUnavailable, match="Too many calls"):
        await opened.run(lambda: 1)
    go_on.set()
    assert all(await asyncio.gather(*stuck))
    assert await opened.run(lambda: 1) == 1


async def test_few_calls_wait(opened, monkeypatch):
    monkeypatch.setattr(providers, "_WAITING", 12)
    go_on = threading.Event()
    calls = [asyncio.create_task(opened.run(go_on.wait)) for _ in range(12)]
    await until("the calls", lambda: len(opened._calls) == 12)
    with pytest.raises(ProviderUnavailable, match="Too many calls"):
        await opened.run(lambda: 1)
    go_on.set()
    assert all(await asyncio.gather(*calls))


async def test_calls_whose_time_is_over_make_room_for_others(opened, monkeypatch):
    monkeypatch.setattr(providers, "_WAITING", 12)
    go_on, number = threading.Event(), provider_threads.THREADS
    others = [asyncio.create_task(opened.run(go_on.wait)) for _ in range(number)]
    await until("all threads", lambda: sum(call.has_begun for call in opened._calls) == number)
    opened._limit = SHORT
    for _ in range(12 - number):
        with pytest.raises(ProviderUnavailable):
            await opened.run(lambda: 1)
    opened._limit = LONG
    waiting = asyncio.create_task(opened.run(lambda: 1))
    await until("the call", lambda: waiting.done() or len(opened._calls) > number)
    go_on.set()
    assert await waiting == 1
    assert all(await asyncio.gather(*others))


async def test_a_caller_that_leaves_leaves_nothing(opened):
    go_on = threading.Event()
    call = asyncio.create_task(opened.run(go_on.wait))
    await until("the call", lambda: opened._calls)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    await until("its end", lambda: not opened._calls)


@pytest.mark.parametrize("leaves", ["at its limit", "before"])
async def test_a_call_that_nobody_waits_for_does_not_begin(opened, leaves):
    go_on, number = threading.Event(), provider_threads.THREADS
    others = [asyncio.create_task(opened.run(go_on.wait)) for _ in range(number)]
    await until("all threads", lambda: sum(call.has_begun for call in opened._calls) == number)
    made = []
    opened._limit = SHORT if leaves == "at its limit" else LONG
    call = asyncio.create_task(opened.run(lambda: made.append(1)))
    await until("the call", lambda: len(opened._calls) > number or call.done())
    if leaves == "before":
        call.cancel()
    assert isinstance(
        (await asyncio.gather(call, return_exceptions=True))[0],
        ProviderUnavailable if leaves == "at its limit" else asyncio.CancelledError,
    )
    opened._limit = LONG
    go_on.set()
    await asyncio.gather(*others)
    assert await opened.run(lambda: 1) == 1
    await until("their end", lambda: not opened._calls)
    assert not made


async def test_batches_leave_threads_for_single_calls(opened):
    go_on = threading.Event()

    def work(items):
        go_on.wait()
        return items

    batches = [
        asyncio.create_task(opened.batches.run_all("p", range(3), work, lambda: None, slow=True))
        for _ in range(10)
    ]
    await until("the batches", lambda: len(opened._calls) == providers._OF_BATCHES)
    assert await opened.run(lambda: 1) == 1
    go_on.set()
    assert [list(each) for each in await asyncio.gather(*batches)] == [[0, 1, 2]] * 10


async def test_a_fault_ends_the_attempts(opened):
    def fail():
        raise ProviderFault("The PIN is wrong.")

    with pytest.raises(ProviderUnavailable):
        await opened.run(fail)
    assert not opened.status.available
    assert opened.status.detail == "The PIN is wrong."
    with pytest.raises(ProviderUnavailable):
        await opened.run(lambda: 1)


async def test_a_fault_is_logged_although_it_was_away(opened, caplog):
    for error in (ProviderUnavailable("It is away."), *[ProviderFault("The PIN is wrong.")] * 2):

        def fail(error=error):
            raise error

        with pytest.raises(ProviderUnavailable):
            await opened.run(fail)
    assert [line.args[1] for line in caplog.records] == ["It is away.", "The PIN is wrong."]


async def test_a_stop_of_an_iteration_is_a_failure_as_well(opened):
    """No future of Python 3.11 takes it; later calls of the same turn have their ends."""
    ends = [opened.run(partial(next, iter(()))), opened.run(lambda: 1)]
    failure, result = await asyncio.gather(*ends, return_exceptions=True)
    assert (type(failure), type(failure.__cause__), result) == (RuntimeError, StopIteration, 1)


async def test_a_failure_leaves_no_garbage(opened):
    """While a token is away, the collection of garbage would delay calls with other keys."""
    failures = []

    def noted(error):
        failures.append(weakref.ref(error))
        return error

    def fail():
        raise noted(ProviderUnavailable("It is away."))

    gc.disable()
    try:
        with suppress(ProviderUnavailable):
            await opened.run(fail)
        await until("its end", lambda: failures[0]() is None)
    finally:
        gc.enable()


async def test_the_time_of_a_call_is_observed(opened):
    seconds = []
    opened.observe = seconds.append
    await opened.run(lambda: 1)
    assert len(seconds) == 1
    assert seconds[0] >= 0


def test_a_fault_is_known_to_all_processes_of_a_service():
    with memory_file("faults") as shared:
        file = shared.fileno()
        one, other, another = (providers.Fault(file, place) for place in (0, 0, 1))
        assert not other.is_set()
        with one.in_turn():
            one.set()
        assert other.is_set()
        assert not another.is_set()
    alone = providers.Fault(-1, 0)
    with alone.in_turn():
        alone.set()
    assert alone.is_set()


async def test_a_fault_of_another_process_is_the_trouble(tmp_path, caplog):
    registry = AlgorithmRegistry.from_installed()
    registry = registry.with_providers({"hsm": FilesProvider(f"files:{tmp_path}")})
    with memory_file("faults") as shared:
        file = shared.fileno()
        providers.Fault(file, 0).set()
        running = Providers(registry, file=file)
        async with running.running():
            await until("the log", lambda: caplog.records)
            assert running["hsm"].status.detail == providers._ELSEWHERE
    assert [line.args[1] for line in caplog.records] == [providers._ELSEWHERE]
    assert not (tmp_path / "opened").exists()


async def test_a_provider_that_does_not_close_holds_up_no_end(tmp_path, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(providers, "_CLOSING", SHORT)
    monkeypatch.setattr(FilesProvider, "close", lambda _: go_on.wait(LONG))
    registry = AlgorithmRegistry.from_installed()
    registry = registry.with_providers({"hsm": FilesProvider(f"files:{tmp_path}")})
    try:
        async with asyncio.timeout(60), Providers(registry).running():
            pass
    finally:
        go_on.set()


OPEN = """
import asyncio, sys
from minikms.keys.providers.providers import Providers
from minikms.plugin.providers import make_providers
from minikms.plugin.registry import AlgorithmRegistry

async def open_one():
    registry = AlgorithmRegistry.from_installed().with_providers(make_providers([sys.argv[1]]))
    providers = Providers(registry, file=int(sys.argv[2]))
    async with providers.running():
        while "has not been opened" in providers["hsm"].status.detail:
            await asyncio.sleep(0.01)
    print(providers["hsm"].status.detail)

asyncio.run(open_one())
"""


@pytest.mark.process
def test_of_two_processes_that_open_a_provider_at_once_one_tries_a_wrong_pin(token_folder):
    token_folder.set("wrong-pin")
    with memory_file("faults") as shared:
        file = shared.fileno()
        fault = providers.Fault(file, 0)
        with fault.in_turn():  # as if this process were trying the PIN
            command = [sys.executable, "-c", OPEN, token_folder.option, str(file)]
            other = subprocess.Popen(command, pass_fds=[file], stdout=subprocess.PIPE, text=True)
            waits = re.compile(rf"-> POSIX .* {other.pid} ")

            def is_its_turn_awaited():
                return waits.search(Path("/proc/locks").read_text()) or token_folder.attempts

            wait_until("the other process", is_its_turn_awaited)
            fault.set()
        output, _ = other.communicate(timeout=60)
    assert output == f"{providers._ELSEWHERE}\n"
    assert token_folder.attempts == 0
