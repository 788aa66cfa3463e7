"""The last release, whose layout is this version's, on one store with this version."""

import asyncio
import subprocess
import sys
import time
from functools import partial

import pytest
from serve.released_versions import call, command_of
from waiting import LONG, wait_until, waiting_for

from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(180),  # the first installs a released version, and each starts services
]

# Release 0.4.0.
COMMIT = "e3c98bf7cd10b26d5badf326bf6b5b9b50674d87"

DAY = 24 * 3600 * 10**9

STEPS = {"rotate_every": 86_400, "publish_ahead": 3600, "retire_after": 3600}

# Make two keys that are due, as if a service of version 0.4.0 had made them two hours ago.
MAKE_DUE = """
import asyncio, sys, time
from minikms.key_requests import KeyPolicy
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore

async def main():
    async with KeyStore.open(StoreLocation.parse(sys.argv[1]), StoreKey(sys.argv[2])) as store:
        keys = KeyService(AlgorithmRegistry.from_installed(), store)
        for policy in (
            KeyPolicy(aliases=("deleted",), delete_after=3600),
            KeyPolicy(aliases=("rotated",), rotate_every=3600),
        ):
            print((await keys.generate("t", "ed25519", policy)).kid)

now = time.time_ns
time.time_ns = lambda: now() - 7200 * 10**9
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The command of the release."""
    return command_of(COMMIT, tmp_path_factory.mktemp("released"))


@pytest.fixture
def options(persistent_url, released, run):
    """The options of a service on a store that the release has made."""
    options = {"store": persistent_url, "store_key": new_raw_key(), "auth": "none"}
    assert run("store", "init", command=released, **options).returncode == 0
    return options


@pytest.fixture
def old(serve, released, options):
    """A service of the release, with a profile."""
    service = serve("--port", "0", command=released, **options)
    assert call(service, "POST", "/profile", {"name": "t"})[0] == 200
    return service


def make(service, alg="ed25519", **body):
    status, made = call(service, "POST", "/key/generate", {"alg": alg, **body})
    assert status == 200
    return made["kid"]


def key(service, kid):
    return call(service, "GET", f"/key/{kid}")


def agree(one, other, kids):
    return all(known(one, kid) == known(other, kid) for kid in kids)


def known(service, kid):
    """A key without the member that 0.4.0 does not have."""
    status, found = key(service, kid)
    return status, {name: value for name, value in found.items() if name != "next"}


def named(service, alias):
    return call(service, "GET", f"/key?alias={alias}", **{"X-Profile": "t"})[1]["kid"]


def verified(run, **options):
    """The message of `store verify`, which has found nothing wrong."""
    done = run("store", "verify", **options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("nothing wrong.\n")
    return done.stdout


def test_both_make_change_and_delete_keys_while_both_run(serve, run, released, options, old):
    algs = [each["name"] for each in call(old, "GET", "/algorithms")[1]]
    made = [make(old, name, alias=f"a-{name}", labels={"alg": name}) for name in algs]
    made += [make(old, alias="later", rotate_every=86_400), make(old, delete_after=86_400)]
    assert run("store", "upgrade", **options).returncode == 0
    new = serve("--port", "0", "--workers", "2", **options)
    assert agree(old, new, made)
    for alias, one, other in (("by old", old, new), ("by new", new, old)):
        changed = make(one, alias=alias, rotate_every=7200)
        deleted = make(one, delete_after=7200)
        assert agree(one, other, (changed, deleted))
        assert call(other, "PATCH", f"/key/{changed}", {"labels": {"a": "b"}})[0] == 200
        assert call(other, "POST", f"/key/{changed}/rotate", {})[0] == 200
        assert call(other, "DELETE", f"/key/{deleted}")[0] == 200
        wait_until("the notices", partial(agree, one, other, (changed, deleted)), LONG)
        assert key(one, deleted)[0] == 404
    assert verified(run, **options) == verified(run, command=released, **options)
    new.stop()
    assert [key(old, kid)[0] for kid in made] == [200] * len(made)


async def listed_a_day_ago(options):
    """Let the next sweep begin at once, and look for due keys in all profiles."""
    location = StoreLocation.parse(options["store"])
    async with KeyStore.open(location, StoreKey(options["store_key"])) as store:
        assert await store.sweeps.begin(0) is None
        last = store.sweeps.last
        assert last.ended
        await store.sweeps.end(0, last._replace(listed=last.listed - DAY))


async def test_a_newer_process_finds_keys_that_the_older_one_made_due_within_a_day(
    serve, run, released, options, old, free_port
):
    old.stop()
    new = serve("--port", "0", "--metrics-port", free_port, **options)
    wait_until("a sweep", lambda: new.metrics()["sweep_last_timestamp_seconds", frozenset()])
    arguments = sys.executable, "-c", MAKE_DUE, options["store"], options["store_key"]
    due = subprocess.run(
        [*released[:3], *arguments], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    new.stop()
    await listed_a_day_ago(options)
    new = serve("--port", "0", **options)
    wait_until("a rotation", lambda: named(new, "rotated") != due[1])
    new.stop()
    # Without a service, which would not show the deleted key in any case.
    assert verified(run, **options).startswith("Checked 2 profiles, 2 keys and 1 aliases")


@pytest.mark.parametrize("is_newer", [False, True], ids=["older", "newer"])
async def test_a_profile_that_is_being_erased_is_gone_for_both_and_either_goes_on(
    serve, run, released, options, old, is_newer
):
    of_t = {"X-Profile": "t"}
    many = {"alg": "ed25519", "count": 300}
    assert call(old, "POST", "/key/generate/batch", many, **of_t)[0] == 200
    named_a = {"alg": "ed25519", "alias": "a"}
    status, made = call(old, "POST", "/key/generate", named_a, **of_t)
    assert status == 200
    token = {"name": "a", "scopes": ["sign"], "profiles": ["t"]}
    assert call(old, "POST", "/tokens", token)[0] == 200
    location = StoreLocation.parse(options["store"])
    async with KeyStore.open(location, StoreKey(options["store_key"])) as store:
        directory = store.database.directory
        removed = await directory.remove("t")
        assert not await directory.removals.erase(removed, time.monotonic())  # one part
        second = serve("--port", "0", command=None if is_newer else released, **options)
        for service in old, second:
            assert call(service, "GET", "/profiles")[1]["profiles"] == ["default"]
            assert [one["name"] for one in call(service, "GET", "/tokens")[1]] == ["admin"]
            for path in "/key?alias=a", f"/key/{made['kid']}", "/keys":
                assert call(service, "GET", path, **of_t)[0] == 404
        assert call(old, "POST", "/profile", {"name": "t"})[0] == 200
        kid = call(old, "POST", "/key/generate", named_a, **of_t)[1]["kid"]
        async with waiting_for("the erasure", LONG):
            while await directory.removals.pending():
                await asyncio.sleep(0.1)
    for service in old, second:
        assert [key["kid"] for key in call(service, "GET", "/keys", **of_t)[1]] == [kid]
    for command in None, released:
        done = verified(run, command=command, **options)
        assert done.startswith("Checked 2 profiles, 1 key and 1 aliases")


@pytest.mark.parametrize("persistent_url", ["sqlite"], indirect=True)
def test_each_restores_a_backup_of_the_other(serve, run, released, options, old, tmp_path):
    kid = make(old, delete_after=86_400)
    new = serve("--port", "0", **options)
    make(new, alias="a", rotate_every=86_400)
    new.stop()
    old.stop()
    for one, other in ((released, None), (None, released)):
        file = str(tmp_path / f"backup-{one is None}.db")
        assert run("store", "backup", file, command=one, **options).returncode == 0
        assert run("store", "restore", file, command=other, **options).returncode == 0
        assert verified(run, command=other, **options).startswith("Checked 2 profiles, 2 keys")
        service = serve("--port", "0", command=other, **options)
        assert key(service, kid)[0] == 200
        service.stop()


def test_the_release_does_not_use_a_next_key_and_rotates_its_key_without_it(
    serve, run, released, options, old
):
    new = serve("--port", "0", **options)
    kids = {alias: make(new, alias=alias, **STEPS) for alias in ("a", "b")}
    following = {}
    for alias, kid in kids.items():
        status, made = call(new, "POST", f"/key/{kid}/next", {})
        assert (status, made["state"]) == (200, "next")
        following[alias] = by_kid = made["kid"]
        for change in None, {"state": "enabled"}:
            if change is not None:
                call(old, "PATCH", f"/key/{by_kid}", change)
            for service in old, new:
                for path, body in (
                    ("/sign", {"kid": by_kid, "data": ""}),
                    ("/jws/sign", {"kid": by_kid, "payload": ""}),
                    (f"/key/{by_kid}/rotate", {}),
                ):
                    status, problem = call(service, "POST", path, body)
                    assert (status, problem["type"][20:]) == (409, "key-not-usable"), path
        assert key(new, by_kid)[1]["state"] == "next"
    # This version rotates to the next key, and the release makes another one.
    assert call(new, "POST", f"/key/{kids['a']}/rotate", {})[1]["kid"] == following["a"]
    status, rotated = call(old, "POST", f"/key/{kids['b']}/rotate", {})
    assert (status, rotated["aliases"]) == (200, ["b"])
    assert rotated["kid"] != following["b"]
    for kid in following["b"], kids["b"]:
        assert call(new, "POST", f"/key/{kid}/rotate", {})[0] == 409
    for service in old, new:
        for alias in kids:
            assert call(service, "POST", "/sign", {"alias": alias, "data": ""})[0] == 200
    assert call(new, "PATCH", f"/key/{kids['b']}", {"labels": {"n": "1"}})[0] == 200
    done = run("store", "verify", **options)
    assert done.returncode == 1
    left = f"it is the next key of {kids['b']}, which another key has replaced"
    assert f"{following['b']} {left}" in done.stdout
    assert call(new, "DELETE", f"/key/{following['b']}")[0] == 200
    verified(run, **options)
