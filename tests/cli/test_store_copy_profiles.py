"""`minikms store copy --profile`, between stores that services use."""

import asyncio
import json
import random
import threading
import time
from contextlib import closing, contextmanager

import pytest
from filled_stores import everything, fill, options_of, write_key
from minikms_processes import complaints, refused

from minikms.access.policy import SCOPES
from minikms.access.tokens import Tokens
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
OTHER_KEY = new_raw_key()


async def token_for(url, key, *profiles):
    """Make a token for profiles, and return its text."""
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
        token, _ = await Tokens(store.database).create("name", SCOPES, profiles)
        return token.reveal()


async def make_target(url):
    """Make a store with a profile of its own, under another key."""
    async with KeyStore.create(StoreLocation.parse(url), StoreKey(OTHER_KEY)) as store:
        await store.directory.create("own")


@contextmanager
def calling(service, token):
    """Call a service in the profile z."""
    connection = service.connect()
    headers = {"X-Profile": "z", "Authorization": f"Bearer {token}"}

    def call(path, body):
        connection.request("POST", path, json.dumps(body), headers)
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())

    with closing(connection):
        yield call


@contextmanager
def writing(service, token):
    """Make keys until that is refused; yield their kids, and then the refusals."""
    made, refusals, stopped = [], [], threading.Event()

    def write():
        with calling(service, token) as call:
            while not refusals and not stopped.is_set():
                status, answer = call("/key/generate", {"alg": "ed25519"})
                time.sleep(0.01)  # for the others
                if status == 200:
                    made.append(answer["kid"])
                else:
                    refusals.append(answer["type"].rpartition(":")[2])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(made) < 5 and not refusals:
            time.sleep(0.01)
        yield made, refusals
        writer.join(20)
    finally:
        stopped.set()
        writer.join(20)


@ACROSS
@pytest.mark.timeout(120)  # four processes, two of them services
def test_a_move_that_is_killed_beside_services(
    command, begin, serve, persistent_url, target_url, key, key_file, tmp_path
):
    """What is acknowledged is in the target once, and from then on written only there."""
    asyncio.run(fill(persistent_url, key, many=100))
    asyncio.run(make_target(target_url))
    token = asyncio.run(token_for(persistent_url, key, "z"))
    asyncio.run(token_for(persistent_url, key, "z", "t"))
    to_key_file = write_key(tmp_path / "to.key", OTHER_KEY)
    source = serve("--port", "0", *options_of(persistent_url, key_file))
    target = serve("--port", "0", *options_of(target_url, to_key_file))
    file = tmp_path / "progress"
    copy = ["store", "copy", *options_of(persistent_url, key_file), "--to", target_url]
    copy += ["--to-key-file", to_key_file, "--profile", "t", "--profile", "z"]
    copy += ["--progress", str(file), "--jobs", "1"]
    with writing(source, token) as (made, refusals):
        process = begin(*copy)
        for line in process.stdout:
            if line.startswith("Profile t"):
                break
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.communicate(timeout=60)
        if file.exists():  # or the kill came too late
            done = command(*copy)
            assert (done.returncode, complaints(done)) == (0, [])
            assert "Continuing after" in done.stdout
            assert "Copied 2 profiles" in done.stdout
            assert "Profile z: not copied: the token " in done.stdout
    assert refusals == ["profile-frozen"]
    for service, status in ((source, 409), (target, 200)):
        with calling(service, token) as call:
            assert call("/sign", {"kid": made[-1], "data": "AAAA"})[0] == 200
            assert call("/key/generate", {"alg": "ed25519"})[0] == status
    for service in (source, target):
        service.process.terminate()
        assert service.process.wait(60) == 0
    moved = asyncio.run(everything(target_url, OTHER_KEY))
    there = asyncio.run(everything(persistent_url, key))
    assert {*moved} == {"default", "own", "t", "z"}
    assert (moved["t"], moved["z"][:-1]) == (there["t"], there["z"])
    assert [record.kid for record, _ in there["z"][100:]] == made
    for url, opens in ((persistent_url, key_file), (target_url, to_key_file)):
        checked = command("store", "verify", *options_of(url, opens))
        assert (checked.returncode, "Left over" in checked.stdout) == (0, False)


@ACROSS
@pytest.mark.timeout(60)  # three processes
def test_a_move_into_a_new_store_that_is_killed(
    command, begin, run, persistent_url, target_url, key, key_file, tmp_path
):
    asyncio.run(fill(persistent_url, key, many=100))
    copy = ["store", "copy", *options_of(persistent_url, key_file), "--to", target_url]
    copy += ["--profile", "t", "--profile", "z", "--jobs", "1"]
    copy += ["--progress", str(tmp_path / "progress")]
    process = begin(*copy)
    for line in process.stdout:
        if line.startswith("Profile t"):
            break
    process.kill()
    rest, _ = process.communicate(timeout=60)
    if "Copied" not in rest:  # or the kill came too late
        info = run("store", "info", *options_of(target_url, key_file))
        assert "was never finished" in refused(info)
        done = command(*copy)
        assert (done.returncode, complaints(done)) == (0, [])
    moved, there = (asyncio.run(everything(url, key)) for url in (target_url, persistent_url))
    assert moved == {"default": [], "t": there["t"], "z": there["z"]}
    checked = command("store", "verify", *options_of(target_url, key_file))
    assert (checked.returncode, "Left over" in checked.stdout) == (0, False)


def test_a_move_that_is_refused(command, persistent_url, key, key_file, tmp_path):
    asyncio.run(fill(persistent_url, key))
    target = f"sqlite://{tmp_path}/copy.db"
    copy = ["store", "copy", *options_of(persistent_url, key_file)]
    assert "no profile x" in refused(command(*copy, "--profile", "x", "--to", target))
    assert not (tmp_path / "copy.db").exists()
    moved = command(*copy, "--profile", "empty", "--to", target)
    assert (moved.returncode, complaints(moved)) == (0, [])
    again = [*copy, "--profile", "t", "--profile", "empty", "--to"]
    assert "a profile empty already" in refused(command(*again, target))
    own = refused(command(*again, persistent_url))
    assert "is the store itself" in own or "already" in own
    assert {*asyncio.run(everything(target, key))} == {"default", "empty"}
    other = write_key(tmp_path / "other.key", OTHER_KEY)
    wrong = refused(command(*again, target, "--to-key-file", other))
    assert "does not open" in wrong
