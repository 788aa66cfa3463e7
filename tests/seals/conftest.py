"""Seals for tests: toys, and the doors of a service in the test's own process."""

import os
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp.test_utils import TestClient
from in_process import KmsTestServer, open_doors

from minikms.config import Config, DoorConfig
from minikms.records import DEFAULT_PROFILE, KeyPolicy
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

SAMPLE = Path(__file__).parents[1] / "toy_seal"


class Toy:
    """A toy seal, and its faults: `away`, `refuses`, `hangs`, `fails`, `lies`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "key").write_bytes(os.urandom(32))
        self.folder, self.uri = folder, f"toy:{folder}"

    def begin(self, fault: str) -> None:
        (self.folder / fault).touch()

    def end(self, fault: str) -> None:
        (self.folder / fault).unlink()

    def end_once(self, fault: str, other: "Toy") -> None:
        """End a fault after another toy's next call, in a thread."""
        before = other.calls

        def wait() -> None:
            while other.calls == before:
                time.sleep(0.001)
            self.end(fault)

        threading.Thread(target=wait, daemon=True).start()

    @property
    def calls(self) -> int:
        file = self.folder / "calls"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def make_toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Toy]:
    """Install the toy seal, also for processes; returns a function that makes one."""
    site = tmp_path / "site"
    info = site / "minikms_toy-1.0.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: minikms-toy\nVersion: 1\n")
    info.joinpath("entry_points.txt").write_text("[minikms.seals]\ntoy = minikms_toy:ToySeal\n")
    for folder in (site, SAMPLE):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{SAMPLE}")
    return lambda name: Toy(tmp_path / name)


@pytest.fixture
def one(make_toy: Callable[[str], Toy]) -> Toy:
    return make_toy("one")


@pytest.fixture
def two(make_toy: Callable[[str], Toy]) -> Toy:
    return make_toy("two")


class Doors(NamedTuple):
    """The URLs of a service's doors, and the UUID of a key there, whose alias at Vault is `kms`."""

    aws: str
    vault: str
    key_id: str


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    """The AWS door and the Vault door of a service in memory, with a key for seals."""
    opened = tuple(DoorConfig(name, "127.0.0.1", 0) for name in ("aws", "vault"))
    app, key_id = create_service(Config(doors=opened)), str(uuid.uuid4())
    async with TestClient(KmsTestServer(app)), open_doors(app) as urls:
        for alias in (f"aws:{key_id}", "kms"):
            await app[SERVICE].generate(DEFAULT_PROFILE, "a256gcm", KeyPolicy(aliases=(alias,)))
        yield Doors(urls["aws"], urls["vault"], key_id)


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials that boto3 finds in the environment, and none elsewhere."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
