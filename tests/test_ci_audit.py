""".ci/audit.py names packages that were not audited in its last line.

The answers of pip-audit are made up, since its service cannot be made to fail.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci/audit.py"
FINE = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited"}
EDITABLE = {"name": "d", "skip_reason": "distribution marked as editable"}


@pytest.mark.parametrize(
    ("answer", "code", "last"),
    [
        ([FINE, EDITABLE], 0, "audited: all 1 packages"),
        ([FINE, UNKNOWN], 0, "NOT AUDITED: 1 of 2 packages"),
        ([UNKNOWN, UNKNOWN], 0, "NOT AUDITED: nothing, "),
        (None, 0, "NOT AUDITED: nothing, "),
        ([FINE, VULNERABLE], 1, "audited: all 2 packages"),
    ],
)
def test_the_last_line_says_what_was_not_audited(tmp_path, answer, code, last):
    said = "" if answer is None else json.dumps({"dependencies": answer})
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 1\n")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = (sys.executable, SCRIPT)
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1].startswith(last)
    assert ("PYSEC-1" in done.stdout) is bool(code)
