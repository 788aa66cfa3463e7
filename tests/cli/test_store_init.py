"""`minikms store init`."""

import random
import time

import pytest
from filled_stores import options_of, write_key
from minikms_processes import MINIKMS, refused

from minikms.cli.store_options import new_key
from minikms.seals.key_file import read_key
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore


def init(run, url, folder, *more, **how):
    """Make a store, its key and its first token."""
    files = ["--store-key-file", f"{folder}/store.key", "--admin-token-file", f"{folder}/token"]
    return run("store", "init", "--store", url, "--generate-key", *files, *more, **how)


def test_a_failed_init_leaves_nothing_in_the_way_of_a_second(command, tmp_path):
    url, folder = f"sqlite://{tmp_path}/deep/keys.db", tmp_path / "secrets"
    folder.mkdir()
    assert "does not exist" in refused(init(command, url, folder))
    assert [*folder.iterdir()] == []
    (tmp_path / "deep").mkdir()
    (folder / "token").write_text("mine")
    assert "File exists" in refused(init(command, url, folder), 1)
    assert [*folder.iterdir()] == [folder / "token"]
    assert [*(tmp_path / "deep").iterdir()] == []
    (folder / "token").unlink()
    assert init(command, url, folder).returncode == 0
    assert {path.name for path in folder.iterdir()} == {"store.key", "token"}
    other = tmp_path / "other"
    other.mkdir()
    assert "There is a store" in refused(init(command, url, other))
    assert [*other.iterdir()] == []


def test_a_container_says_why_its_store_cannot_be_made(command, tmp_path):
    ended = init(command, "sqlite:///proc/keys.db", tmp_path, "--if-missing")
    assert "The directory /proc cannot be written." in refused(ended)


@pytest.mark.process
def test_a_database_that_is_away_leaves_no_key(run, tmp_path):
    assert "127.0.0.1:1" in refused(init(run, "postgres://u:p@127.0.0.1:1/x", tmp_path))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.process
def test_a_key_that_the_disk_does_not_take_is_not_left_in_part(run, tmp_path):
    limited = ["bash", "-c", 'ulimit -f 0; exec "$0" "$@"', *MINIKMS]
    ended = init(run, f"sqlite://{tmp_path}/keys.db", tmp_path, command=limited)
    assert "store.key cannot be made" in refused(ended)
    assert [*tmp_path.iterdir()] == []


def test_a_container_that_makes_its_store_at_each_start(command, persistent_url, tmp_path):
    first, second = (init(command, persistent_url, tmp_path, "--if-missing") for _ in range(2))
    assert (first.returncode, first.stderr) == (second.returncode, second.stderr) == (0, "")
    assert second.stdout == f"The store at {StoreLocation.parse(persistent_url)} exists.\n"
    (tmp_path / "store.key").write_text(new_raw_key())
    assert "does not open" in refused(init(command, persistent_url, tmp_path, "--if-missing"), 1)
    (tmp_path / "token").unlink()
    assert "does not open" in refused(init(command, persistent_url, tmp_path, "--if-missing"))


@pytest.mark.process
def test_an_init_that_is_killed(command, begin, persistent_url, tmp_path):
    """The same command says how to continue, or continues if it may use the existing files."""
    key_file = tmp_path / "store.key"
    process = init(begin, persistent_url, tmp_path)
    while not (key_file.exists() and key_file.stat().st_size):
        assert process.poll() is None
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    process.wait(60)
    line = refused(
        init(command, persistent_url, tmp_path), 1 if (tmp_path / "token").exists() else 2
    )
    assert "--generate-key" in line or "minikms token create" in line
    ended = init(command, persistent_url, tmp_path, "--if-missing")
    assert (ended.returncode, ended.stderr) == (0, "")
    made = command(
        "token",
        "create",
        "--all-profiles",
        "--name",
        "x",
        "--scope",
        "sign",
        *options_of(persistent_url, str(key_file)),
    )
    assert (made.returncode, made.stderr) == (0, "")
    again = command("store", "init", *options_of(persistent_url, str(key_file)))
    assert "minikms token create" in refused(again)


def test_a_key_that_was_made_before_is_used(command, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    key_file = write_key(tmp_path / "store.key", new_raw_key())
    assert "Omit --generate-key" in refused(init(command, url, tmp_path))
    assert command("store", "init", *options_of(url, key_file)).returncode == 0


async def test_the_key_of_a_store_that_opens_stays_after_a_failure(tmp_path, capsys):
    """Without it, nobody would open the store again."""
    file, location = tmp_path / "store.key", StoreLocation.parse(f"sqlite://{tmp_path}/keys.db")

    async def fail_late():
        async with new_key(str(file), location) as key:
            async with KeyStore.create(location, key):
                pass
            raise StoreError("The answer is lost.")

    with pytest.raises(StoreError, match="lost"):
        await fail_late()
    assert f"{file} is kept" in capsys.readouterr().err
    async with KeyStore.open(location, read_key(str(file), "", "raw")):
        pass
