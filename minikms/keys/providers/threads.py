"""Makes the calls of a provider in threads.

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

from minikms.basics.fair_threads import called

ResultT = TypeVar("ResultT")

THREADS: Final = 8
"""The number of threads of each provider."""

# The most seconds of a quick call. A slower call gains more from its own thread than the change of
# threads costs.
_QUICK: Final = 0.0003
# After this many calls in a row without a quick one, each call has its own thread. The number is
# large, since waiting for the interpreter lock also makes calls slower.
_SLOW: Final = 32
# Seconds after which a thread reports the calls that it has made, and another thread continues.
_TURN: Final = 0.003
# Seconds that calls wait for a thread that is making other calls.
_PATIENCE: Final = 0.005


class Call(Generic[ResultT]):
    """A call in a thread; the event loop awaits its outcome.

    `ended` is called on the loop with the call, its result and its failure. A call that has an
    outcome before it begins, for example because its caller has left, is not made.
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
        """Make the call, in a thread; returns its result and its failure."""
        # Set before the outcome is read, so that a call with an outcome that has not begun is
        # never made.
        self.has_begun = True
        try:
            if self.outcome.done():
                raise asyncio.CancelledError
            return self._context.run(called, self._work), None
        except BaseException as exc:
            del self  # it refers to the exception, and its traceback to this frame
            return None, exc

    def end(self, result: Any, failure: BaseException | None) -> None:
        """Set the outcome, unless it is set."""
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

    While calls are quick, one thread makes all waiting calls and reports them together, since
    changing between the event loop and a thread takes longer than a call. Slow calls have a thread
    each.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting = deque[Call[Any]]()
        self._turns = SimpleQueue[_Turn | None]()
        self._turn: _Turn | None = None  # the last turn, until it ends or takes too long
        self._slow = _SLOW  # the number of calls since the last quick one
        self._are_started = False

    def submit(self, call: Call[Any]) -> None:
        """Let one of the threads make a call."""
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
        """Let each thread end when its call has returned."""
        for _ in range(THREADS):
            self._turns.put(None)

    def _begin(self) -> None:
        """Let a thread make waiting calls."""
        self._turn = turn = _Turn()
        self._turns.put(turn)
        asyncio.get_running_loop().call_later(_PATIENCE, self._leave, turn)

    def _leave(self, turn: _Turn) -> None:
        """End the calls that a turn has made so far; let other threads make the waiting calls."""
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
            del call, turn  # so that signed messages do not stay in memory

    def _next(self) -> Call[Any] | None:
        try:
            return self._waiting.popleft()
        except IndexError:  # another thread has taken it
            return None

    def _end(self, turn: _Turn, number: int, is_quick: bool) -> None:
        """End a turn, on the event loop, in which a thread has made `number` calls."""
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
