"""Files of progress: they survive a kill, fit one command on one store, and have no secrets."""

import fcntl
import json
import time
from contextlib import suppress

import pytest

from minikms.maintenance.progress import Progress
from minikms.startup_errors import StoreError

FACTS = {"command": "store verify", "store": "sqlite:///keys.db", "identity": "0"}
NOTES = {"keys": int}


class Killed(Exception):
    pass


def interrupted(path, *done, facts=FACTS):
    """Leave a file in which these profiles are done."""
    with suppress(Killed), Progress.open(path, facts, NOTES) as progress:
        progress.begin(b"mark")
        for profile in done:
            progress.note(profile, keys=1)
        raise Killed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "progress"


def test_finished_profiles_stay_noted_until_all_are_finished(path):
    interrupted(path, "a")
    interrupted(path, "b")
    assert path.stat().st_mode & 0o777 == 0o600
    with Progress.open(path, FACTS, NOTES) as progress:
        assert (progress.done, progress.mark) == ({"a": {"keys": 1}, "b": {"keys": 1}}, b"mark")
        assert progress.kept(["b", "c"]) == {"b"}
    assert not path.exists()


def test_a_line_that_was_cut_short_is_dropped(path):
    interrupted(path, "a")
    with path.open("a") as file:
        file.write('{"profile":"b","ke')
    interrupted(path, "c")
    with Progress.open(path, FACTS, NOTES) as progress:
        assert progress.done.keys() == {"a", "c"}


def test_a_process_that_was_killed_before_the_first_line(path):
    path.touch(0o600)
    interrupted(path, "a")
    with Progress.open(path, FACTS, NOTES) as progress:
        assert progress.done.keys() == {"a"}


def changed(**members):
    def change(path):
        head, *lines = path.read_text().splitlines(keepends=True)
        path.write_text(json.dumps({**json.loads(head), **members}) + "\n" + "".join(lines))

    return change


def with_line(**members):
    """Let a person add a line."""
    return lambda path: path.write_text(path.read_text() + json.dumps(members) + "\n")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda path: path.write_text("notes\n"), "not a file of progress"),
        (lambda path: path.write_text("notes"), "not a file of progress"),
        (lambda path: path.write_text("[]\n{}\n"), "not a file of progress"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0\0\n"), "not a file of progress"),
        (changed(began="yesterday"), "not a file of progress"),
        (with_line(profile="b"), "not a file of progress"),
        (with_line(profile="b", keys="1"), "not a file of progress"),
        (with_line(profile="b", keys=1, more=2), "not a file of progress"),
        (with_line(profile=1, keys=1), "not a file of progress"),
        (changed(form=2), "this version"),
        (changed(command="store copy"), "its command is store copy, not store verify"),
        (changed(store="sqlite:///other.db"), "its store is sqlite:///other.db, not"),
        (changed(identity="7"), "its identity is 7"),
        (changed(began=int(time.time()) - 8 * 86400), "seven days"),
        (changed(began=int(time.time()) + 86400), "seven days"),
    ],
)
def test_another_file_is_refused_and_kept(path, change, text):
    interrupted(path, "a")
    change(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=text), Progress.open(path, FACTS, NOTES):
        pass
    assert path.read_bytes() == before


def test_a_file_whose_profiles_are_not_in_the_store_is_refused(path):
    interrupted(path, "a")
    with (
        pytest.raises(StoreError, match="another store"),
        Progress.open(path, FACTS, NOTES) as progress,
    ):
        progress.kept(["b"])
    assert path.exists()


def test_a_file_in_use_is_refused(path):
    interrupted(path, "a")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another process"), Progress.open(path, FACTS, NOTES):
            pass


def test_places_that_cannot_be_used(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("no/folder", "link", "."):
        with (
            pytest.raises(StoreError, match="cannot be used"),
            Progress.open(tmp_path / name, FACTS, NOTES),
        ):
            pass
