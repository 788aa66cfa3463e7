"""Makes Python environments for packages that conflict with the environment of the tests."""

import shutil
import subprocess
import sys
from pathlib import Path


def environment(folder: Path, *packages: str, python: str = sys.executable) -> Path:
    """Make an environment with packages, by options of pip, in a folder; returns its `python`."""
    uv = shutil.which("uv")  # installs as pip does, in a tenth of its processor time
    without = ["--without-pip"] if uv else []
    _run(python, "-m", "venv", *without, folder)
    made = folder / "bin" / "python"
    pip = [uv, "pip", "install", "--python", made] if uv else [made, "-m", "pip", "install"]
    _run(*pip, "--quiet", *packages)
    return made


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
