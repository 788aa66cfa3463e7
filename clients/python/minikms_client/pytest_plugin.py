"""The fixtures `minikms_url` and `minikms`, for tests of programs that use Mini KMS.

They need the package `minikms-server`, in the environment of the tests or in another one. Then
MINIKMS_COMMAND is the command that starts it, such as /opt/minikms/bin/minikms.
"""

import contextlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from minikms_client import Client

_LISTENS = re.compile(r"listening on (https?://\S+:\d+),")


@contextlib.contextmanager
def serve(*options: str) -> Iterator[str]:
    """Start a server on a free port, with keys in memory; yield its URL.

    `options` are options of `minikms serve`; environment variables are ignored. Raises RuntimeError
    with the server's output if it does not start within a minute.
    """
    variables = {name: v for name, v in os.environ.items() if not name.startswith("MINIKMS_")}
    command = [*_command(), "serve", "--port", "0", "--shutdown-grace", "0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        open(Path(folder, "log"), "w") as log,
        subprocess.Popen(
            [*command, *options], env=variables, stdout=subprocess.DEVNULL, stderr=log
        ) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.terminate)
        yield _wait_until_it_listens(process, Path(folder, "log"))


def _command() -> list[str]:
    """Return the command of the server: MINIKMS_COMMAND, or the one in this environment."""
    given = os.environ.get("MINIKMS_COMMAND")
    return shlex.split(given) if given else [sys.executable, "-m", "minikms"]


def _wait_until_it_listens(process: subprocess.Popen[bytes], log: Path) -> str:
    """Read the URL of a started server from its log."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        is_running = process.poll() is None
        if found := _LISTENS.search(log.read_text(errors="replace")):
            return found[1]
        if not is_running:
            break
        time.sleep(0.02)
    raise RuntimeError(f"The server did not start:\n{log.read_text(errors='replace')}")


@pytest.fixture(scope="session")
def minikms_url() -> Iterator[str]:
    """The URL of a server that serves all tests, with keys in memory."""
    if "MINIKMS_COMMAND" not in os.environ and importlib.util.find_spec("minikms") is None:
        pytest.skip("Mini KMS is not installed here: install it, or set MINIKMS_COMMAND")
    with serve() as url:
        yield url


@pytest.fixture
def minikms(minikms_url: str) -> Iterator[Client]:
    """A client with its own profile, which is deleted after the test."""
    name = f"test-{uuid.uuid4().hex}"
    with Client(minikms_url, token="", profile=name) as client:
        client.create_profile(name)
        yield client
        client.delete_profile(name)
