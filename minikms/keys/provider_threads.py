"""Threads of a provider, in which its calls are made.

A call may never return, so the threads do not keep the process alive.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

ResultT = TypeVar("ResultT")

THREADS: Final = 8
"""The number of threads of each provider."""


class Call(Generic[ResultT]):
    """A call in a thread, whose outcome is awaited on the event loop.

    `ended` is called on the loop with the call, its result and its failure. A call whose outcome is
    there before it begins, such as for a caller that has left, is not made.
    """

    __slots__ = ("_context", "_ended", "_loop", "_work", "has_begun", "outcome")

    def __init__(
        self,
        work: Callable[[], ResultT],
        ended: Callable[["Call[Any]", Any, BaseException | None], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._work = work
        self._ended = ended
        self.has_begun = False
        self.outcome: asyncio.Future[ResultT] = self._loop.create_future()

    def make(self) -> None:
        """Make it, in a thread."""
        # Before the outcome is read: so a call that is not made never counts as one that has not
        # begun and has an outcome.
        self.has_begun = True
        try:
            if self.outcome.done():
                raise asyncio.CancelledError
            result = self._context.run(self._work)
        except BaseException as exc:
            self._report(None, exc)
            del self  # which has the exception, whose traceback has this frame
        else:
            self._report(result, None)

    def end(self, result: Any, failure: BaseException | None) -> None:
        """Set the outcome, unless it is there."""
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(failure)
            self.outcome.exception()  # nobody has to ask for it

    def _report(self, result: Any, failure: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._ended, self, result, failure)


class ProviderThreads:
    """The threads of one provider, which start with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._are_started = False

    def submit(self, call: Call[Any]) -> None:
        """Have one of the threads make a call."""
        if not self._are_started:
            self._are_started = True
            for _ in range(THREADS):
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        self._calls.put(call)

    def stop(self) -> None:
        """End each thread once its call has returned."""
        for _ in range(THREADS):
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.make()
            del call  # what was signed does not stay in memory
