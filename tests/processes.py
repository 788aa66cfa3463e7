"""What the system says of another process, by /proc."""

import contextlib
import os
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="root alone looks into a service by /proc: run pytest as root"
)


def open_files(pid: int) -> set[str]:
    """The names of what a process has open, of which some may be closed meanwhile."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(descriptor))
    return found
