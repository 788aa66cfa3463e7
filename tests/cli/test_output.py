"""Progress of commands: a bar on a terminal, lines in a pipe."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import sqlite3
import subprocess
import sys
import time

import pytest
from filled_stores import fill, options_of
from minikms_processes import MINIKMS, begin_process, complaints, environment

from minikms.versions import KeyVersions

pytestmark = pytest.mark.process


@pytest.fixture
def on_a_terminal():
    """Begin a command, standard error on a terminal; standard output too, or in a pipe."""
    begun = []

    def begin(*args, stdout=None):
        ours, theirs = pty.openpty()
        output = theirs if stdout is None else stdout
        process = begin_process(args, None, {}, stdout=output, stderr=theirs)
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
    asyncio.run(fill(url, key, many=260))
    options = [*options_of(url, key_file), "--to", f"sqlite://{tmp_path}/copy.db"]
    process, terminal = on_a_terminal("store", "copy", *options)
    shown = read_all(terminal)
    assert process.wait(60) == 0
    assert b"Copying keys" in shown
    assert b"271/271" in shown
    assert b"Profile" not in shown
    assert shown.splitlines()[-1].startswith(b"Copied 4 profiles and 271 keys to sqlite://")


def test_a_check_shows_its_progress_on_a_terminal(on_a_terminal, key, key_file, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key, many=260))
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.db")) as connection:
        # The alias of the last key, with a nonce and a tag.
        size = len(KeyVersions({1: "k" * 43}).to_bytes()) + 12 + 16
        alias = f"SELECT max(id) FROM items WHERE length(value) = {size}"
        [(last,)] = connection.execute(alias).fetchall()
        connection.execute("DELETE FROM items WHERE id = ?", (last,))
        connection.commit()
    process, terminal = on_a_terminal("store", "verify", *options_of(url, key_file))
    shown = read_all(terminal)
    assert process.wait(60) == 1
    assert b"Checking keys" in shown
    assert b"100%" in shown
    lines = shown.replace(b"\r\033[K", b"\n").splitlines()
    assert sum(line.startswith(b"z ") and line.endswith(b" missing") for line in lines) == 1
    assert lines[-1].startswith(b"Checked 4 profiles, 271 keys and 278 aliases: 1 wrong.")


@pytest.mark.parametrize("verb", ["copy", "verify"])
def test_progress_is_seen_before_the_store_is_open(on_a_terminal, key, key_file, tmp_path, verb):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    options = options_of(url, key_file)
    options += ["--to", f"sqlite://{tmp_path}/copy.db"] if verb == "copy" else []
    with open(tmp_path / "keys.db-lock-3", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        process, terminal = on_a_terminal("store", verb, *options)
        shown = b""
        while b" keys " not in shown:
            part = read(terminal)
            assert part, shown
            shown += part
        assert process.poll() is None
        time.sleep(1)  # a rate is shown from the first second on
    assert re.search(rb" \d+/s", read_all(terminal))
    assert process.wait(60) == 0


def test_piped_output_is_whole_beside_a_bar(on_a_terminal, run, key, key_file, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    options = [*options_of(url, key_file), "--to", f"sqlite://{tmp_path}/copy.db"]
    process, terminal = on_a_terminal("store", "copy", *options, stdout=subprocess.PIPE)
    assert b"11/11" in read_all(terminal)
    written, _ = process.communicate(timeout=60)
    assert [line.split()[0] for line in written.splitlines()] == ["Profile"] * 4 + ["Copied"]
    ended = run("store", "verify", *options_of(url, key_file))
    assert (complaints(ended), len(ended.stdout.splitlines())) == ([], 1)


def test_a_command_without_progress_shows_no_bar(on_a_terminal, key, key_file, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    process, terminal = on_a_terminal("store", "upgrade", *options_of(url, key_file))
    shown = read_all(terminal)
    assert process.wait(60) == 0
    assert shown.splitlines()[-1] == f"The store at {url} already has the layout 4.0.".encode()


def test_standard_error_may_be_closed(key, key_file, tmp_path):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    command = [*MINIKMS, "store", "verify", *options_of(url, key_file)]
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    ended = subprocess.run(closed, env=environment(), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout[:10]) == (0, "Checked 4 ")


# A command with lines every few milliseconds, so that a quick one has some.
OFTEN = """
from minikms.cli import main, output

output.PERIOD = 0.005
main.main()
"""


@pytest.mark.parametrize(("verb", "label"), [("copy", "Copying keys"), ("verify", "Checking keys")])
def test_progress_in_a_pipe_is_lines(key, key_file, tmp_path, verb, label):
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key, many=260))
    options = options_of(url, key_file)
    options += ["--to", f"sqlite://{tmp_path}/copy.db"] if verb == "copy" else []
    command = [sys.executable, "-c", OFTEN, "store", verb, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with open(tmp_path / "keys.db-lock-3", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with subprocess.Popen(command, env=environment(), **pipes) as process:
            try:
                # The store is not open yet, and nothing is done.
                waiting = [process.stderr.readline() for _ in range(3)]
                fcntl.flock(other, fcntl.LOCK_UN)
                written, shown = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 0
    assert waiting == [f"{label}: 0\n"] * 3
    steps = {"copy": 271, "verify": 271 + 279}[verb]
    found = re.findall(rf"{label}: (\d+) of {steps}(?=\n|, \d+/s, \d+ s left\n)", shown)
    assert len(found) == shown.count(" of ")
    done = [int(number) for number in found]
    assert done == sorted(done)
    assert 0 < done[-1] <= steps
    assert all(line.startswith(f"{label}: ") for line in shown.splitlines())
    assert written.splitlines()[-1].startswith({"copy": "Copied 4", "verify": "Checked 4"}[verb])


def read_all(terminal):
    shown = b""
    while part := read(terminal):
        shown += part
    return shown


def read(terminal):
    """Read from a terminal; empty after nobody has it open."""
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO, on Linux
        return b""
