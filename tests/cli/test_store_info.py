"""`minikms store info` and `store verify`, in processes of their own."""

import asyncio

import pytest
from filled_stores import REGISTRY, fill, options_of

from minikms.key_requests import KeyRef
from minikms.keys.service import KeyService
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.entries import load_record, replace_record
from minikms.store.keys.key_store import KeyStore

pytestmark = pytest.mark.process


def test_info_counts_profiles_keys_and_algorithms(command, persistent_url, key, key_file):
    asyncio.run(fill(persistent_url, key))

    async def add_one_of_another():
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            (record, *_), _ = await store.listing.page("t", limit=1)
            await store.insert("t", type(record)(**{**fields(record), "kid": "x"}), b"")

    def fields(record):
        return {name: getattr(record, name) for name in record.__slots__} | {"alg": "gone"}

    asyncio.run(add_one_of_another())
    ended = command("store", "info", *options_of(persistent_url, key_file))
    backend = persistent_url.split(":")[0]
    place = str(StoreLocation.parse(persistent_url))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        f"Backend: {backend}",
        f"Location: {place}",
        "Layout: 4.0",
        "Profile default: 6 keys: bls12381g1 1, ed25519 1, hs256 1, mldsa44 1, p521 1, xc20p 1",
        "Profile empty: 0 keys",
        "Profile t: 6 keys: bls12381g1 1, ed25519 1, mldsa44 1, p521 1, rsa2048 1, not installed 1",
        "Profile z: 0 keys",
        "Profiles: 4",
        "Keys: 12",
    ]
    if backend == "postgres":
        assert persistent_url.split("@")[0].split(":")[-1] not in ended.stdout


@pytest.mark.postgres
def test_info_names_missing_statistics_and_settings_and_an_upgrade_makes_them(
    command, postgres_server, key, key_file
):
    url = postgres_server.create_database()
    asyncio.run(fill(url, key))
    store = options_of(url, key_file)
    assert "Missing" not in command("store", "info", *store).stdout
    for statement in "DROP STATISTICS minikms_items", "ALTER TABLE items RESET (fillfactor)":
        postgres_server.execute(statement, url.rpartition("/")[2])
    found = command("store", "info", *store).stdout
    missing = "minikms_items, items.fillfactor"
    assert f"Missing in PostgreSQL: {missing}: run `minikms store upgrade`.\n" in found
    assert command("store", "upgrade", *store).returncode == 0
    assert "Missing" not in command("store", "info", *store).stdout


def test_verify_finds_a_damaged_store(command, persistent_url, key, key_file):
    asyncio.run(fill(persistent_url, key))
    ended = command("store", "verify", *options_of(persistent_url, key_file))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Checked 4 profiles, 11 keys and 19 aliases: nothing wrong.\n"

    async def damage():
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            service = KeyService(REGISTRY, store)
            kid = (await service.operations.get(DEFAULT_PROFILE, KeyRef(alias="of hs256"))).kid
            database = store._database

            async def lose_material(session):
                record = await load_record(session, kid)
                await replace_record(session, record.drop_material())

            await database.run(DEFAULT_PROFILE, lose_material, write=True)
            askar_profile = await database.directory.askar_profile("empty")
            async with database._calls.transaction() as session:
                await session.replace("minikms.profile", "empty", f"-{askar_profile}")
                await session.insert("minikms.profile", "odd", "nowhere")
            return kid

    kid = asyncio.run(damage())
    ended = command("store", "verify", *options_of(persistent_url, key_file))
    assert (ended.returncode, ended.stderr) == (1, "")
    assert sorted(ended.stdout.splitlines()) == sorted(
        [
            f"default {kid} its material is missing",
            "odd - Askar has no profile for it",
            "Left over: the profile empty was removed, but parts of it remain",
            "Checked 4 profiles, 11 keys and 19 aliases: 2 wrong.",
        ]
    )
