"""`minikms store …` in processes of its own."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import random
import sqlite3
import stat
import subprocess
import threading
import time

import pytest
from conftest import MINIKMS, environment

from minikms.access.tokens import Tokens
from minikms.errors import StoreUnavailable
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyPolicy, KeyRef, KeySource
from minikms.startup_errors import StoreError
from minikms.store.askar import new_raw_key
from minikms.store.keys import DEFAULT_PROFILE, KeyStore
from minikms.store.location import StoreKey, StoreLocation

pytestmark = pytest.mark.process

REGISTRY = AlgorithmRegistry.from_installed()
PASSPHRASE = "correct horse battery staple"


@pytest.fixture(params=["sqlite", "postgres"])
def target_url(request, tmp_path):
    """Where a copy can be made."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/copy.db"
    return request.getfixturevalue("postgres_server").url(f"copy_{random.randbytes(8).hex()}")


@pytest.fixture
def key():
    return new_raw_key()


@pytest.fixture
def key_file(tmp_path, key):
    return write(tmp_path / "store.key", key)


def write(path, secret):
    """A key file, as its option has it."""
    path.touch(0o600)
    path.write_text(f"{secret}\n")
    return str(path)


def of(url, key_file, method="raw"):
    """The options of a store."""
    return ["--store", url, "--store-key-file", key_file, "--store-key-method", method]


async def fill(url, key, *, many=0):
    """Make a store with keys of every kind, and the last one deleted; with `many` more in `z`."""
    async with KeyStore.create(StoreLocation.parse(url), StoreKey(key)) as store:
        service = KeyService(REGISTRY, store)
        for profile in ("empty", "t", "z"):
            await service.create_profile(profile)
        for alg in ("ed25519", "p521", "bls12381g1", "mldsa44", "hs256", "xc20p", "rsa2048"):
            policy = KeyPolicy(aliases=(f"did:x#{alg}", f"of {alg}"), labels={"n": alg})
            record = await service.generate(DEFAULT_PROFILE, alg, policy)
            if record.jwk:
                await service.import_key("t", KeySource(jwk=record.jwk), KeyPolicy(aliases=("a",)))
        await service.delete(DEFAULT_PROFILE, record.kid)
        await Tokens(store.database).create("issuer", ("sign",))
        for n in range(many):
            await service.generate("z", ("hs256", "ed25519")[n % 2], KeyPolicy(aliases=(f"{n}",)))


async def everything(url, key, method="raw"):
    """All that can be seen of a store: records in order, with material; and the next place."""
    found = {}
    location = StoreLocation.parse(url)
    async with KeyStore.open(location, StoreKey(key, method)) as store:
        service = KeyService(REGISTRY, store)
        for profile in await service.profiles():
            found[profile] = []
            async for page in service.pages(profile):
                for record in page:
                    ref = KeyRef(kid=record.kid)
                    _, material = await store.open_key(profile, ref, lambda _: None)
                    secret = material if type(material) is bytes else material.get_secret_bytes()
                    found[profile].append((record, secret))
                    for alias in record.aliases:
                        assert await service.get(profile, KeyRef(alias=alias)) == record
    return found


async def next_place(url, key, profile):
    """The place of a key that is made now."""
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
        service = KeyService(REGISTRY, store)
        made = await service.generate(profile, "hs256", KeyPolicy())
        return int((await service.get(profile, KeyRef(kid=made.kid))).seq)


def refused(ended, code=2):
    """The sentence of a command that could not be."""
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == code
    assert line.startswith("minikms: ")
    return line.removeprefix("minikms: ")


# init


def init(run, url, folder, *more, **how):
    """Make a store, its key and its first token."""
    files = ["--store-key-file", f"{folder}/store.key", "--admin-token-file", f"{folder}/token"]
    return run("store", "init", "--store", url, "--generate-key", *files, *more, **how)


def test_what_cannot_be_made_leaves_nothing_that_a_second_try_meets(run, tmp_path):
    url, folder = f"sqlite://{tmp_path}/deep/keys.db", tmp_path / "secrets"
    folder.mkdir()
    assert "does not exist" in refused(init(run, url, folder))
    assert [*folder.iterdir()] == []
    (tmp_path / "deep").mkdir()
    (folder / "token").write_text("mine")
    assert "File exists" in refused(init(run, url, folder), 1)
    assert [*folder.iterdir()] == [folder / "token"]
    assert [*(tmp_path / "deep").iterdir()] == []
    (folder / "token").unlink()
    assert init(run, url, folder).returncode == 0
    assert {path.name for path in folder.iterdir()} == {"store.key", "token"}
    other = tmp_path / "other"
    other.mkdir()
    assert "There is a store" in refused(init(run, url, other))
    assert [*other.iterdir()] == []


def test_a_database_that_is_away_leaves_no_key(run, tmp_path):
    assert "127.0.0.1:1" in refused(init(run, "postgres://u:p@127.0.0.1:1/x", tmp_path))
    assert [*tmp_path.iterdir()] == []


def test_a_key_that_the_disk_does_not_take_is_not_left_in_part(run, tmp_path):
    limited = ["bash", "-c", 'ulimit -f 0; exec "$0" "$@"', *MINIKMS]
    ended = init(run, f"sqlite://{tmp_path}/keys.db", tmp_path, command=limited)
    assert "store.key cannot be made" in refused(ended)
    assert [*tmp_path.iterdir()] == []


def test_a_container_that_makes_its_store_at_each_start(run, persistent_url, tmp_path):
    first, second = (init(run, persistent_url, tmp_path, "--if-missing") for _ in range(2))
    assert (first.returncode, first.stderr) == (second.returncode, second.stderr) == (0, "")
    assert second.stdout == f"There is a store at {StoreLocation.parse(persistent_url)}.\n"
    (tmp_path / "store.key").write_text(new_raw_key())
    assert "does not open" in refused(init(run, persistent_url, tmp_path, "--if-missing"), 1)
    (tmp_path / "token").unlink()
    assert "does not open" in refused(init(run, persistent_url, tmp_path, "--if-missing"))


def test_an_init_that_is_killed(run, begin, persistent_url, tmp_path):
    """The same command says how to go on, or goes on by itself where it may use what is there."""
    key_file = tmp_path / "store.key"
    process = init(begin, persistent_url, tmp_path)
    while not (key_file.exists() and key_file.stat().st_size):
        assert process.poll() is None
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    process.wait(60)
    line = refused(init(run, persistent_url, tmp_path), 1 if (tmp_path / "token").exists() else 2)
    assert "--generate-key" in line or "minikms token create" in line
    ended = init(run, persistent_url, tmp_path, "--if-missing")
    assert (ended.returncode, ended.stderr) == (0, "")
    made = run(
        "token", "create", "--name", "x", "--scope", "sign", *of(persistent_url, str(key_file))
    )
    assert (made.returncode, made.stderr) == (0, "")
    again = run("store", "init", *of(persistent_url, str(key_file)))
    assert "minikms token create" in refused(again)


def test_a_key_that_was_made_before_is_used(run, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    key_file = write(tmp_path / "store.key", new_raw_key())
    assert "Leave --generate-key out" in refused(init(run, url, tmp_path))
    assert run("store", "init", *of(url, key_file)).returncode == 0


# info


def test_info(run, persistent_url, key, key_file):
    asyncio.run(fill(persistent_url, key))

    async def add_one_of_another():
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            (record, *_), _ = await store.page("t", limit=1)
            await store.insert("t", type(record)(**{**fields(record), "kid": "x"}), b"")

    def fields(record):
        return {name: getattr(record, name) for name in record.__slots__} | {"alg": "gone"}

    asyncio.run(add_one_of_another())
    ended = run("store", "info", *of(persistent_url, key_file))
    backend = persistent_url.split(":")[0]
    place = str(StoreLocation.parse(persistent_url))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        f"Backend: {backend}",
        f"Location: {place}",
        "Layout: 1",
        "Profile default: 6 keys: bls12381g1 1, ed25519 1, hs256 1, mldsa44 1, p521 1, xc20p 1",
        "Profile empty: 0 keys",
        "Profile t: 6 keys: bls12381g1 1, ed25519 1, mldsa44 1, p521 1, rsa2048 1, not installed 1",
        "Profile z: 0 keys",
        "Profiles: 4",
        "Keys: 12",
    ]
    if backend == "postgres":
        assert persistent_url.split("@")[0].split(":")[-1] not in ended.stdout


# verify


def test_verify(run, persistent_url, key, key_file):
    asyncio.run(fill(persistent_url, key))
    ended = run("store", "verify", *of(persistent_url, key_file))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Checked 4 profiles, 11 keys and 13 aliases: nothing wrong.\n"

    async def damage():
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            service = KeyService(REGISTRY, store)
            kid = (await service.get(DEFAULT_PROFILE, KeyRef(alias="of hs256"))).kid
            database = store._database
            await database.run(
                DEFAULT_PROFILE, lambda session: session.remove("minikms.material", kid), write=True
            )
            askar_profile = await database.directory.askar_profile("empty")
            async with database._handle.transaction() as session:
                await session.replace("minikms.profile", "empty", f"-{askar_profile}")
                await session.insert("minikms.profile", "odd", "nowhere")
            return kid

    kid = asyncio.run(damage())
    ended = run("store", "verify", *of(persistent_url, key_file))
    assert (ended.returncode, ended.stderr) == (1, "")
    assert sorted(ended.stdout.splitlines()) == sorted(
        [
            f"default {kid} its material is missing",
            "odd - Askar has no profile for it",
            "Left over: the profile empty was removed, and is not gone yet",
            "Checked 4 profiles, 11 keys and 13 aliases: 2 wrong.",
        ]
    )


# rekey


@pytest.mark.parametrize("way", ["file", "variable", "passphrase", "generated"])
def test_rekey(run, persistent_url, key, key_file, tmp_path, way):
    asyncio.run(fill(persistent_url, key))
    before = asyncio.run(everything(persistent_url, key))
    new_file, method, variables = str(tmp_path / "new.key"), "raw", {}
    options = ["--new-key-file", new_file]
    if way == "passphrase":
        write(tmp_path / "new.key", PASSPHRASE)
        method = "argon2i"
        options += ["--new-key-method", method]
    elif way == "generated":
        options += ["--generate-key"]
    elif way == "file":
        write(tmp_path / "new.key", new_raw_key())
    else:
        secret = new_raw_key()
        options, variables = [], {"NEW_STORE_KEY": secret}
    ended = run("store", "rekey", *of(persistent_url, key_file), *options, **variables)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Done: the new key opens the store" in ended.stdout.splitlines()[-1]
    if way == "variable":
        write(tmp_path / "new.key", secret)
    assert stat.S_IMODE(os.stat(new_file).st_mode) == 0o600
    new = (tmp_path / "new.key").read_text().strip()
    assert new not in ended.stdout
    assert asyncio.run(everything(persistent_url, new, method)) == before
    line = refused(run("store", "info", *of(persistent_url, key_file)))
    assert "key" in line
    assert run("store", "verify", *of(persistent_url, new_file, method)).returncode == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "MINIKMS_NEW_STORE_KEY"),
        (["--new-key-file", "old"], "already"),
        (["--new-key-file", "bad"], "no raw key"),
        (["--new-key-file", "missing"], "cannot be read"),
        (["--new-key-method", "argon2i"], "there is none"),
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
        """As a service does that had the store open before."""
        async with KeyStore.open(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            ended = await asyncio.to_thread(
                run, "store", "rekey", *of(persistent_url, key_file), *options
            )
            await store.create_profile("u")
            await store.remove_profile("u")
        return ended

    before = asyncio.run(begin())
    write(tmp_path / "old", key)
    write(tmp_path / "bad", "not base58: 0OIl")
    options = [
        str(tmp_path / word) if not word.startswith("-") and word != "argon2i" else word
        for word in options
    ]
    assert text in refused(asyncio.run(make_a_profile_meanwhile()))
    assert asyncio.run(everything(persistent_url, key)) == before


def test_an_old_key_that_is_none(run, persistent_url, key, tmp_path):
    asyncio.run(fill(persistent_url, key))
    other = write(tmp_path / "other", new_raw_key())
    options = ["--new-key-file", str(tmp_path / "new"), "--generate-key"]
    assert "does not open" in refused(run("store", "rekey", *of(persistent_url, other), *options))
    assert not (tmp_path / "new").exists()


async def test_a_service_that_was_open_before_a_rekey(run, persistent_url, key, key_file, tmp_path):
    await fill(persistent_url, key)
    location = StoreLocation.parse(persistent_url)
    async with KeyStore.open(location, StoreKey(key)) as before:
        service = KeyService(REGISTRY, before)
        record = await service.get(DEFAULT_PROFILE, KeyRef(alias="of hs256"))
        new_file = str(tmp_path / "new")
        options = ["--new-key-file", new_file, "--generate-key"]
        ended = await asyncio.to_thread(
            run, "store", "rekey", *of(persistent_url, key_file), *options
        )
        assert ended.returncode == 0
        # Its profiles' keys are the same, as far as it knows them.
        assert await service.get(DEFAULT_PROFILE, KeyRef(kid=record.kid)) == record
        await service.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy())
        for call in (
            service.create_profile("u"),
            service.get("t", KeyRef(alias="a")),
            service.generate("t", "ed25519", KeyPolicy()),
            service.list_keys("t", limit=1),
        ):
            with pytest.raises(StoreUnavailable, match="another key"):
                await call
    async with KeyStore.open(location, StoreKey((tmp_path / "new").read_text().strip())) as after:
        assert await after.profiles() == [DEFAULT_PROFILE, "empty", "t", "z"]
        await after.create_profile("u")
    ended = await asyncio.to_thread(run, "store", "verify", *of(persistent_url, new_file))
    assert (ended.returncode, "Left over" in ended.stdout) == (0, False)


def test_a_rekey_that_is_killed(begin, persistent_url, key, tmp_path):
    """One of the two keys opens the store, whenever that happens."""

    async def make():
        async with KeyStore.create(StoreLocation.parse(persistent_url), StoreKey(key)) as store:
            for n in range(100):  # each has its own key, to be encrypted again
                await store.create_profile(f"p{n}")

    async def opens(secret):
        try:
            async with KeyStore.open(
                StoreLocation.parse(persistent_url), StoreKey(secret)
            ) as store:
                names = await store.profiles()
                for name in names:
                    assert await store.page(name, limit=1) == ([], False)
                return len(names) == 101
        except StoreError:
            return False

    asyncio.run(make())
    current = key
    for n in range(10):
        other = new_raw_key()
        files = [write(tmp_path / f"{n}.{i}", text) for i, text in enumerate((current, other))]
        process = begin("store", "rekey", *of(persistent_url, files[0]), "--new-key-file", files[1])
        assert process.stdout.readline().startswith("Changing the key: keep the old one")
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait(60)
        opened = [asyncio.run(opens(secret)) for secret in (current, other)]
        assert sorted(opened) == [False, True]
        current = other if opened[1] else current


def test_a_rekey_that_cannot_be_leaves_no_key(run, key, key_file, tmp_path):
    url, new = f"sqlite://{tmp_path}/keys.db", tmp_path / "new"
    options = ["--new-key-file", str(new), "--generate-key"]
    assert "There is no store" in refused(run("store", "rekey", *of(url, key_file), *options))
    assert not new.exists()
    asyncio.run(fill(url, key))
    assert run("store", "rekey", *of(url, key_file), *options).returncode == 0


# copy


def test_a_copy_that_cannot_be_made_leaves_no_key(run, key, key_file, tmp_path):
    url, file = f"sqlite://{tmp_path}/keys.db", tmp_path / "to.key"
    options = ["--to-key-file", str(file), "--generate-key", "--to"]
    copy = ["store", "copy", *of(url, key_file), *options]
    assert "There is no store" in refused(run(*copy, f"sqlite://{tmp_path}/copy.db"))
    assert not file.exists()
    asyncio.run(fill(url, key))
    for target in (f"sqlite://{tmp_path}/no/copy.db", url):
        refused(run(*copy, target))
        assert not file.exists()
    assert run(*copy, f"sqlite://{tmp_path}/copy.db").returncode == 0


def test_a_copy_that_was_cut_short_says_where_its_key_is(run, key, key_file, tmp_path, flip, query):
    path, file = tmp_path / "keys.db", tmp_path / "to.key"
    url, target = f"sqlite://{path}", f"sqlite://{tmp_path}/copy.db"
    asyncio.run(fill(url, key))
    before = path.read_bytes()
    [(last,)] = query(path, "SELECT max(id) FROM items WHERE kind = 2")
    flip(path, last)
    options = ["--to", target, "--to-key-file", str(file)]
    ended = run("store", "copy", *of(url, key_file), *options, "--generate-key")
    assert ended.returncode == 1
    stays, _ = ended.stderr.splitlines()
    assert f"{file} stays" in stays
    path.write_bytes(before)
    again = run("store", "copy", *of(url, key_file), *options, "--generate-key")
    assert "Leave --generate-key out" in refused(again)
    assert run("store", "copy", *of(url, key_file), *options).returncode == 0
    assert run("store", "verify", *of(target, str(file))).returncode == 0


def test_a_copy_is_the_same(run, persistent_url, target_url, key, key_file):
    asyncio.run(fill(persistent_url, key, many=400))
    ended = run("store", "copy", *of(persistent_url, key_file), "--to", target_url)
    # Askar's own library warns of a statement that takes a second, on a busy machine.
    warned = [line for line in ended.stderr.splitlines() if "slow statement" not in line]
    assert (ended.returncode, warned) == (0, [])
    assert ended.stdout.splitlines() == [
        "Profile default: 6 keys",
        "Profile empty: 0 keys",
        "Profile t: 5 keys",
        "Profile z: 400 keys",
        f"Copied 4 profiles and 411 keys to {StoreLocation.parse(target_url)}.",
    ]
    assert asyncio.run(everything(target_url, key)) == asyncio.run(everything(persistent_url, key))
    for profile in ("default", "empty", "z"):
        places = [
            asyncio.run(next_place(url, key, profile)) for url in (persistent_url, target_url)
        ]
        assert places[0] == places[1] == {"default": 8, "empty": 1, "z": 401}[profile]
    assert run("store", "verify", *of(target_url, key_file)).returncode == 0


@pytest.mark.parametrize("way", ["file", "variable", "passphrase", "generated"])
def test_a_copy_under_another_key(run, key, key_file, tmp_path, way):
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
        write(tmp_path / "to.key", secret)
    ended = run("store", "copy", *of(url, key_file), *options, TO_STORE=target, **variables)
    assert (ended.returncode, ended.stderr) == (0, "")
    if way == "generated":
        secret = (tmp_path / "to.key").read_text().strip()
    assert asyncio.run(everything(target, secret, method)) == asyncio.run(everything(url, key))
    assert "key" in refused(run("store", "info", *of(target, key_file)))


def test_a_target_that_is_a_store(run, persistent_url, target_url, key, key_file, tmp_path):
    other = new_raw_key()
    asyncio.run(fill(persistent_url, key))
    asyncio.run(fill(target_url, other, many=3))
    stores = [(persistent_url, key), (target_url, other)]
    before = [asyncio.run(everything(*store)) for store in stores]
    file = write(tmp_path / "other", other)
    copy = ["store", "copy", *of(persistent_url, key_file), "--to"]
    spelled = persistent_url.replace("/keys.db", "/./keys.db").replace(
        "postgres:", "postgresql:", 1
    )
    for options in (
        [target_url, "--to-key-file", file],
        [target_url],  # which its key does not even open
        [persistent_url],
        [spelled],
    ):
        assert "There is a store" in refused(run(*copy, *options))
    assert [asyncio.run(everything(*store)) for store in stores] == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--to", "memory"], "in memory"),
        (["--to", "sqlite:///no/such/directory/keys.db"], "/no/such/directory does not exist"),
        (["--to", "postgres://u:planted-7f3a@127.0.0.1:1/x"], "postgres://127.0.0.1:1/x "),
        (["--to", "sqlite://copy.db", "--to-key-method", "argon2i"], "there is none"),
        (["--to", "sqlite://copy.db", "--generate-key"], "--to-key-file"),
        (["--to", "sqlite://copy.db", "--store", "memory"], "in memory"),
        (["--to", "sqlite://copy.db", "--store", "sqlite://gone.db"], "There is no store"),
    ],
)
def test_a_copy_that_cannot_be(run, key, key_file, tmp_path, monkeypatch, options, text):
    monkeypatch.chdir(tmp_path)
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    line = refused(run("store", "copy", *of(url, key_file), *options))
    assert text in line
    assert "planted" not in line
    assert not (tmp_path / "copy.db").exists()


ACROSS = pytest.mark.parametrize(
    ("persistent_url", "target_url"),
    [("sqlite", "postgres"), ("postgres", "sqlite")],
    indirect=True,
)


@ACROSS
def test_a_copy_that_is_killed(run, begin, persistent_url, target_url, key, key_file):
    """What it has left is no store, and the next copy begins again."""
    asyncio.run(fill(persistent_url, key, many=400))
    copy = ["store", "copy", *of(persistent_url, key_file), "--to", target_url]
    for command in (["serve", "--port", "0"], ["store", "info"], ["store", "verify"]):
        process = begin(*copy)
        for line in process.stdout:
            if "Profile t:" in line:
                break
        time.sleep(random.uniform(0, 0.2))
        process.kill()
        rest, _ = process.communicate(timeout=60)
        assert "Copied" not in rest
        assert "was never finished" in refused(run(*command, *of(target_url, key_file)))
    ended = run(*copy)
    assert (ended.returncode, ended.stdout.splitlines()[-1][:31]) == (
        0,
        "Copied 4 profiles and 411 keys ",
    )
    assert asyncio.run(everything(target_url, key)) == asyncio.run(everything(persistent_url, key))
    ended = run("store", "verify", *of(target_url, key_file))
    assert (ended.returncode, "Left over" in ended.stdout) == (0, False)


@ACROSS
def test_a_store_that_a_service_writes_to(run, serve, persistent_url, target_url, key, key_file):
    asyncio.run(fill(persistent_url, key, many=300))
    service = serve("--port", "0", "--auth", "none", *of(persistent_url, key_file))
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
            run("store", "verify", *of(persistent_url, key_file)),
            run("store", "copy", *of(persistent_url, key_file), "--to", target_url),
            run("store", "info", *of(persistent_url, key_file)),
        ]
    finally:
        stopped.set()
        writer.join(60)
    assert [(command.returncode, command.stderr) for command in ended] == [(0, "")] * 3
    assert failed == []
    service.process.terminate()
    log.join(60)
    assert service.process.wait(60) == 0
    assert len(made) > 40
    copied = {record.kid for record, _ in asyncio.run(everything(target_url, key))["default"]}
    assert there - {*deleted} <= copied
    for url in (persistent_url, target_url):
        assert run("store", "verify", *of(url, key_file)).returncode == 0


@pytest.mark.parametrize("alg", ["ed25519", "p521"])
@pytest.mark.parametrize("what", ["material", "record"])
def test_a_key_that_cannot_be_copied(run, key, key_file, tmp_path, flip, query, alg, what):
    path = tmp_path / "keys.db"
    url, target = f"sqlite://{path}", f"sqlite://{tmp_path}/copy.db"
    asyncio.run(fill(url, key, many=2))

    async def add():
        async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
            return (await KeyService(REGISTRY, store).generate("z", alg, KeyPolicy())).kid

    kid = asyncio.run(add())
    # Of a key that is made, material comes first, then the record.
    [(last,)] = query(path, "SELECT max(id) FROM items")
    flip(path, last if what == "record" else last - 1)
    ended = run("store", "copy", *of(url, key_file), "--to", target)
    line = refused(ended, 1)
    assert line.startswith("Profile z: ")
    assert kid in line
    assert "was never finished" in refused(run("store", "info", *of(target, key_file)))


@pytest.fixture
def on_a_terminal():
    """Begin a command, standard error on a terminal; standard output too, or in a pipe."""
    begun = []

    def begin(*args, stdout=None):
        ours, theirs = pty.openpty()
        command = [*MINIKMS, *args]
        output = theirs if stdout is None else stdout
        process = subprocess.Popen(command, env=environment(), stdout=output, stderr=theirs)
        os.close(theirs)
        begun.append((process, ours))
        return process, ours

    yield begin
    for process, ours in begun:
        process.kill()
        process.communicate(timeout=60)
        os.close(ours)


def test_a_copy_shows_its_progress_on_a_terminal(on_a_terminal, key, key_file, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key, many=400))
    options = [*of(url, key_file), "--to", f"sqlite://{tmp_path}/copy.db"]
    process, terminal = on_a_terminal("store", "copy", *options)
    shown = read_all(terminal)
    assert process.wait(60) == 0
    assert b"Copying keys" in shown
    assert b"411/411" in shown
    assert b"Profile" not in shown
    assert shown.splitlines()[-1].startswith(b"Copied 4 profiles and 411 keys to sqlite://")


def test_a_check_shows_its_progress_on_a_terminal(on_a_terminal, key, key_file, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key, many=400))
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.db")) as connection:
        [(last,)] = connection.execute("SELECT max(id) FROM items WHERE kind = 1").fetchall()
        connection.execute("DELETE FROM items WHERE id = ?", (last,))
        connection.commit()
    process, terminal = on_a_terminal("store", "verify", *of(url, key_file))
    shown = read_all(terminal)
    assert process.wait(60) == 1
    assert b"Checking keys" in shown
    assert b"99%" in shown  # of what one key should have, a part is not there
    lines = shown.replace(b"\r\033[K", b"\n").splitlines()
    assert sum(line.startswith(b"z ") and line.endswith(b" missing") for line in lines) == 1
    assert lines[-1].startswith(b"Checked 4 profiles, 411 keys and 413 aliases: 1 wrong.")


@pytest.mark.parametrize("verb", ["copy", "verify"])
def test_progress_is_seen_before_the_store_is_open(on_a_terminal, key, key_file, tmp_path, verb):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    options = of(url, key_file)
    options += ["--to", f"sqlite://{tmp_path}/copy.db"] if verb == "copy" else []
    with open(tmp_path / "keys.db-lock", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        process, terminal = on_a_terminal("store", verb, *options)
        shown = b""
        while b" keys " not in shown:
            part = read(terminal)
            assert part, shown
            shown += part
        assert process.poll() is None
    read_all(terminal)
    assert process.wait(60) == 0


def test_what_goes_into_a_pipe_is_whole_beside_a_bar(on_a_terminal, run, key, key_file, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key, many=4))
    options = [*of(url, key_file), "--to", f"sqlite://{tmp_path}/copy.db"]
    process, terminal = on_a_terminal("store", "copy", *options, stdout=subprocess.PIPE)
    assert b"15/15" in read_all(terminal)
    written, _ = process.communicate(timeout=60)
    assert [line.split()[0] for line in written.splitlines()] == [b"Profile"] * 4 + [b"Copied"]
    ended = run("store", "verify", *of(url, key_file))
    assert (ended.stderr, len(ended.stdout.splitlines())) == ("", 1)


def read_all(terminal):
    shown = b""
    while part := read(terminal):
        shown += part
    return shown


def read(terminal):
    """What is written to a terminal; nothing once nobody has it open."""
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO, on Linux
        return b""
