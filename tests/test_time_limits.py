"""A test that fails, or whose time is over, ends with all that it has begun."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]

# Tests that hang in each way, and processes that would outlive a test: a service with workers that
# only SIGKILL ends, and a process in a session of its own.
FAILING = """
import asyncio
import os
import signal
import subprocess

import pytest
from minikms.web.state import SERVICE


async def test_waits():
    await asyncio.Event().wait()


async def test_waits_for_an_answer(client):
    wait = asyncio.Event().wait
    client.app[SERVICE].operations.get = lambda *_: wait()
    await client.get("/key/a")


@pytest.fixture
async def late():
    yield
    await asyncio.Event().wait()


async def test_waits_at_its_end(late):
    pass


def test_reads():
    os.read(os.pipe()[0], 1)


def test_computes():
    while True:
        pass


async def test_goes_on():
    await asyncio.sleep(0)


@pytest.mark.process
@pytest.mark.timeout(60)
def test_starts(serve, begin):
    begin("serve", "--port", "0")
    service = serve("--port", "0", "--workers", "2")
    os.killpg(service.process.pid, signal.SIGSTOP)
    subprocess.Popen(["setsid", "--fork", "sleep", "600"]).wait()
    raise AssertionError
"""

LATE = ["computes", "reads", "waits", "waits_at_its_end", "waits_for_an_answer"]


@pytest.mark.process
@pytest.mark.timeout(120)  # a pytest of its own, in which five tests hang
def test_nothing_outlives_a_test_that_fails(tmp_path):
    file, mark = tmp_path / "test_failing.py", secrets.token_hex()
    file.write_text(FAILING)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        ROOT / "pyproject.toml",
        "-p",
        "fixtures.service_fixtures",
    ]
    options = ["-m", "", "--timeout=2", "-rfE", "--tb=no", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "TEST_OF_LIMITS": mark}
    ended = subprocess.run(
        [*command, *options, file], cwd=ROOT, env=env, capture_output=True, text=True
    )
    rows = re.findall(r"^(?:FAILED|ERROR) ::test_(\S+) - (.*)", ended.stdout, re.MULTILINE)
    late = "Failed: Timeout (>2.0s) from pytest-timeout."
    assert dict(rows) == {**dict.fromkeys(LATE, late), "starts": "AssertionError"}, ended.stdout
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_OF_LIMITS") == mark:
                left.append(process.cmdline())
        except psutil.Error:
            continue
    assert left == []
