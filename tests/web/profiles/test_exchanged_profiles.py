"""Rows of Askar's table of profiles that somebody without the store's key has exchanged."""

import pytest
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer
from problems import refused

from minikms.config import Config
from minikms.maintenance.backup import back_up
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.verify import verify
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation

ALICE, BOB = {"X-Profile": "alice"}, {"X-Profile": "bob"}
EXCHANGE = (
    "UPDATE profiles SET name = 'x' WHERE name = '{0}'",
    "UPDATE profiles SET name = '{0}' WHERE name = '{1}'",
    "UPDATE profiles SET name = '{1}' WHERE name = 'x'",
)


@pytest.fixture
def location(persistent):
    return StoreLocation.parse(persistent["store"])


@pytest.fixture
def key(persistent):
    return StoreKey(persistent["store_key"])


@pytest.fixture
async def kid(persistent, location, key, change_rows):
    """The kid of Bob's key, in a store where his profile and Alice's were exchanged."""
    async with TestClient(KmsTestServer(create_service(Config(**persistent)))) as client:
        for name in ("alice", "bob"):
            await client.post("/profile", json={"name": name})
        async with client.post("/key/generate", json={"alg": "ed25519"}, headers=BOB) as made:
            kid = (await made.json())["kid"]
    async with StoreInspector.open(location, key) as inspector:
        names = (await inspector.directory()).askar_profiles
    await change_rows(*(line.format(names["alice"], names["bob"]) for line in EXCHANGE))
    return kid


async def test_neither_tenant_gets_the_others_keys(start, persistent, kid):
    client = await start(create_service(Config(**persistent)))
    for headers in (ALICE, BOB):
        for call in (
            client.get("/keys", headers=headers),
            client.post("/sign", json={"kid": kid, "data": "aGk"}, headers=headers),
            client.post("/key/generate", json={"alg": "ed25519"}, headers=headers),
            client.delete(f"/key/{kid}", headers=headers),
            client.delete(f"/profile/{headers['X-Profile']}"),
        ):
            await refused(await call, 500, "key-unreadable")
    made = await client.post("/key/generate", json={"alg": "ed25519"})
    assert made.status == 200


async def test_verify_says_so_and_a_backup_is_refused(location, key, kid, tmp_path):
    faults = []
    async with StoreInspector.open(location, key) as inspector:
        registry = AlgorithmRegistry.from_installed()
        await verify(inspector, registry, lambda *fault: faults.append(fault), faults.append)
    what = "Askar's profile for it belongs to {}: rows were exchanged in the database"
    assert faults == [("alice", "", what.format("bob")), ("bob", "", what.format("alice"))]
    if location.path is None:
        return
    with pytest.raises(StoreError, match=r"Profile alice of the store at .*: rows were exchanged"):
        await back_up(location.path, tmp_path / "backup.db", key)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("backup")] == []
