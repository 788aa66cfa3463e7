"""`minikms store backup` and `minikms store restore`, in processes of their own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest
from filled_stores import everything, fill, options_of, write_key
from minikms_processes import refused

from minikms.store.askar.stores import new_raw_key

pytestmark = pytest.mark.process


def test_a_backup_while_a_service_writes(command, serve, key, key_file, tmp_path):
    url, file = f"sqlite://{tmp_path}/keys.db", tmp_path / "backup.db"
    asyncio.run(fill(url, key, many=260))
    service = serve("--port", "0", "--auth", "none", *options_of(url, key_file))
    stopped, made, failed = threading.Event(), [], []

    def keep_writing():
        with contextlib.closing(service.connect()) as connection:
            while not stopped.is_set():
                connection.request("POST", "/key/generate", json.dumps({"alg": "ed25519"}))
                with connection.getresponse() as response:
                    answer = json.loads(response.read())
                if response.status != 200:
                    failed.append(answer)
                made.append(answer.get("kid"))

    writer = threading.Thread(target=keep_writing)
    log = threading.Thread(target=service.process.stderr.read)  # or it waits for a reader
    writer.start()
    log.start()
    try:
        while len(made) < 20:  # until there is something in the WAL
            time.sleep(0.01)
        acknowledged = {*made}
        backed_up = command("store", "backup", str(file), *options_of(url, key_file))
        in_use = command("store", "restore", str(file), *options_of(url, key_file))
    finally:
        stopped.set()
        writer.join(60)
    assert (backed_up.returncode, backed_up.stderr, failed) == (0, "", [])
    assert "the key opens it" in backed_up.stdout
    assert "has the store at" in refused(in_use)
    service.process.send_signal(signal.SIGKILL)
    service.process.wait(60)
    log.join(60)
    assert (tmp_path / "keys.db-wal").exists()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("backup")} == {
        "backup.db"
    }
    backed = asyncio.run(everything(f"sqlite://{file}", key))
    assert acknowledged <= {record.kid for record, _ in backed["default"]}
    assert command("store", "verify", *options_of(f"sqlite://{file}", key_file)).returncode == 0

    assert "exists already" in refused(
        command("store", "backup", str(file), *options_of(url, key_file))
    )
    # A killed service has left its WAL, which would wreck the backup.
    restored = command("store", "restore", str(file), *options_of(url, key_file))
    assert (restored.returncode, restored.stderr) == (0, "")
    assert asyncio.run(everything(url, key)) == backed
    assert command("store", "verify", *options_of(url, key_file)).returncode == 0
    assert file.exists()


def test_a_store_that_is_not_there_or_damaged_is_restored(command, key, key_file, tmp_path):
    path, file = tmp_path / "keys.db", tmp_path / "backup.db"
    url = f"sqlite://{path}"
    asyncio.run(fill(url, key))
    before = asyncio.run(everything(url, key))
    ended = command("store", "backup", str(file), "--store", url)
    assert "without the key" in ended.stdout
    for damage in (path.unlink, lambda: path.write_bytes(b"no store" * 1000)):
        damage()
        (tmp_path / "keys.db-wal").write_bytes(b"of another" * 1000)
        assert command("store", "restore", str(file), "--store", url).returncode == 0
        assert not (tmp_path / "keys.db-wal").exists()
        assert asyncio.run(everything(url, key)) == before


def test_restore_refuses_files_that_are_not_backups(command, key, key_file, tmp_path):
    path, good = tmp_path / "keys.db", tmp_path / "good.db"
    url = f"sqlite://{path}"
    asyncio.run(fill(url, key))
    assert command("store", "backup", str(good), "--store", url).returncode == 0
    before = path.read_bytes()
    (tmp_path / "text").write_text("no store")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (a)")
    damaged = bytearray(good.read_bytes())
    damaged[8192:16384] = bytes(8192)
    (tmp_path / "damaged.db").write_bytes(damaged)
    wrong = write_key(tmp_path / "wrong.key", new_raw_key())
    for name, text, options in (
        ("missing.db", "There is no file", []),
        ("text", "not a database", []),
        ("other.db", "is not a store", []),
        ("damaged.db", "", []),
        ("keys.db", "is the store itself", []),
        ("good.db", "The key does not open the store at", ["--store-key-file", wrong]),
        ("good.db", "in memory", ["--store", "memory"]),
        ("good.db", "pg_dump", ["--store", "postgres://127.0.0.1:1/x"]),
    ):
        file = str(tmp_path / name)
        assert text in refused(command("store", "restore", file, "--store", url, *options))
        assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.part*"))
    for options, text in (
        (["--store", f"sqlite://{tmp_path}/no.db"], "There is no file"),
        (["--store", url, "--store-key-file", wrong], f"The key does not open the store at {path}"),
        (["--store", "postgres://127.0.0.1:1/x"], "pg_dump"),
    ):
        assert text in refused(command("store", "backup", str(tmp_path / "new.db"), *options))
    assert not (tmp_path / "new.db").exists()


# Kills itself at each step of a command in turn: wherever Python opens, makes or removes a file,
# or a statement of SQLite's is over. Prints how many entries each command left.
KILLED = """
import asyncio, os, shutil, signal, sqlite3, sys
from pathlib import Path
from minikms.maintenance.backup import back_up, restore

folder, template = Path(sys.argv[1]), Path(sys.argv[2])


def entries(path):
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return file.execute("SELECT count(*) FROM items").fetchone()[0]


def kill_at(step):
    def count(event, args):
        nonlocal step
        if event.partition(".")[0] in ("os", "open", "sqlite3", "tempfile", "fcntl"):
            step -= 1
            if step == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)


for command in ("restore", "backup"):
    step, status = 0, signal.SIGKILL
    while status == signal.SIGKILL:
        step += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        child = os.fork()
        if child == 0:
            kill_at(step)
            if command == "restore":
                asyncio.run(restore(folder / "keys.db", folder / "backup.db", None))
            else:
                asyncio.run(back_up(folder / "keys.db", folder / "made.db", None))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        made = folder / "made.db"
        left = entries(made if made.exists() else folder / "keys.db")
        print(command, int(made.exists()), left, flush=True)
    assert status == 0, status
"""


@pytest.mark.kill
@pytest.mark.timeout(300)  # a process for each step
def test_a_restore_killed_at_any_step_leaves_a_whole_store(command, key, key_file, tmp_path):
    """Afterwards the old store with its WAL is there, or the backup."""
    template = tmp_path / "template"
    template.mkdir()
    url = f"sqlite://{template}/keys.db"
    asyncio.run(fill(url, key))
    backup = template / "backup.db"
    assert command("store", "backup", str(backup), "--store", url).returncode == 0
    with contextlib.closing(sqlite3.connect(template / "keys.db")) as file:
        file.execute("DELETE FROM items WHERE id = (SELECT max(id) FROM items)")
        file.commit()  # stays in the WAL, since the file is copied before it is closed
        crashed = tmp_path / "crashed"
        shutil.copytree(template, crashed)
        [(old,)] = file.execute("SELECT count(*) FROM items").fetchall()
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "work"), str(crashed)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert ended.returncode == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    restored = [int(left) for command, _, left in lines if command == "restore"]
    backed_up = [(int(made), int(left)) for command, made, left in lines if command == "backup"]
    assert len(restored) > 20
    assert restored == sorted(restored)
    assert {*restored} == {old, old + 1}
    assert len(backed_up) > 10
    assert {*backed_up} == {(0, old), (1, old)}
