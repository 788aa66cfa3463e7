"""Keys of algorithms that fail, or wait, after `generate`: no half of one is ever left."""

import asyncio
import threading
from importlib.metadata import EntryPoint

import pytest
from aries_askar import Key as AskarKey

from minikms.algorithms.okp import Ed25519
from minikms.config import Config
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

CATEGORIES = ("minikms.key", "minikms.alias")


class FailsToPack(Ed25519):
    name, aliases = "failstopack", ()

    def pack(self, key):
        raise RuntimeError("planted-7f3a")


class FailsToShow(Ed25519):
    name, aliases = "failstoshow", ()

    def public_jwk(self, key):
        raise RuntimeError("planted-7f3a")


class FailsToCount(Ed25519):
    name, aliases = "failstocount", ()

    def public_bytes(self, key):
        raise RuntimeError("planted-7f3a")


class FailsToIdentify(Ed25519):
    name, aliases = "failstoidentify", ()

    def public_jwk(self, key):
        return {"kty": "OKP"}


class FailsToBeStored(Ed25519):
    name, aliases = "failstobestored", ()

    def pack(self, key):
        return {"neither": "bytes nor a key"}


class Fixed(Ed25519):
    """Makes one key again and again, and keeps it in Askar."""

    name, aliases = "fixed", ()

    def generate(self):
        return self.import_secret(bytes(32))

    def pack(self, key):
        return AskarKey.from_secret_bytes("ed25519", self.secret_bytes(key))

    def unpack(self, stored):
        return self.import_secret(stored.get_secret_bytes())


class FixedBytes(Fixed):
    """The same key, kept as bytes."""

    name = "fixedbytes"

    def pack(self, key):
        return self.secret_bytes(key)

    def unpack(self, stored):
        return self.import_secret(stored)


class Slow(Ed25519):
    """Generates in a thread, and waits for `let`."""

    name, aliases, slow = "slow", (), frozenset({"generate"})
    begun, let = threading.Event(), threading.Event()

    def generate(self):
        assert threading.current_thread() is not threading.main_thread()
        self.begun.set()
        assert self.let.wait(30)
        return super().generate()

    def pack(self, key):
        return self.secret_bytes(key)

    def unpack(self, stored):
        return self.import_secret(stored)


FAILING = [FailsToPack, FailsToShow, FailsToCount, FailsToIdentify, FailsToBeStored]


@pytest.fixture
async def client(start):
    classes = [*FAILING, Fixed, FixedBytes, Slow]
    entries = [EntryPoint(cls.name, f"{__name__}:{cls.__name__}", GROUP) for cls in classes]
    return await start(create_service(Config(), AlgorithmRegistry(entries)))


async def stored(client, profile="default"):
    """Count the entries and keys in Askar."""
    database = client.app[SERVICE].operations.store._database
    async with database._pool.store.session(await database.directory.look_up(profile)) as session:
        counts = [await session.count(category) for category in CATEGORIES]
        return (*counts, len(await session.fetch_all_keys()))


async def generate(client, alg, profile="default"):
    headers = {"X-Profile": profile}
    return await client.post("/key/generate", json={"alg": alg}, headers=headers)


@pytest.mark.parametrize("algorithm", FAILING)
async def test_a_failure_after_generate_leaves_nothing(client, algorithm):
    response = await generate(client, algorithm.name)
    body = await response.text()
    assert (response.status, "internal-error" in body, "planted" in body) == (500, True, False)
    assert await stored(client) == (0, 0, 0)
    # Nor does it leave a transaction open.
    assert (await generate(client, "fixed")).status == 200


async def test_an_unknown_profile_leaves_nothing(client):
    assert (await generate(client, "fixed", "nobody")).status == 404
    assert await stored(client) == (0, 0, 0)


@pytest.mark.parametrize("first", ["fixed", "fixedbytes"])
@pytest.mark.parametrize("second", ["fixed", "fixedbytes"])
async def test_a_kid_is_there_once_whatever_holds_its_material(client, first, second):
    key = await (await generate(client, first)).json()
    path = f"/key/{key['kid']}"
    await client.post(f"{path}/associate", json={"alias": "a"})
    before = await stored(client)
    response = await generate(client, second)
    assert (response.status, "key-exists" in await response.text()) == (409, True)
    assert await stored(client) == before
    found = await (await client.get(path)).json()
    assert found == {**key, "aliases": ["a"], "cose_key": found["cose_key"]}
    signed = await client.post("/sign", json={"alias": "a", "data": ""})
    checked = {"kid": key["kid"], "data": "", **await signed.json()}
    assert await (await client.post("/verify", json=checked)).json() == {"valid": True}
    await client.delete(path)
    assert await stored(client) == (0, 0, 0)
    assert (await generate(client, second)).status == 200


async def test_a_profile_that_goes_while_its_key_is_made(client):
    Slow.begun.clear()
    Slow.let.clear()
    await client.post("/profile", json={"name": "alice"})
    making = asyncio.create_task(generate(client, "slow", "alice"))
    assert await asyncio.to_thread(Slow.begun.wait, 30)
    # The event loop is free meanwhile.
    assert (await client.delete("/profile/alice")).status == 200
    Slow.let.set()
    response = await making
    assert (response.status, "profile-not-found" in await response.text()) == (404, True)
    await client.post("/profile", json={"name": "alice"})
    assert await stored(client, "alice") == await stored(client) == (0, 0, 0)
