"""`minikms store copy`, in a process of its own."""

import asyncio
import json
import random
import threading
import time

import pytest
from aries_askar import Store
from filled_stores import PASSPHRASE, REGISTRY, everything, fill, next_place, options_of, write_key
from minikms_processes import complaints, refused

from minikms.key_requests import KeyPolicy
from minikms.keys.service import KeyService
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore

pytestmark = pytest.mark.process

# Each kind of store is source and target.
ACROSS = pytest.mark.parametrize(
    ("persistent_url", "target_url"),
    [("sqlite", "postgres"), ("postgres", "sqlite")],
    indirect=True,
)


def test_a_copy_that_cannot_be_made_leaves_no_key(command, key, key_file, tmp_path):
    url, file = f"sqlite://{tmp_path}/keys.db", tmp_path / "to.key"
    options = ["--to-key-file", str(file), "--generate-key", "--to"]
    copy = ["store", "copy", *options_of(url, key_file), *options]
    assert "There is no store" in refused(command(*copy, f"sqlite://{tmp_path}/copy.db"))
    assert not file.exists()
    asyncio.run(fill(url, key))
    for target in (f"sqlite://{tmp_path}/no/copy.db", url):
        refused(command(*copy, target))
        assert not file.exists()
    assert command(*copy, f"sqlite://{tmp_path}/copy.db").returncode == 0


def test_a_copy_that_was_cut_short_says_where_its_key_is(
    command, key, key_file, tmp_path, flip, query
):
    path, file = tmp_path / "keys.db", tmp_path / "to.key"
    url, target = f"sqlite://{path}", f"sqlite://{tmp_path}/copy.db"
    asyncio.run(fill(url, key))
    before = path.read_bytes()
    # The token. The entry behind it is the last place of tokens, which a copy makes anew.
    [(token,)] = query(path, "SELECT id FROM items WHERE kind = 2 ORDER BY id DESC LIMIT 1, 1")
    flip(path, token)
    options = ["--to", target, "--to-key-file", str(file)]
    ended = command("store", "copy", *options_of(url, key_file), *options, "--generate-key")
    assert ended.returncode == 1
    stays, _ = complaints(ended)
    assert f"{file} is kept" in stays
    path.write_bytes(before)
    again = command("store", "copy", *options_of(url, key_file), *options, "--generate-key")
    assert "Omit --generate-key" in refused(again)
    assert command("store", "copy", *options_of(url, key_file), *options).returncode == 0
    assert command("store", "verify", *options_of(target, str(file))).returncode == 0


@ACROSS
def test_a_copy_is_the_same(command, persistent_url, target_url, key, key_file):
    asyncio.run(fill(persistent_url, key, many=260))  # more than a batch
    ended = command("store", "copy", *options_of(persistent_url, key_file), "--to", target_url)
    assert (ended.returncode, complaints(ended)) == (0, [])
    *profiles, copied = ended.stdout.splitlines()
    assert sorted(profiles) == [
        "Profile default: 6 keys",
        "Profile empty: 0 keys",
        "Profile t: 5 keys",
        "Profile z: 260 keys",
    ]
    assert copied == (f"Copied 4 profiles and 271 keys to {StoreLocation.parse(target_url)}.")
    assert asyncio.run(everything(target_url, key)) == asyncio.run(everything(persistent_url, key))
    for profile in ("default", "empty", "z"):
        places = [
            asyncio.run(next_place(url, key, profile)) for url in (persistent_url, target_url)
        ]
        assert places[0] == places[1] == {"default": 8, "empty": 1, "z": 261}[profile]
    assert command("store", "verify", *options_of(target_url, key_file)).returncode == 0


@pytest.mark.parametrize("way", ["file", "variable", "passphrase", "generated"])
def test_a_copy_under_another_key(command, key, key_file, tmp_path, way):
    url, target = (f"sqlite://{tmp_path}/{name}.db" for name in ("keys", "copy"))
    asyncio.run(fill(url, key))
    method, secret, variables = "raw", new_raw_key(), {}
    options = ["--to-key-file", str(tmp_path / "to.key")]
    if way == "passphrase":
        method, secret = "argon2i", PASSPHRASE
        options += ["--to-key-method", method]
    if way == "generated":
        options += ["--generate-key"]
    elif way == "variable":
        options, variables = [], {"TO_STORE_KEY": secret}
    if way in ("file", "passphrase"):
        write_key(tmp_path / "to.key", secret)
    ended = command(
        "store", "copy", *options_of(url, key_file), *options, TO_STORE=target, **variables
    )
    assert (ended.returncode, complaints(ended)) == (0, [])
    if way == "generated":
        secret = (tmp_path / "to.key").read_text().strip()
    assert asyncio.run(everything(target, secret, method)) == asyncio.run(everything(url, key))
    assert "key" in refused(command("store", "info", *options_of(target, key_file)))


def test_a_target_that_is_a_store(command, persistent_url, target_url, key, key_file, tmp_path):
    other = new_raw_key()
    asyncio.run(fill(persistent_url, key))
    asyncio.run(fill(target_url, other, many=3))
    stores = [(persistent_url, key), (target_url, other)]
    before = [asyncio.run(everything(*store)) for store in stores]
    file = write_key(tmp_path / "other", other)
    copy = ["store", "copy", *options_of(persistent_url, key_file), "--to"]
    spelled = persistent_url.replace("/keys.db", "/./keys.db").replace(
        "postgres:", "postgresql:", 1
    )
    for options in (
        [target_url, "--to-key-file", file],
        [target_url],  # its key does not open this target
        [persistent_url],
        [spelled],
    ):
        assert "There is a store" in refused(command(*copy, *options))
    assert [asyncio.run(everything(*store)) for store in stores] == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--to", "memory"], "in memory"),
        (["--to", "sqlite:///no/such/directory/keys.db"], "/no/such/directory does not exist"),
        (["--to", "postgres://u:planted-7f3a@127.0.0.1:1/x"], "postgres://127.0.0.1:1/x "),
        (["--to", "sqlite://copy.db", "--to-key-method", "argon2i"], "needs --to-key-file"),
        (["--to", "sqlite://copy.db", "--generate-key"], "--to-key-file"),
        (["--to", "sqlite://copy.db", "--store", "memory"], "in memory"),
        (["--to", "sqlite://copy.db", "--store", "sqlite://gone.db"], "There is no store"),
    ],
)
def test_a_copy_that_cannot_be(command, key, key_file, tmp_path, monkeypatch, options, text):
    monkeypatch.chdir(tmp_path)
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    line = refused(command("store", "copy", *options_of(url, key_file), *options))
    assert text in line
    assert "planted" not in line
    assert not (tmp_path / "copy.db").exists()


@ACROSS
def test_a_copy_that_is_killed(command, run, begin, persistent_url, target_url, key, key_file):
    """The rest of a killed copy is not a store, and the next copy begins again."""
    asyncio.run(fill(persistent_url, key, many=260))
    copy = ["store", "copy", *options_of(persistent_url, key_file), "--to", target_url]
    for words in (["serve", "--port", "0"], ["store", "info"], ["store", "verify"]):
        while True:
            process = begin(*copy)
            for line in process.stdout:
                if "Profile t:" in line:
                    break
            time.sleep(random.uniform(0, 0.07))
            process.kill()
            rest, _ = process.communicate(timeout=60)
            if "Copied" not in rest:
                break
            # On a busy machine the kill may come too late: again, from nothing.
            assert asyncio.run(Store.remove(target_url))
        assert "was never finished" in refused(run(*words, *options_of(target_url, key_file)))
    ended = command(*copy)
    assert (ended.returncode, ended.stdout.splitlines()[-1][:31]) == (
        0,
        "Copied 4 profiles and 271 keys ",
    )
    assert asyncio.run(everything(target_url, key)) == asyncio.run(everything(persistent_url, key))
    ended = command("store", "verify", *options_of(target_url, key_file))
    assert (ended.returncode, "Left over" in ended.stdout) == (0, False)


@ACROSS
def test_a_copy_that_is_killed_continues(
    command, begin, persistent_url, target_url, key, key_file, tmp_path
):
    """Profiles that are removed or made again in the source meanwhile are so in the copy."""

    async def fill_more():
        await fill(persistent_url, key, many=260)
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            service = KeyService(REGISTRY, store)
            for profile in ("a", "b", "z2"):
                await service.profiles.create(profile)
                await service.creation.generate_batch(profile, "hs256", 60, KeyPolicy())

    async def change():
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            service = KeyService(REGISTRY, store)
            for profile in ("a", "b"):
                await service.operations.store.remove_profile(profile)
            await service.profiles.create("b")
            await service.creation.generate("b", "hs256", KeyPolicy())

    asyncio.run(fill_more())
    file = tmp_path / "progress"
    copy = ["store", "copy", *options_of(persistent_url, key_file), "--to", target_url]
    copy += ["--progress", str(file)]

    def kill_one():
        while True:
            process = begin(*copy)
            for line in process.stdout:
                if line.startswith("Profile "):
                    break
            time.sleep(random.uniform(0, 0.2))
            process.kill()
            process.communicate(timeout=60)
            if file.exists():
                return
            # On a busy machine the kill may come too late: again, from nothing.
            assert asyncio.run(Store.remove(target_url))

    kill_one()
    assert key not in file.read_text()
    asyncio.run(change())
    assert "not a file of progress" in refused(command(*copy[:-1], key_file))
    kill_one()
    ended = command(*copy)
    assert (ended.returncode, complaints(ended)) == (0, [])
    assert "Continuing after" in ended.stdout
    assert "Copied 6 profiles and 332 keys " in ended.stdout
    assert not file.exists()
    assert asyncio.run(everything(target_url, key)) == asyncio.run(everything(persistent_url, key))
    ended = command("store", "verify", *options_of(target_url, key_file))
    assert (ended.returncode, "Left over" in ended.stdout) == (0, False)


@ACROSS
def test_a_store_that_a_service_writes_to(
    command, serve, persistent_url, target_url, key, key_file
):
    asyncio.run(fill(persistent_url, key, many=260))
    service = serve("--port", "0", "--auth", "none", *options_of(persistent_url, key_file))
    stopped, failed, made, deleted = threading.Event(), [], [], []

    def call(connection, method, path, body=None):
        connection.request(method, path, body and json.dumps(body))
        with connection.getresponse() as response:
            answer = response.read()
        if response.status != 200:
            failed.append((response.status, answer))
        return json.loads(answer)

    def keep_writing():
        connection = service.connect()
        for n in range(10**9):
            if stopped.is_set():
                break
            made.append(call(connection, "POST", "/key/generate", {"alg": "ed25519"})["kid"])
            call(connection, "POST", f"/key/{made[-(n % 2)]}/associate", {"alias": "moves"})
            call(connection, "POST", f"/key/{made[-1]}/associate", {"alias": f"of {n}"})
            if n % 3 == 2:
                deleted.append(made[n - 1])
                call(connection, "DELETE", f"/key/{made[n - 1]}")
            if n % 10 == 0:
                call(connection, "POST", "/profile", {"name": f"p{n}"})
            if n % 10 == 9:
                call(connection, "DELETE", f"/profile/p{n - 9}")
        connection.close()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    log = threading.Thread(target=service.process.stderr.read)  # or it waits for a reader
    log.start()
    try:
        while len(made) < 20 and not failed:
            time.sleep(0.01)
        there = {*made[:20]}
        ended = [
            command("store", "verify", *options_of(persistent_url, key_file)),
            command("store", "copy", *options_of(persistent_url, key_file), "--to", target_url),
            command("store", "info", *options_of(persistent_url, key_file)),
        ]
    finally:
        stopped.set()
        writer.join(60)
    assert [(command.returncode, complaints(command)) for command in ended] == [(0, [])] * 3
    assert failed == []
    service.process.terminate()
    log.join(60)
    assert service.process.wait(60) == 0
    assert len(made) > 20
    copied = {record.kid for record, _ in asyncio.run(everything(target_url, key))["default"]}
    assert there - {*deleted} <= copied
    for url in (persistent_url, target_url):
        assert command("store", "verify", *options_of(url, key_file)).returncode == 0


# Only an Askar key has material in an entry of its own, which comes before its record.
@pytest.mark.parametrize(
    ("alg", "what"), [("ed25519", "record"), ("xc20p", "record"), ("xc20p", "material")]
)
def test_a_key_that_cannot_be_copied(command, key, key_file, tmp_path, flip, query, alg, what):
    path = tmp_path / "keys.db"
    url, target = f"sqlite://{path}", f"sqlite://{tmp_path}/copy.db"
    asyncio.run(fill(url, key, many=2))

    async def add():
        async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
            return (await KeyService(REGISTRY, store).creation.generate("z", alg, KeyPolicy())).kid

    kid = asyncio.run(add())
    [(last,)] = query(path, "SELECT max(id) FROM items")
    flip(path, last if what == "record" else last - 1)
    ended = command("store", "copy", *options_of(url, key_file), "--to", target)
    line = refused(ended, 1)
    assert line.startswith("Profile z: ")
    assert (kid if what == "material" else "The record of a key cannot be read") in line
    assert "was never finished" in refused(command("store", "info", *options_of(target, key_file)))
