"""An audit log that cannot be written: the cause in the log, and readiness until it can be."""

import os
import subprocess

import pytest
from problems import refused
from proc_files import needs_root

from minikms.config import Config
from minikms.serve.assembly import create_service


@pytest.fixture
def disk(tmp_path):
    """A folder with a file system of its own, which a fault can make read-only."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no image can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def audited(start):
    """Start a service whose audit log is in a folder."""

    async def begin(folder):
        return await start(create_service(Config(audit_log=str(folder / "audit.log"))))

    return begin


async def status(client, path, body=None):
    async with client.request("POST" if body else "GET", path, json=body) as response:
        return response.status


@needs_root
async def test_a_disk_that_becomes_read_only(audited, disk, caplog):
    client = await audited(disk)
    assert await status(client, "/random", {"length": 1}) == 200
    subprocess.run(["mount", "-o", "remount,abort", disk], check=True)  # as ext4 does by itself
    for _ in range(3):
        assert await status(client, "/random", {"length": 1}) == 503
    assert await status(client, "/readyz") == 503
    messages = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in messages if "cannot be written" in line]
    assert line.endswith("Read-only file system")


async def test_a_service_is_ready_again_once_its_log_can_be_written(audited, tmp_path):
    client, path = await audited(tmp_path), tmp_path / "audit.log"
    os.rename(path, away := tmp_path / "away.log")
    assert await status(client, "/random", {"length": 1}) == 503
    for _ in range(2):
        async with client.get("/readyz") as response:
            await refused(response, 503, "audit-unavailable")
    assert await status(client, "/healthz") == 200
    os.rename(away, path)
    assert await status(client, "/readyz") == 200
    assert await status(client, "/random", {"length": 1}) == 200
    assert path.read_bytes().count(b'"operation":"readyz"') == 1
