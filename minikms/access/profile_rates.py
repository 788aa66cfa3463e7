"""The rate of calls that a profile allows."""

from typing import Final

from minikms.basics.rates import SECOND, RateTable
from minikms.errors import OverRate
from minikms.store import ProfileDirectory

RULE: Final = "calls_per_second"


class ProfileRates:
    """Counts calls per profile, for the `limited` profiles.

    A process learns a profile's rate at its first read in that profile.
    """

    def __init__(self, table: RateTable, directory: ProfileDirectory) -> None:
        self._table = table
        self._directory = directory
        self.limited = directory.calls_per_second

    def count(self, profile: str) -> None:
        """Count a call in a profile; raises OverRate."""
        most = self.limited.get(profile)
        if most is None:
            return
        if self._directory.known(profile) is None:
            # The rate may have changed; until it is read again, the last known one applies.
            self._directory.refresh(profile)
        wait = self._table.take((profile, RULE), SECOND, most)
        if wait:
            raise OverRate(RULE, wait)
