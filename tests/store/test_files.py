"""The files beside an SQLite store, where another user has put some."""

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from minikms_processes import MINIKMS

from minikms.maintenance.backup import back_up
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreLocation
from minikms.store.database import Database
from minikms.store.keys.key_store import KeyStore

NOBODY = 65534
ENDINGS = ("lock-2", "lock-3", "next-3", "seen")
OTHER = "file of another user"

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="root alone gives files away: run as root"
)


@pytest.fixture
def victim(tmp_path):
    """A file of the user's own that another would have the service write to."""
    file = tmp_path / "victim"
    file.write_text("planted-7f3a")
    return file


async def open_store(path, key):
    async with Database.open(StoreLocation.parse(f"sqlite://{path}"), key) as database:
        await database.ping()


def missing_target(file, victim):
    file.symlink_to(f"{victim}-missing")


def other_user(file, victim):
    file.touch(0o666)
    os.chown(file, NOBODY, NOBODY)


PLANTED = {
    "link": lambda file, victim: file.symlink_to(victim),
    "link to nothing": missing_target,
    "hard link": lambda file, victim: os.link(victim, file),
    "pipe": lambda file, victim: os.mkfifo(file),
    "device": lambda file, victim: file.symlink_to("/dev/zero"),
    OTHER: other_user,
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "what", [*sorted(PLANTED.keys() - {OTHER}), pytest.param(OTHER, marks=needs_root)]
)
async def test_planted_files_beside_a_store_are_refused(sqlite, key, victim, ending, what):
    file = Path(f"{sqlite}-{ending}")
    file.unlink()
    PLANTED[what](file, victim)
    with pytest.raises(StoreError, match=f"keys.db-{ending} cannot be used"):
        await open_store(sqlite, key)
    assert victim.read_text() == "planted-7f3a"
    assert not Path(f"{victim}-missing").exists()
    file.unlink()
    await open_store(sqlite, key)


async def test_a_store_where_a_link_leads(sqlite, key, tmp_path):
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.db"
    link.symlink_to(sqlite)
    await open_store(link, key)
    assert [file.name for file in link.parent.iterdir()] == ["link.db"]


async def test_a_second_name_of_a_store_in_use_is_refused(sqlite, key, tmp_path):
    """Each name has its own log and locks, so acknowledged keys were lost."""
    other = tmp_path / "other.db"
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as store:
        os.link(sqlite, other)
        for profile in ("a", "b"):
            await store.directory.create(profile)
            with pytest.raises(StoreError, match="hard links"):
                await open_store(other, key)
        with pytest.raises(StoreError, match="hard links"):
            await back_up(other, tmp_path / "backup.db", None)
    assert not (tmp_path / "other.db-lock-3").exists()
    with pytest.raises(StoreError, match="hard links"):
        await open_store(sqlite, key)
    other.unlink()
    async with KeyStore.open(location, key) as store:
        assert await store.directory.names() == ["a", "b", DEFAULT_PROFILE]


@pytest.mark.process
@needs_root
def test_a_store_that_is_a_mount_of_its_own_is_refused(run, sqlite, key, tmp_path):
    folder = tmp_path / "a volume"
    folder.mkdir()
    (folder / "keys.db").touch()
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    mount = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if run("-c", "mount --bind . .", command=["unshare", "--mount", "sh"]).returncode:
        pytest.skip("this container allows no mounts: add the capability SYS_ADMIN")

    def info(what, where, store):
        command = [*mount, str(what), str(where), *MINIKMS]
        variables = {"STORE": f"sqlite://{quote(str(store))}", "STORE_KEY": key.secret}
        return run("store", "info", command=command, **variables)

    alone = info(sqlite, folder / "keys.db", folder / "keys.db")
    assert alone.returncode == 2
    assert alone.stderr.startswith(f"minikms: The store {folder}/keys.db cannot be used: ")
    assert info(sqlite, folder / "keys.db", sqlite).returncode == 0
    # The files beside it are the same there.
    assert info(sqlite.parent, folder, folder / "keys.db").returncode == 0


@pytest.mark.process
def test_a_command_says_which_file_it_is(run, sqlite, key, victim):
    Path(f"{sqlite}-lock-3").unlink()
    Path(f"{sqlite}-lock-3").symlink_to(victim)
    ended = run("store", "info", STORE=f"sqlite://{sqlite}", STORE_KEY=key.secret)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"minikms: The file {sqlite}-lock-3 cannot be used: ")


@needs_root
async def test_root_looks_after_the_store_of_another_user(sqlite, key):
    for file in sqlite.parent.iterdir():
        os.chown(file, NOBODY, NOBODY)
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as opened:
        assert await opened.directory.names() == [DEFAULT_PROFILE]
