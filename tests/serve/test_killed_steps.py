"""Processes are killed at each step of a rotation."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = 300  # on a busy machine, for up to 110 processes, four at a time


@pytest.mark.kill
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(("database", "kills"), [("sqlite", 36), ("postgres", 18)])
def test_a_killed_process_leaves_each_rotation_at_a_step_from_which_another_goes_on(
    run, request, tmp_path, monkeypatch, database, kills
):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}:{TESTS / 'sample_provider'}")
    urls = [f"sqlite://{tmp_path}/keys{number}.db" for number in range(kills + 1)]
    if database == "postgres":
        server = request.getfixturevalue("postgres_server")
        urls = [server.create_database() for _ in urls]
    program = [sys.executable, "-m", "serve.killed_steps", *urls]
    ended = run(command=program, seconds=SECONDS)
    assert ended.returncode == 0, ended.stderr
    killed, points = map(int, ended.stdout.split())
    assert (killed, points >= 12) == (kills, True)
