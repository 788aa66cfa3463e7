import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import environment

from minikms_client import AsyncClient, Client
from minikms_client.cli.main import mkms
from minikms_client.pytest_plugin import serve


@pytest.fixture
async def kms(minikms):
    """The client for asyncio, in the same profile as `minikms`."""
    async with AsyncClient(minikms.url, token="", profile=minikms.profile) as client:
        yield client


@pytest.fixture(scope="session")
def document(minikms_url):
    with Client(minikms_url, token="") as client:
        return client.openapi()


@pytest.fixture(scope="session")
def admin_token():
    """The token of `guarded_url` that has every scope."""
    command = [sys.executable, "-m", "minikms", "token", "generate"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def guarded_url(admin_token, tmp_path_factory):
    """A server that asks for tokens."""
    file = tmp_path_factory.mktemp("tokens") / "admin"
    file.write_text(admin_token)
    file.chmod(0o600)
    with serve("--auth", "token", "--admin-token-file", str(file)) as url:
        yield url


@pytest.fixture(scope="session")
def make_sync():
    """The script beside the package."""
    path = Path(__file__).parents[1] / "make_sync.py"
    spec = importlib.util.spec_from_file_location("make_sync", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shell(minikms, tmp_path):
    """Run a line of bash, which must end with `code`; return its standard output."""

    def run(line, code=0, given=b""):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            input=given,
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=environment(minikms),
        )
        assert done.returncode == code, done.stderr.decode()
        run.error = done.stderr.decode()
        return done.stdout.decode(errors="surrogateescape").rstrip("\n")

    return run


@pytest.fixture
def command(minikms, tmp_path, monkeypatch):
    """Run a pipeline of commands in this process; each reads the output of the previous one."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment(minikms).items():
        monkeypatch.setenv(name, value)

    def run(line, code=0, given=b""):
        *before, last = line.split(" | ")
        for one in before:
            given = invoke(one, 0, given).stdout_bytes
        done = invoke(last, code, given)
        run.error = done.stderr
        return done.stdout.rstrip("\n")

    def invoke(line, code, given):
        name, *arguments = shlex.split(line)
        assert name == "mkms"
        done = CliRunner().invoke(mkms, arguments, given, catch_exceptions=False)
        assert done.exit_code == code, done.stderr
        return done

    return run


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path):
    names = ("URL", "TOKEN", "TOKEN_FILE", "PROFILE", "CA", "CERT", "CERT_KEY", "CONTEXT")
    for name in names:
        monkeypatch.delenv(f"MINIKMS_{name}", raising=False)
    monkeypatch.setenv("MINIKMS_CONFIG", str(tmp_path / "mkms" / "config.json"))
