"""The file of a store key, plain or sealed."""

import os

import pytest
from filled_stores import write_key

from minikms.basics.secret_files import replace_secret, write_secret
from minikms.seals.key_file import read_key, seals_of
from minikms.seals.opening import seal
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey

pytestmark = pytest.mark.usefixtures("quick_check_value")

SECRET = "DRtQ8UwJSTmDyRsNcFQzS7xZHVZk8jgBgQFXQ5BPnFSz"


@pytest.fixture
def file(tmp_path):
    return write_key(tmp_path / "store.key", SECRET)


def test_either_form_is_read(file, one):
    assert read_key(file, "", "raw") == StoreKey(SECRET)
    assert seals_of(file) == []
    replace_secret(file, seal(SECRET, (one.uri,)).dump(), "key", StoreError)
    assert read_key(file, "", "argon2i") == StoreKey(SECRET, "argon2i")
    assert seals_of(file) == [one.uri]


@pytest.mark.parametrize("passphrase", ["{", '{"minikms": "sealed store key"}', "ü" * 1024])
def test_any_passphrase_may_be_sealed(file, one, passphrase):
    replace_secret(file, passphrase, "key", StoreError)
    assert read_key(file, "", "argon2i").secret == passphrase
    replace_secret(file, seal(passphrase, (one.uri,)).dump(), "key", StoreError)
    assert read_key(file, "", "argon2i").secret == passphrase


def test_a_sealed_file_is_refused_if_others_can_read_it(file, one):
    replace_secret(file, seal(SECRET, (one.uri,)).dump(), "key", StoreError)
    os.chmod(file, 0o644)
    with pytest.raises(StoreError, match="open to others"):
        read_key(file, "", "raw")


@pytest.mark.parametrize("mode", [0o620, 0o604, 0o602, 0o601], ids=oct)
def test_a_file_is_refused_for_each_bit_that_opens_it_to_others(file, mode):
    """A user who can write the file chooses the key of a new store."""
    os.chmod(file, mode)
    with pytest.raises(StoreError, match="open to others"):
        read_key(file, "", "raw")


def test_a_file_that_its_group_can_read_is_taken(file):
    os.chmod(file, 0o640)
    assert read_key(file, "", "raw") == StoreKey(SECRET)


def test_without_a_file_the_text_is_the_key():
    assert read_key("", SECRET, "raw") == StoreKey(SECRET)
    assert seals_of("") == []
    with pytest.raises(StoreError, match="MINIKMS_STORE_KEY"):
        read_key("", "", "raw")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run pytest as a user")
def test_a_file_in_a_folder_that_cannot_be_written_stays(file, tmp_path):
    os.chmod(tmp_path, 0o500)
    try:
        with pytest.raises(StoreError, match="cannot be replaced"):
            replace_secret(file, "other", "key", StoreError)
    finally:
        os.chmod(tmp_path, 0o700)
    assert read_key(file, "", "raw").secret == SECRET


def test_a_file_that_is_gone_is_not_made(tmp_path):
    with pytest.raises(StoreError, match="cannot be replaced"):
        replace_secret(str(tmp_path / "none"), "other", "key", StoreError)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", [write_secret, replace_secret])
def test_a_written_key_and_its_name_are_on_the_disk(tmp_path, file, write, monkeypatch):
    """Otherwise a power cut could remove the new key of a store that has it already."""
    written = f"{tmp_path}/new" if write is write_secret else file
    synced, sync = [], os.fsync

    def note(number):
        synced.append(os.fstat(number).st_ino)
        sync(number)

    monkeypatch.setattr(os, "fsync", note)
    write(written, SECRET, "key", StoreError)
    assert synced == [os.stat(written).st_ino, os.stat(tmp_path).st_ino]
