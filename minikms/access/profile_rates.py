"""The rate of calls that a profile allows."""

from typing import Final

from minikms.errors import OverRate
from minikms.rates import SECOND, RateTable
from minikms.store.profiles.directory import ProfileDirectory

RULE: Final = "calls_per_second"


class ProfileRates:
    """Counts the calls of the profiles that are `limited`, by their name.

    A process learns the rate of a profile when it first reads something in it.
    """

    def __init__(self, table: RateTable, directory: ProfileDirectory) -> None:
        self._table = table
        self._directory = directory
        self.limited = directory.calls_per_second

    def count(self, profile: str) -> None:
        """Count a call of a profile; raises OverRate."""
        most = self.limited.get(profile)
        if most is None:
            return
        if self._directory.known(profile) is None:
            # It may have changed. Until it is read, the rate that was known last applies.
            self._directory.refresh(profile)
        wait = self._table.take((profile, RULE), SECOND, most)
        if wait:
            raise OverRate(RULE, wait)
