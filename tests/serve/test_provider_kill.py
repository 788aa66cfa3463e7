"""Processes are killed while they make and delete keys of a provider."""

import sys
from pathlib import Path

import pytest

KILLS = 20
TESTS = Path(__file__).parents[1]


@pytest.mark.process
@pytest.mark.timeout(120)  # 45 processes, one after the other
def test_a_killed_process_leaves_no_object_and_no_key_without_one(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}:{TESTS / 'sample_provider'}")
    program = [sys.executable, str(TESTS / "killed_maker.py"), str(tmp_path), str(KILLS)]
    ended = run(command=program)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > KILLS
