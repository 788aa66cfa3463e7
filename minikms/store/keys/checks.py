"""Checks of callers, which a transaction calls before it changes anything."""

from collections.abc import Callable
from typing import TypeAlias

from minikms.records import KeyRecord
from minikms.versions import KeyVersions

# Called with the record of a key; raises to refuse.
Check: TypeAlias = Callable[[KeyRecord], object]

# Called with the record of the newest version of an alias and its versions; raises to refuse.
CheckVersions: TypeAlias = Callable[[KeyRecord, KeyVersions], object]


def no_check(_: KeyRecord) -> None:
    """Accept every record."""


def no_check_of_versions(_: KeyRecord, __: KeyVersions) -> None:
    """Accept every record with its versions."""
