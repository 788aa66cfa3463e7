"""The files beside an SQLite store, where another user has put some."""

import os
from pathlib import Path

import pytest

from minikms.records import DEFAULT_PROFILE
from minikms.startup_errors import StoreError
from minikms.store.database import Database
from minikms.store.keys import KeyStore
from minikms.store.location import StoreLocation

NOBODY = 65534
ENDINGS = ("lock", "lock-1", "lock-2", "next-2", "seen")
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


@pytest.mark.process
def test_a_command_says_which_file_it_is(run, sqlite, key, victim):
    Path(f"{sqlite}-lock").unlink()
    Path(f"{sqlite}-lock").symlink_to(victim)
    ended = run("store", "info", STORE=f"sqlite://{sqlite}", STORE_KEY=key.secret)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"minikms: The file {sqlite}-lock cannot be used: ")


@needs_root
async def test_root_looks_after_the_store_of_another_user(sqlite, key):
    for file in sqlite.parent.iterdir():
        os.chown(file, NOBODY, NOBODY)
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as opened:
        assert await opened.profiles() == [DEFAULT_PROFILE]
