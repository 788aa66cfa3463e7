"""The event loop of the tests."""

import asyncio
from typing import Any

import pytest
import uvloop


class Loop(uvloop.Loop):
    """The event loop of `minikms serve`, in which pytest-timeout can end a test.

    pytest-timeout raises in a signal handler. uvloop runs the handler as a callback, and hands its
    exception to the loop's exception handler, so the test would go on.
    """

    def run_until_complete(self, future: Any) -> Any:
        """Run a test or a fixture; cancel it when its time is over."""
        task, over = asyncio.ensure_future(future, loop=self), []

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if isinstance(exc := context.get("exception"), pytest.fail.Exception):
                over.append(exc)
                task.cancel()
            else:
                loop.default_exception_handler(context)

        self.set_exception_handler(handle)
        try:
            return super().run_until_complete(task)
        except asyncio.CancelledError:
            if over:
                raise over[0]  # noqa: B904 (the context says where the test stood)
            raise
