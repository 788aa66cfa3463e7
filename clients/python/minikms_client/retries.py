"""Decides which calls to repeat, and after which pause."""

import random
from dataclasses import dataclass

import httpx

from minikms_client.errors import ProblemError
from minikms_client.wire import Call

# Problems that the service answers before it begins the call.
_REFUSED = frozenset({"too-busy", "too-many-attempts"})


@dataclass(frozen=True, slots=True)
class Retries:
    """The number of retries, and the longest pause in seconds before each."""

    attempts: int
    longest: float

    def after_problem(self, call: Call, problem: ProblemError, attempt: int) -> float | None:
        """Return the seconds before the next attempt, or None to give up.

        A busy service refuses a call before it does anything, so any call may be repeated. After
        another problem with status 503 the call may have been performed, so it must be repeatable.
        """
        if problem.status not in (429, 503):
            return None
        if not (call.is_repeatable or problem.slug in _REFUSED):
            return None
        return self._wait(attempt, problem.retry_after)

    def after_failure(self, call: Call, error: httpx.TransportError, attempt: int) -> float | None:
        """Return the seconds before the next attempt after a missing answer, or None.

        Without a connection, nothing was sent, so any call may be repeated.
        """
        if isinstance(error, httpx.UnsupportedProtocol):
            return None
        sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if sent and not call.is_repeatable:
            return None
        return self._wait(attempt, None)

    def _wait(self, attempt: int, retry_after: float | None) -> float | None:
        """Return the seconds that the service requests, else a time that doubles each attempt."""
        if attempt >= self.attempts:
            return None
        wait = retry_after if retry_after is not None else 0.1 * 2**attempt
        # Callers refused at the same time should not come back at the same time.
        wait *= random.uniform(1, 1.2)  # noqa: S311 (no secret)
        return wait if wait <= self.longest else None
