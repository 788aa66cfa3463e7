"""`minikms store rekey`, in a process of its own."""

import asyncio
import os
import random
import stat
import time

import pytest
from filled_stores import PASSPHRASE, REGISTRY, everything, fill, options_of, write_key
from minikms_processes import refused

from minikms.errors import StoreUnavailable
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore

pytestmark = pytest.mark.process


# How the key is given is read before a store is.
@pytest.mark.parametrize(
    ("persistent_url", "way"),
    [
        *(("sqlite", way) for way in ("file", "variable", "passphrase", "generated")),
        ("postgres", "file"),
    ],
    indirect=["persistent_url"],
)
def test_rekey_replaces_the_store_key_and_keeps_everything(
    command, persistent_url, key, key_file, tmp_path, way
):
    asyncio.run(fill(persistent_url, key))
    before = asyncio.run(everything(persistent_url, key))
    new_file, method, variables = str(tmp_path / "new.key"), "raw", {}
    options = ["--new-key-file", new_file]
    if way == "passphrase":
        write_key(tmp_path / "new.key", PASSPHRASE)
        method = "argon2i"
        options += ["--new-key-method", method]
    elif way == "generated":
        options += ["--generate-key"]
    elif way == "file":
        write_key(tmp_path / "new.key", new_raw_key())
    else:
        secret = new_raw_key()
        options, variables = [], {"NEW_STORE_KEY": secret}
    ended = command("store", "rekey", *options_of(persistent_url, key_file), *options, **variables)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Done: the new key opens the store" in ended.stdout.splitlines()[-1]
    if way == "variable":
        write_key(tmp_path / "new.key", secret)
    assert stat.S_IMODE(os.stat(new_file).st_mode) == 0o600
    new = (tmp_path / "new.key").read_text().strip()
    assert new not in ended.stdout
    assert asyncio.run(everything(persistent_url, new, method)) == before
    line = refused(command("store", "info", *options_of(persistent_url, key_file)))
    assert "key" in line
    assert command("store", "verify", *options_of(persistent_url, new_file, method)).returncode == 0


@pytest.mark.parametrize("persistent_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "MINIKMS_NEW_STORE_KEY"),
        (["--new-key-file", "old"], "already"),
        (["--new-key-file", "bad"], "not a raw key"),
        (["--new-key-file", "missing"], "cannot be read"),
        (["--new-key-method", "argon2i"], "needs --new-key-file"),
        (["--generate-key"], "--new-key-file"),
        (["--new-key-file", "old", "--generate-key"], "cannot be made"),
        (["--new-key-file", "new", "--new-key-method", "argon2i", "--generate-key"], "raw key"),
    ],
)
def test_a_new_key_that_cannot_be(run, persistent_url, key, key_file, tmp_path, options, text):
    async def begin():
        await fill(persistent_url, key)
        return await everything(persistent_url, key)

    async def make_a_profile_meanwhile():
        """Make and remove a profile, like a service that opened the store before `rekey`."""
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            ended = await asyncio.to_thread(
                run, "store", "rekey", *options_of(persistent_url, key_file), *options
            )
            await store.directory.create("u")
            await store.remove_profile("u")
        return ended

    before = asyncio.run(begin())
    write_key(tmp_path / "old", key)
    write_key(tmp_path / "bad", "not base58: 0OIl")
    options = [
        str(tmp_path / word) if not word.startswith("-") and word != "argon2i" else word
        for word in options
    ]
    assert text in refused(asyncio.run(make_a_profile_meanwhile()))
    assert asyncio.run(everything(persistent_url, key)) == before


def test_an_old_key_that_is_none(command, persistent_url, key, tmp_path):
    asyncio.run(fill(persistent_url, key))
    other = write_key(tmp_path / "other", new_raw_key())
    options = ["--new-key-file", str(tmp_path / "new"), "--generate-key"]
    assert "does not open" in refused(
        command("store", "rekey", *options_of(persistent_url, other), *options)
    )
    assert not (tmp_path / "new").exists()


async def test_a_service_that_was_open_before_a_rekey(run, persistent_url, key, key_file, tmp_path):
    await fill(persistent_url, key)
    location = StoreLocation.parse(persistent_url)
    async with KeyStore.open(location, StoreKey(key)) as before:
        service = KeyService(REGISTRY, before)
        record = await service.operations.get(DEFAULT_PROFILE, KeyRef(alias="of hs256"))
        new_file = str(tmp_path / "new")
        options = ["--new-key-file", new_file, "--generate-key"]
        ended = await asyncio.to_thread(
            run, "store", "rekey", *options_of(persistent_url, key_file), *options
        )
        assert ended.returncode == 0
        # The service still has the keys of the profiles that it knows.
        assert await service.operations.get(DEFAULT_PROFILE, KeyRef(kid=record.kid)) == record
        await service.creation.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
        for call in (
            service.profiles.create("u"),
            service.operations.get("t", KeyRef(alias="a")),
            service.creation.generate("t", "ed25519", KeyPolicy()),
            service.descriptions.list_keys("t", limit=1),
        ):
            with pytest.raises(StoreUnavailable, match="key has changed"):
                await call
    async with KeyStore.open(location, StoreKey((tmp_path / "new").read_text().strip())) as after:
        assert await after.directory.names() == [DEFAULT_PROFILE, "empty", "t", "z"]
        await after.directory.create("u")
    ended = await asyncio.to_thread(run, "store", "verify", *options_of(persistent_url, new_file))
    assert (ended.returncode, "Left over" in ended.stdout) == (0, False)


def test_a_rekey_that_is_killed(begin, persistent_url, key, tmp_path):
    """One of the two keys opens the store, whenever the command was killed."""

    async def make():
        async with KeyStore.create(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            for n in range(50):  # each has its own key, to be encrypted again
                await store.directory.create(f"p{n}")

    async def opens(secret):
        try:
            async with KeyStore.open(
                StoreLocation.parse(persistent_url), StoreKey(secret)
            ) as store:
                names = await store.directory.names()
                for name in names:
                    assert await store.listing.page(name, limit=1) == ([], False)
                return len(names) == 51
        except StoreError:
            return False

    asyncio.run(make())
    current = key
    for n in range(6):
        other = new_raw_key()
        files = [write_key(tmp_path / f"{n}.{i}", text) for i, text in enumerate((current, other))]
        process = begin(
            "store", "rekey", *options_of(persistent_url, files[0]), "--new-key-file", files[1]
        )
        assert process.stdout.readline().startswith("Changing the key: keep the old")
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.wait(60)
        opened = [asyncio.run(opens(secret)) for secret in (current, other)]
        assert sorted(opened) == [False, True]
        current = other if opened[1] else current


def test_a_rekey_that_cannot_be_leaves_no_key(command, key, key_file, tmp_path):
    url, new = f"sqlite://{tmp_path}/keys.db", tmp_path / "new"
    options = ["--new-key-file", str(new), "--generate-key"]
    assert "There is no store" in refused(
        command("store", "rekey", *options_of(url, key_file), *options)
    )
    assert not new.exists()
    asyncio.run(fill(url, key))
    assert command("store", "rekey", *options_of(url, key_file), *options).returncode == 0
