"""A small disk, which a test fills."""

import contextlib
import itertools
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder, size):
    """Mount a disk of `size` bytes at a new folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:  # lazily: a service that failed may have files there until its fixture ends it
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk):
    """Write a file until nothing more fits; its path."""
    with contextlib.suppress(OSError), open(disk / "other", "wb", buffering=0) as other:
        for _ in itertools.count():
            other.write(bytes(4096))
    return disk / "other"
