"""Threads of a provider, in which its calls are made.

A call may never return, so the threads do not keep the process alive.
"""

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeAlias, TypeVar

ResultT = TypeVar("ResultT")

THREADS: Final = 8
"""The number of threads of each provider."""

# Seconds of a quick call. A longer one gains more by a thread of its own than a change of threads
# costs.
_QUICK: Final = 0.0003
# The number of calls in a row of which none was quick, from which on each has a thread of its own.
# Many: a call also takes longer if its thread has to wait for the interpreter lock.
_SLOW: Final = 32
# Seconds after which a thread reports the calls that it has made, and another one goes on.
_TURN: Final = 0.003
# Seconds that calls wait for the thread that makes others.
_PATIENCE: Final = 0.005


class Call(Generic[ResultT]):
    """A call in a thread, whose outcome is awaited on the event loop.

    `ended` is called on the loop with the call, its result and its failure. A call whose outcome is
    there before it begins, such as for a caller that has left, is not made.
    """

    __slots__ = ("_context", "_work", "ended", "has_begun", "outcome")

    def __init__(
        self,
        work: Callable[[], ResultT],
        ended: Callable[["Call[Any]", Any, BaseException | None], None],
    ) -> None:
        self._context = contextvars.copy_context()
        self._work = work
        self.ended = ended
        self.has_begun = False
        self.outcome: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()

    def make(self) -> tuple[ResultT | None, BaseException | None]:
        """Make it, in a thread; returns its result and its failure."""
        # Before the outcome is read: so a call that is not made never counts as one that has not
        # begun and has an outcome.
        self.has_begun = True
        try:
            if self.outcome.done():
                raise asyncio.CancelledError
            return self._context.run(self._work), None
        except BaseException as exc:
            del self  # which has the exception, whose traceback has this frame
            return None, exc

    def end(self, result: Any, failure: BaseException | None) -> None:
        """Set the outcome, unless it is there."""
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(failure)
            self.outcome.exception()  # nobody has to ask for it


# The calls that a thread has made in its turn and that have not ended on the event loop yet, each
# with its result and its failure.
_Turn: TypeAlias = deque[tuple[Call[Any], Any, BaseException | None]]


class ProviderThreads:
    """The threads of one provider, which start with the first call.

    As long as calls are quick, one thread makes all that wait and reports them together: a change
    between the event loop and a thread takes longer than the call. Other calls have a thread each.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting = deque[Call[Any]]()
        self._turns = SimpleQueue[_Turn | None]()
        self._turn: _Turn | None = None  # the last one, until it has ended or takes too long
        self._slow = _SLOW  # calls in a row of which none was quick
        self._are_started = False

    def submit(self, call: Call[Any]) -> None:
        """Have one of the threads make a call."""
        if not self._are_started:
            self._are_started = True
            arguments = (asyncio.get_running_loop(),)
            for _ in range(THREADS):
                threading.Thread(
                    target=self._serve, args=arguments, name=self._name, daemon=True
                ).start()
        self._waiting.append(call)
        if self._turn is None or self._slow >= _SLOW:
            self._begin()

    def stop(self) -> None:
        """End each thread once its call has returned."""
        for _ in range(THREADS):
            self._turns.put(None)

    def _begin(self) -> None:
        """Have a thread make calls that wait."""
        self._turn = turn = _Turn()
        self._turns.put(turn)
        asyncio.get_running_loop().call_later(_PATIENCE, self._leave, turn)

    def _leave(self, turn: _Turn) -> None:
        """End what a turn has made by now, and have other threads make the calls that wait."""
        _end_calls(turn)
        if turn is self._turn:
            self._turn, self._slow = None, _SLOW
            for _ in range(len(self._waiting)):
                self._begin()

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (turn := self._turns.get()) is not None:
            quickest, begun = _QUICK, time.perf_counter()
            until, now, number = begun + _TURN, begun, 0
            while now < until and (call := self._next()) is not None:
                number += 1
                turn.append((call, *call.make()))
                begun, now = now, time.perf_counter()
                quickest = min(quickest, now - begun)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._end, turn, number, quickest < _QUICK)
            del call, turn  # what was signed does not stay in memory

    def _next(self) -> Call[Any] | None:
        try:
            return self._waiting.popleft()
        except IndexError:  # another thread was first
            return None

    def _end(self, turn: _Turn, number: int, is_quick: bool) -> None:
        """End a turn in which a thread has made a number of calls, on the event loop."""
        self._slow = 0 if is_quick else self._slow + number
        if turn is self._turn:
            self._turn = None
            if self._waiting:
                self._begin()
        _end_calls(turn)


def _end_calls(turn: _Turn) -> None:
    while turn:
        call, result, failure = turn.popleft()
        call.ended(call, result, failure)
