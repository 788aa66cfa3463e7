"""Private names of other libraries: each in a table, with its reason.

A library may change them in any release. So whoever uses one asks `missing` at the start, and
has a way to do without it.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class PrivateNames:
    """What one use needs of the private names of a library.

    `library` is its distribution. Each of `names` has its owner, a class or a module, and the
    reason. `without` says what happens where one is missing.
    """

    library: str
    names: tuple[tuple[Any, str, str], ...]
    without: str

    def missing(self) -> str:
        """Those that the installed version does not have, for the log; empty where it has all."""
        lost = [
            f"{owner.__name__}.{name}" for owner, name, _ in self.names if not hasattr(owner, name)
        ]
        return f"{self.library} {version(self.library)} has no {', '.join(lost)}" if lost else ""
