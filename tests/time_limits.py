"""How long a test may take, by pytest-timeout; it then fails, and what it began ends with it."""

import asyncio
from typing import Any

import pytest
import uvloop

# In seconds, by marker, however busy the machine is; others have the `timeout` of pyproject.toml.
_LIMITS = {"kill": 3600, "slow": 900, "browser": 180, "process": 180, "postgres": 180}


def limit(item: pytest.Item) -> None:
    """Give a test the time that its markers need, unless it says so itself."""
    found = [seconds for name, seconds in _LIMITS.items() if item.get_closest_marker(name)]
    if found and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(max(found)))


class Loop(uvloop.Loop):
    """The event loop of `minikms serve`, which does not go on after a test's time is over.

    pytest-timeout fails a test in a handler of a signal. uvloop calls that as it does any callback,
    and hands on an exception to its handler of exceptions.
    """

    def run_until_complete(self, future: Any) -> Any:
        """The result of `future`, a test or a fixture, which is cancelled once its time is over."""
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
