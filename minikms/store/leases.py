"""Leases: when the values that were read from a profile were last known to be current."""

import math


class Lease:
    """When the values that were read from one profile were last known to be current.

    `used` says that a value was looked up since the last check of the profile began.
    """

    __slots__ = ("_confirmed", "_since", "used")

    def __init__(self) -> None:
        self.used = True
        self._since, self._confirmed = math.inf, -math.inf

    def renew(self, began: float, ended: float) -> None:
        """Confirm values by a check, whose changes are counted; only those read since the first."""
        self._since = min(self._since, ended)
        self._confirmed = began

    def confirmed(self, read: float) -> float:
        """The last time at which a value was known to be current, which was read from `read` on."""
        self.used = True
        return self._confirmed if self._since <= read < self._confirmed else read
