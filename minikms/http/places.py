"""Limits connections in total and for each caller, and the descriptors for them."""

import asyncio
import contextlib
import logging
import resource
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from minikms.basics.addresses import network_of

LOGGER = logging.getLogger("minikms")

# The number of parsed addresses to remember: parsing takes longer than the rest of counting.
_CALLERS: Final = 1024

REASONS: Final = ("limit", "address", "descriptors")
"""The reasons to refuse a connection, or to accept it later."""

REPORT_EVERY: Final = 60.0
"""The seconds between two lines of the log on the same shortage."""

# Descriptors kept for the store, logs and other listeners.
_SPARE: Final = 128


def raise_descriptor_limit() -> None:
    """Raise this process's limit of descriptors to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # The system may allow less than an infinite hard limit.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def room_for(most: int) -> int:
    """Return `most`, or the smaller number of connections that the descriptors allow."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return most
    room = max(descriptors - _SPARE, descriptors // 2)
    if room < most:
        LOGGER.warning(
            "%d connections at most, not %d: this process may have %d descriptors",
            *(room, most, descriptors),
        )
    return min(most, room)


class Places:
    """Counts connections, and limits their number.

    `refused` counts connections that were refused or had to wait, by reason. `most` is the limit in
    total, `most_of_one` the limit of one caller: of an IPv4 address, or of a /64 of IPv6. Addresses
    that `is_exempt` accepts have no limit of their own. Once a minute, the log has the number of
    refused connections, and names `option` as the source of `most`.
    """

    def __init__(
        self,
        most: int,
        most_of_one: int | None = None,
        is_exempt: Callable[[str], bool] = lambda address: False,
        option: str = "--max-connections",
    ) -> None:
        self.number = 0
        self.refused: Counter[str] = Counter()
        self._most = most
        self._most_of_one = most_of_one
        self._is_exempt = is_exempt
        self._option = option
        self._caller_of = lru_cache(_CALLERS)(self._limited_caller)
        self._by_caller: dict[str, int] = {}
        self._unreported: Counter[str] = Counter()
        self._report: asyncio.TimerHandle | None = None

    def take(self, address: str) -> Callable[[], None] | None:
        """Take a place for a new connection; return a function that gives it back, or None.

        Only the first call of that function counts: a connection that is lost while it opens ends
        twice.
        """
        if self.number >= self._most:
            self._refuse("limit", self._option)
            return None
        caller = None
        if self._most_of_one is not None and (caller := self._caller_of(address)) is not None:
            others = self._by_caller.get(caller, 0)
            if others >= self._most_of_one:
                self._refuse("address", "--max-connections-per-address")
                return None
            self._by_caller[caller] = others + 1
        self.number += 1
        held = True

        def give_back() -> None:
            nonlocal held
            if not held:
                return
            held = False
            self.number -= 1
            if caller is not None:
                self._by_caller[caller] -= 1
                if not self._by_caller[caller]:
                    del self._by_caller[caller]

        return give_back

    def _limited_caller(self, address: str) -> str | None:
        """Return the caller at an address, None if it has no limit of its own."""
        return None if self._is_exempt(address) else network_of(address)

    def close(self) -> None:
        """Log the number of connections that were refused since the last line."""
        if self._report is not None:
            self._report.cancel()
            self._log()

    def _refuse(self, reason: str, option: str) -> None:
        self.refused[reason] += 1
        self._unreported[option] += 1
        if self._report is None:
            self._log_on()

    def _log_on(self) -> None:
        """Log now, then once a minute while connections are refused."""
        self._report = None
        if self._unreported:
            self._log()
            self._report = asyncio.get_running_loop().call_later(REPORT_EVERY, self._log_on)

    def _log(self) -> None:
        refused, self._unreported = self._unreported, Counter()
        if refused:
            over = ", ".join(f"{number} over {option}" for option, number in refused.items())
            LOGGER.warning("connections refused: %d (%s)", refused.total(), over)
