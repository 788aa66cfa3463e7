"""Handles of objects and sessions: no number is given twice."""

from collections.abc import Container
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """The object that a handle names, of a key in the service."""

    profile: str
    kid: str
    object_class: int
    fingerprint: str = ""  # of a certificate


class Handles:
    """The handles of a sidecar, for all programs: an object has the same in each."""

    def __init__(self, last: int = 0, references: dict[int, Reference] | None = None) -> None:
        self.last = last
        self.references = references or {}
        self._handles = {reference: handle for handle, reference in self.references.items()}

    def new(self) -> int:
        """A handle that nothing had."""
        self.last += 1
        return self.last

    def keep(self, profile: str, kids: Container[str], last: int) -> None:
        """Drop the handles up to `last` whose keys are gone from a profile."""
        for handle, reference in list(self.references.items()):
            if handle <= last and reference.profile == profile and reference.kid not in kids:
                del self.references[handle], self._handles[reference]

    def of(self, reference: Reference) -> int:
        """The handle of an object."""
        handle = self._handles.get(reference)
        if handle is None:
            handle = self._handles[reference] = self.new()
            self.references[handle] = reference
        return handle
