"""Private names of other libraries, each in a table with its reason.

A library may change them in any release: code that uses one calls `missing` at the start, and
without the name works in another way or refuses to start.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class PrivateNames:
    """The private names of a library that one feature uses.

    `library` is the distribution. `names` are triples of the owner (a class or a module), the name
    and the reason. `without` describes the effect if a name is missing.
    """

    library: str
    names: tuple[tuple[Any, str, str], ...]
    without: str

    def missing(self) -> str:
        """Describe, for the log, the names that the installed version lacks; empty if none."""
        lost = [
            f"{owner.__name__}.{name}" for owner, name, _ in self.names if not hasattr(owner, name)
        ]
        return f"{self.library} {version(self.library)} has no {', '.join(lost)}" if lost else ""
