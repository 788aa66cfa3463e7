"""Decides which calls to repeat, and after which pause."""

import random
from dataclasses import dataclass

import httpx

from minikms_client.errors import ProblemError, UnexpectedAnswer
from minikms_client.wire import Call

# Problems that the service answers before it begins the call.
_REFUSED = frozenset({"too-busy", "too-many-attempts"})
# The statuses with which a proxy answers while it does not reach the service.
_OF_PROXIES = frozenset({502, 503, 504})
# A float cannot hold a larger power of two.
_DOUBLINGS = 1000


@dataclass(frozen=True, slots=True)
class Retries:
    """The number of retries, and the longest pause in seconds before each."""

    attempts: int
    longest: float

    def after_answer(
        self, call: Call, error: ProblemError | UnexpectedAnswer, attempt: int
    ) -> float | None:
        """Return the seconds before the next attempt after an answer, or None to give up.

        A busy service refuses a call before it does anything, so any call may be repeated. After
        another problem with status 503, or an answer of a proxy, the call may have been performed,
        so it must be repeatable.
        """
        if isinstance(error, UnexpectedAnswer):
            may = error.status in _OF_PROXIES and call.is_repeatable
        else:
            may = error.status in (429, 503) and (call.is_repeatable or error.slug in _REFUSED)
        # An earlier call would be over the rate again; a service may be back earlier than it says.
        too_late = error.status == 429 and (error.retry_after or 0) > self.longest
        return self._wait(attempt, error.retry_after) if may and not too_late else None

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
        """Return a time that doubles each attempt, at least the requested one, up to `longest`."""
        if attempt >= self.attempts:
            return None
        wait = max(0.1 * 2.0 ** min(attempt, _DOUBLINGS), retry_after or 0)
        # Callers refused at the same time should not come back at the same time.
        return min(wait * random.uniform(1, 1.2), self.longest)  # noqa: S311 (no secret)
