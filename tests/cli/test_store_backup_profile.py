"""`minikms store backup --profile` and `minikms store restore --profile`."""

import asyncio
import stat

import pytest
from filled_stores import everything, fill, options_of
from minikms_processes import complaints, refused

from minikms.access.tokens import Tokens
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore


async def make_token(url, key):
    """Make a token that is valid in the profile t alone."""
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
        await Tokens(store.database).create("of t", ("sign",), ("t",))


async def remove(url, key, *profiles):
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
        for profile in profiles:
            await store.remove_profile(profile)


async def tokens(url, key):
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
        return sorted([record.name async for record in Tokens(store.database).all_records()])


def test_a_profile_is_restored(command, persistent_url, key, key_file, tmp_path):
    asyncio.run(fill(persistent_url, key))
    asyncio.run(make_token(persistent_url, key))
    before = asyncio.run(everything(persistent_url, key))
    file, options = tmp_path / "t.db", options_of(persistent_url, key_file)
    done = command("store", "backup", "--profile", "t", str(file), *options)
    assert (done.returncode, complaints(done)) == (0, [])
    assert "Profile t: 5 keys, 1 token" in done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.glob("t.db*")] == ["t.db"]
    assert asyncio.run(everything(persistent_url, key)) == before
    restore = ["store", "restore", "--profile", "t", str(file), *options]
    assert "already" in refused(command(*restore))
    asyncio.run(remove(persistent_url, key, "t", "empty"))
    done = command(*restore)
    assert (done.returncode, complaints(done)) == (0, [])
    found = asyncio.run(everything(persistent_url, key))
    assert found == {name: keys for name, keys in before.items() if name != "empty"}
    assert asyncio.run(tokens(persistent_url, key)) == ["issuer", "of t"]
    assert command("store", "verify", *options).returncode == 0


def test_a_profile_of_a_whole_backup_is_restored(command, key, key_file, tmp_path):
    url, file = f"sqlite://{tmp_path}/keys.db", str(tmp_path / "all.db")
    asyncio.run(fill(url, key))
    before = asyncio.run(everything(url, key))
    assert command("store", "backup", file, *options_of(url, key_file)).returncode == 0
    asyncio.run(remove(url, key, "t"))
    restore = ["store", "restore", "--profile", "t", file, "--store"]
    for place in (url, f"sqlite://{tmp_path}/new.db"):
        done = command(*restore, place, "--store-key-file", key_file)
        assert (done.returncode, complaints(done)) == (0, [])
    assert asyncio.run(everything(url, key)) == before
    new = asyncio.run(everything(f"sqlite://{tmp_path}/new.db", key))
    assert new == {"default": [], "t": before["t"]}


@pytest.mark.parametrize("action", ["backup", "restore"])
def test_a_missing_profile_a_taken_file_and_the_store_itself_are_refused(
    command, key, key_file, tmp_path, action
):
    url, file = f"sqlite://{tmp_path}/keys.db", tmp_path / "some.db"
    asyncio.run(fill(url, key))
    options = options_of(url, key_file)
    if action == "restore":
        command("store", "backup", str(file), *options)
    missing = command("store", action, "--profile", "x", str(file), *options)
    assert "no profile x" in refused(missing)
    if action == "backup":
        assert [each.name for each in tmp_path.glob("some*")] == []
        file.touch()
        taken = command("store", action, "--profile", "t", str(file), *options)
        assert "exists already" in refused(taken)
    own = command("store", "restore", "--profile", "t", str(tmp_path / "keys.db"), *options)
    assert "the store itself" in refused(own)
