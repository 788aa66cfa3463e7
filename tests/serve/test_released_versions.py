"""Released versions of older layouts beside this one, on one store."""

from functools import partial
from typing import NamedTuple

import pytest
from minikms_processes import refused
from serve.released_versions import call, command_of
from waiting import LONG, wait_until

from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(180),  # the first installs a released version
]


class Release(NamedTuple):
    """A released version: its commit, its layout as each side shows it, and one of its modules.

    A name in that module has the seconds for which it waits for a file's lock.
    """

    commit: str
    layout: str
    newer: str
    module: str
    seconds: str

    def soon(self, command):
        """A command of this version that waits 0.1 s for a lock, not 5, and asks 1,000 times."""
        patch = f"import {self.module} as d; d.{self.seconds} = 0.1"
        return [*command[:-2], "-c", f"{patch}; from minikms.__main__ import main; main()"]


RELEASES = {
    "0.3.0": Release(
        "692a9e793eeb544e74aae169a1d899fec4d75a7b",
        "3.0",
        "has the layout 4.0 of a newer Mini KMS; this one knows 3.0.",
        "minikms.store.database",
        "_OPEN_TIMEOUT",
    ),
}


@pytest.fixture(scope="module", params=RELEASES)
def release(request):
    return RELEASES[request.param]


@pytest.fixture(scope="module")
def released(tmp_path_factory, release):
    """The command of a released version, from the history."""
    return command_of(release.commit, tmp_path_factory.mktemp("released"))


@pytest.fixture
def options(persistent_url, released, run):
    """The options of a service on a store that the released version has made."""
    options = {"store": persistent_url, "store_key": new_raw_key(), "auth": "none"}
    assert run("store", "init", command=released, **options).returncode == 0
    return options


def make(service):
    status, made = call(service, "POST", "/key/generate", {"alg": "ed25519"})
    assert status == 200
    return made["kid"]


def delete(service, kid):
    return call(service, "DELETE", f"/key/{kid}")[0]


def sign(service, kid):
    return call(service, "POST", "/sign", {"kid": kid, "data": "aGVsbG8="})[0]


def is_gone(service, kid):
    return sign(service, kid) == 404


sqlite = pytest.mark.parametrize("persistent_url", ["sqlite"], indirect=True)
postgres = pytest.mark.parametrize("persistent_url", ["postgres"], indirect=True)


@pytest.fixture
def backed_up(request, run, released, options, tmp_path):
    """Back a store up, and return a function that lets the released version restore it."""

    def back_up():
        file, name = str(tmp_path / "backup.db"), options["store"].rpartition("/")[2]
        if options["store"].startswith("sqlite"):
            assert run("store", "backup", file, **options).returncode == 0

            def restore():
                restored = run("store", "restore", file, command=released, **options)
                assert restored.returncode == 0, restored.stderr

        else:
            server = request.getfixturevalue("postgres_server")
            server.execute(f"CREATE DATABASE {name}_before TEMPLATE {name}")

            def restore():
                server.execute(f"DROP DATABASE {name}")
                server.execute(f"ALTER DATABASE {name}_before RENAME TO {name}")

        return restore

    return back_up


def test_the_old_store_is_upgraded_and_refused_to_the_old_until_it_is_restored(
    serve, run, release, released, options, backed_up
):
    old = serve("--port", "0", command=released, **options)
    kid = make(old)
    assert refused(run("store", "upgrade", **options)).endswith("stop it first.")
    # Commands may be used meanwhile, and leave the store as it is.
    assert f"\nLayout: {release.layout}\n" in run("store", "info", **options).stdout
    assert "`minikms store upgrade`" in refused(run("serve", "--port", "0", **options))
    assert sign(old, kid) == 200
    assert delete(old, make(old)) == 200
    old.stop()
    restore = backed_up()
    assert run("store", "upgrade", **options).returncode == 0
    new = serve("--port", "0", "--workers", "2", **options)
    assert sign(new, kid) == 200
    refusal = refused(run("serve", "--port", "0", command=release.soon(released), **options))
    new.stop()
    if options["store"].startswith("sqlite"):  # whose file the new one has kept
        assert " keeps the store " in refusal
        refusal = refused(run("serve", "--port", "0", command=released, **options))
    assert refusal.endswith(release.newer)
    restore()
    assert sign(serve("--port", "0", command=released, **options), kid) == 200


async def upgrade_unseen(options):
    """Upgrade a store in use by an old service that the upgrade cannot detect. Its pool has closed
    its idle connections, or its only PostgreSQL connections are Askar's. No key is rewritten here.
    """
    location = StoreLocation.parse(options["store"])
    async with KeyStore.open(location, StoreKey(options["store_key"])) as store:
        await store.database.finish_upgrade()


@sqlite
async def test_an_old_service_that_is_not_seen_writes_no_more(serve, released, options):
    old = serve("--port", "0", command=released, **options)
    kids = [make(old) for _ in range(3)]
    await upgrade_unseen(options)
    new = serve("--port", "0", **options)
    assert [sign(service, kid) for kid in kids for service in (old, new)] == [200] * 6
    assert delete(old, kids[0]) == 503
    assert delete(new, kids[1]) == 200
    assert [sign(service, kids[0]) for service in (old, new)] == [200, 200]
    assert [sign(service, kids[1]) for service in (old, new)] == [404, 404]
    new.stop()
    assert delete(old, kids[0]) == 200


@postgres
async def test_both_serve_the_keys_of_a_database_by_their_kids(serve, released, options):
    old = serve("--port", "0", command=released, **options)
    await upgrade_unseen(options)
    new = serve("--port", "0", **options)
    for one, other in ((old, new), (new, old)):
        kid = make(one)
        assert [sign(service, kid) for service in (old, new)] == [200, 200]
        assert delete(one, kid) == 200
        assert sign(one, kid) == 404
        wait_until("the notice", partial(is_gone, other, kid), LONG)
