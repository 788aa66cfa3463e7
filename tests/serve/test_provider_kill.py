"""Processes are killed while they make and delete keys of a provider."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = 600  # on a busy machine, for up to 115 processes, five at a time


@pytest.mark.process
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(("database", "kills"), [("sqlite", 36), ("postgres", 12)])
def test_a_killed_process_leaves_only_objects_whose_keys_it_was_making(
    run, request, tmp_path, monkeypatch, database, kills
):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}:{TESTS / 'sample_provider'}")
    databases = []
    if database == "postgres":
        server = request.getfixturevalue("postgres_server")
        databases = [server.create_database() for _ in range(kills + 2)]
    program = [sys.executable, str(TESTS / "serve/killed_maker.py"), str(tmp_path), str(kills)]
    ended = run(command=[*program, *databases], seconds=SECONDS)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == kills
