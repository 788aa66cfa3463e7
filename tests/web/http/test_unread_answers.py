"""The choice of the caller that loses its connection when too many bytes wait to be read."""

import asyncio
from types import SimpleNamespace

from minikms.http import unread
from minikms.http.unread import UnreadAnswers

PIECE = 128 * 1024
PAGE = 8 * PIECE


class Caller(asyncio.Transport):
    """A caller who reads `pieces` pieces of its answer, and then stops."""

    def __init__(self, pieces=0):
        super().__init__()
        self.pieces = pieces
        self.closed = asyncio.Event()

    async def take(self, piece):
        if not self.pieces:
            await self.closed.wait()
            raise ConnectionResetError
        self.pieces -= 1

    def abort(self):
        self.closed.set()


class SlowCaller(Caller):
    """A caller who reads a piece of its answer at each of its turns."""

    def __init__(self):
        super().__init__()
        self.turns = asyncio.Semaphore(0)

    async def take(self, piece):
        await self.turns.acquire()


def answer(answers, caller, body=None):
    """Send a caller a page of its own, or a shared one."""
    body = bytes(PAGE) if body is None else body
    return asyncio.create_task(
        answers.send(SimpleNamespace(transport=caller), caller.take, bytes(body))
    )


async def end(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_reading_caller_outlasts_silent_ones():
    answers = UnreadAnswers(3 * PAGE)
    reader, silent = Caller(7), [Caller() for _ in range(3)]
    tasks = []
    for caller in (reader, *silent):
        tasks.append(answer(answers, caller))
        await asyncio.sleep(0.02)
    assert [caller.closed.is_set() for caller in (reader, *silent)] == [False, True, False, False]
    await end(*tasks)
    assert answers.size == 0


async def test_a_slow_reader_outlasts_one_that_came_later_and_reads_nothing(monkeypatch):
    now = [0]
    monkeypatch.setattr(unread, "time", SimpleNamespace(monotonic=lambda: now[0]))
    answers, tasks = UnreadAnswers(2 * PAGE), []
    slow, silent, last = SlowCaller(), Caller(), Caller()
    for caller, at in ((slow, 0), (silent, 15), (last, 21)):
        now[0] = at
        tasks.append(answer(answers, caller))
        await asyncio.sleep(0)
        if caller is silent:
            now[0] = 20
            for _ in range(4):  # of eight pieces
                slow.turns.release()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
    assert slow.turns.locked()
    assert [caller.closed.is_set() for caller in (slow, silent, last)] == [False, True, False]
    await end(*tasks)


async def test_a_body_of_several_callers_counts_once():
    answers, body = UnreadAnswers(2 * PAGE), bytes(PAGE)
    callers = [Caller() for _ in range(10)]
    tasks = [answer(answers, caller, body) for caller in callers]
    await asyncio.sleep(0)
    assert answers.size == PAGE
    assert not any(caller.closed.is_set() for caller in callers)
    await end(*tasks)
    assert answers.size == 0
