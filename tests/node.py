"""Packages of npm, for tests that run programs of Node.js."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

AXE = "axe-core@4.10.3"  # looks for faults of accessibility in a page


def require(*programs: str) -> Callable[[str], NoReturn]:
    """Skip the test if a program is missing; gives the function that skips it.

    MINIKMS_TEST_REQUIRE_NODE=1 lets the test fail instead, as in CI.
    """
    end = pytest.fail if os.environ.get("MINIKMS_TEST_REQUIRE_NODE") == "1" else pytest.skip
    if missing := [program for program in programs if shutil.which(program) is None]:
        end(f"needs {' and '.join(missing)}: apt-get install nodejs npm")
    return end


def install(folder: Path, *packages: str) -> Path:
    """Let npm install packages from its registry into a folder, or skip the test as `require`."""
    end = require("node", "npm")
    command = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150)
    if done.returncode:
        end(f"npm does not get {' '.join(packages)} from its registry: {done.stderr[-300:]}")
    return folder
