"""Run a linter of pkilint on certificates and lists: one process for several files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# The programs take one file each, and read for a second before they lint it.
LINT = """
import sys
from importlib import import_module

program, options, files = sys.argv[1], sys.argv[2].split(), sys.argv[3:]
for file in files:
    import_module(f"pkilint.bin.{program}").main(["lint", *options, "-f", "JSON", file])
    print(flush=True)
"""


def lint(program: str, options: str, *files: Path) -> list[list[dict[str, Any]]]:
    """The findings in each file."""
    pytest.importorskip("pkilint", reason="pip install -e '.[test-all]'")
    command = [sys.executable, "-c", LINT, program, options, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = [json.loads(line)["results"] for line in done.stdout.splitlines() if line]
    assert len(results) == len(files), done.stderr
    return results
