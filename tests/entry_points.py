"""Entry points of the installed packages, read once and not for each service.

To read the metadata of two hundred packages takes almost half of the start of a service.
"""

import functools
import sys
from importlib.metadata import EntryPoints, entry_points

import pytest

from minikms.doors import registry as doors
from minikms.plugin import registry as algorithms


def share_entry_points(patch: pytest.MonkeyPatch) -> None:
    """Read the entry points of algorithms and of doors once for each `sys.path`."""

    @functools.cache
    def read(group: str, path: tuple[str, ...]) -> EntryPoints:
        return entry_points(group=group)

    for module in (algorithms, doors):
        patch.setattr(module, "entry_points", lambda group: read(group, tuple(sys.path)))
