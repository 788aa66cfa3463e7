"""Seals for tests: toys, and the doors of a service in the test's own process."""

import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer, open_doors
from seals.toy_seals import Toy, install

from minikms.config import Config, DoorConfig
from minikms.key_requests import KeyPolicy
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE


@pytest.fixture
def quick_check_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute the check value of a sealed key in no time; by itself it takes a quarter second.

    Other processes do not open such a key.
    """
    derive = hashlib.scrypt

    def quick(secret: bytes, **costs: Any) -> bytes:
        return derive(secret, **{**costs, "n": 2})

    monkeypatch.setattr(hashlib, "scrypt", quick)


@pytest.fixture
def make_toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Toy]:
    """Install the toy seal, also for processes; returns a function that makes one."""
    install(tmp_path, monkeypatch)
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
        keys = app[SERVICE].owning(["aws:"])
        for alias in (f"aws:{key_id}", "kms"):
            await keys.creation.generate(DEFAULT_PROFILE, "a256gcm", KeyPolicy(aliases=(alias,)))
        yield Doors(urls["aws"], urls["vault"], key_id)


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials that boto3 finds in the environment, and none elsewhere."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
