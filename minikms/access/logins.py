"""The numbers of logins: of JWTs and client certificates that were verified."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from minikms.access.callers import Caller
from minikms.errors import Forbidden, Unauthenticated
from minikms.events import SUCCESS

# Stands in place of a role for a caller that has none.
_NO_ROLE: Final = "none"


class Logins:
    """Counts logins by role and outcome; the roles are those of the operator's file."""

    def __init__(self) -> None:
        outcomes = SUCCESS, Forbidden.slug, Unauthenticated.slug
        self.numbers = Counter({(_NO_ROLE, outcome): 0 for outcome in outcomes})

    def begin(self, roles: Iterable[str]) -> None:
        """Start the numbers of these roles at 0, so that metrics show roles without logins."""
        for role in roles:
            self.numbers[role, SUCCESS] += 0

    def count(self, caller: Caller | None) -> None:
        """Count a login for each role of its caller; None stands for a refused login."""
        if caller is None:
            self.numbers[_NO_ROLE, Unauthenticated.slug] += 1
        elif caller.has_no_role:
            self.numbers[_NO_ROLE, Forbidden.slug] += 1
        else:
            for role in caller.roles or (_NO_ROLE,):
                self.numbers[role, SUCCESS] += 1
