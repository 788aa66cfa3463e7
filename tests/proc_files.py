"""Read /proc of another process."""

import contextlib
import os
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may read a service's /proc: run pytest as root"
)


def open_files(pid: int) -> set[str]:
    """The names of a process's open files; some may be closed by now."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(descriptor))
    return found
