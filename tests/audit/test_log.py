"""The audit log as a file, and its entries in the store."""

import asyncio
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
from itertools import pairwise

import pytest
from audit.audit_logs import event, head, killed, write
from waiting import until

from minikms.access.tokens import Tokens
from minikms.audit import log as audit_log
from minikms.audit.chain import Head, Line
from minikms.audit.file import AuditFile
from minikms.audit.heads import AuditStore, public_text
from minikms.audit.log import AuditLog
from minikms.errors import AuditUnavailable, KeyUnreadable
from minikms.maintenance.copy import copy
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.write import StoreWriter
from minikms.startup_errors import AuditError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.database import Database
from minikms.store.keys.key_store import KeyStore


async def test_lines_are_bound_together(path, store):
    await write(path, store, 3)
    lines = path.read_bytes().splitlines()
    (chain, key), *others = (await store.chains()).items()
    assert not others
    before = "0" * 64
    for n, line in enumerate(lines, 1):
        body, mac = line[:-1].rsplit(b',"mac":', 1)
        assert json.loads(mac) == hmac.new(key, body, "sha256").hexdigest()
        key = hashlib.sha256(b"minikms audit key\n" + key).digest()
        facts = json.loads(line)
        assert (facts["chain"], facts["n"], facts["prev"]) == (chain, n, before)
        before = hashlib.sha256(line).hexdigest()
    opening = json.loads(lines[0])
    assert opening["key"] == public_text(await store.public_key())
    assert (opening["operation"], opening["follows"]) == ("openAuditLog", None)
    facts = json.loads(lines[1])
    assert {"time", "request_id", "who", "address", "subject", "profile"} < facts.keys()
    assert (facts["operation"], facts["outcome"], facts["who"]) == ("sign", "success", "issuer")
    assert facts["time"].endswith("Z")
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_lines_have_no_control_characters(path, store, checked):
    controls = "".join(chr(code) for code in (*range(32), *range(0x7F, 0xA0)))
    async with AuditLog.open(str(path), store) as log:
        log.write([event(who=controls), event(who="a", subject=controls)], "success")
    assert not [each for each in path.read_text() if each in controls and each != "\n"]
    _, first, second = map(json.loads, path.read_bytes().splitlines())
    assert first["who"] == second["subject"] == controls
    assert await checked(path) == ([], [])


async def test_a_line_with_very_many_roles_is_bounded(path, store, checked):
    roles = tuple(f"{number:064}" for number in range(2000))
    async with AuditLog.open(str(path), store) as log:
        log.write([event(roles=roles)], "success")
    _, line = path.read_bytes().splitlines()
    assert len(line) < 4096
    assert json.loads(line)["roles"][0] == roles[0]
    assert await checked(path) == ([], [])


@pytest.mark.parametrize("who", ["x" * 100_000, "lone \ud800", "\x00\n\u2028" * 1000])
async def test_names_of_callers_are_bounded(path, store, checked, who):
    async with AuditLog.open(str(path), store) as log:
        log.write([event(who=who)], "success")
        log.write([event(who=None, subject="CN=a,O=b")], "forbidden")
    _, long, last = path.read_bytes().splitlines()
    assert len(long) < 4096
    assert json.loads(long)["who"][:1] == who[:1]
    assert json.loads(last)["subject"] == "CN=a,O=b"
    assert await checked(path) == ([], [])


async def test_a_log_continues_an_existing_file(path, store, checked):
    for _ in range(3):
        await write(path, store, 2)
    openings = [json.loads(line) for line in path.read_bytes().splitlines()[::3]]
    assert [opening["n"] for opening in openings] == [1, 1, 1]
    assert [opening["continues"] for opening in openings] == [False, True, True]
    for before, after in pairwise(openings):
        assert (after["follows"], after["after"]) == (before["chain"], 3)
    assert await checked(path) == ([], [])


async def test_a_new_file_follows_the_last_head(path, store, checked):
    await write(path, store, 2)
    os.rename(path, moved := path.with_suffix(".1"))
    await write(path, store, 2)
    assert json.loads(path.read_bytes().splitlines()[0])["after"] == 3
    assert await checked(path, moved) == await checked(moved, path) == ([], [])
    faults, [(where, what)] = await checked(path, partial=True)
    assert (faults, where) == ([], "audit.log:1")
    assert "in none of these files" in what


def open_logs(path):
    """The audit logs of this name, or moved from it, that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [file for file in found if file.startswith(str(path.with_suffix("")))]


async def test_a_moved_log_is_opened_again(path, store, checked):
    before = open_logs(path)
    async with AuditLog.open(str(path), store) as log:
        log.write([event()], "success")
        os.rename(path, moved := path.with_suffix(".1"))
        with pytest.raises(AuditUnavailable):
            log.write([event()], "success")
        log.reopen()
        await head(store, lambda head: head.follows)
        log.write([event()], "success")
        # The file is the same, so the next chain continues in it.
        log.reopen()
        await head(store, lambda head: head.continues)
        log.write([event()], "success")
        os.truncate(path, 0)
        with pytest.raises(AuditUnavailable):
            log.write([event()], "success")
        log.reopen()
        async with asyncio.timeout(60):
            while not path.stat().st_size:
                await asyncio.sleep(0.01)
        log.write([event()], "success")
    assert len(moved.read_bytes().splitlines()) == 2
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == [1, 2]
    emptied = await store.heads()
    faults, notes = await checked(path, moved)
    # The emptied lines are in no file: two chains are missing between the chains of the two files.
    assert [where for where, _ in faults] == ["audit.log:1", "audit.1:2"]
    assert (notes, len(emptied)) == ([], 4)
    assert open_logs(path) == before


async def not_opened(log, path, caplog):
    """Move the file of a log away, and put something in its place that cannot be opened."""
    os.rename(path, moved := path.with_suffix(".1"))
    path.mkdir()
    log.reopen()
    await until("a failure", lambda: "cannot be opened again" in caplog.text)
    with pytest.raises(AuditUnavailable):
        log.write([event()], "success")
    return moved


async def test_a_file_that_was_left_continues_once_it_is_put_back(path, store, checked, caplog):
    before = open_logs(path)
    async with AuditLog.open(str(path), store) as log:
        log.write([event()], "success")
        moved = await not_opened(log, path, caplog)
        assert open_logs(path) == before
        path.rmdir()
        os.rename(moved, path)
        await head(store, lambda head: head.continues)
        log.write([event()], "success")
    assert len(path.read_bytes().splitlines()) == 4
    assert await checked(path) == ([], [])
    assert open_logs(path) == before


async def test_a_log_that_ends_without_a_file_is_vouched_for(path, store, checked, caplog):
    async with AuditLog.open(str(path), store) as log:
        log.write([event()], "success")
        moved = await not_opened(log, path, caplog)
    assert await checked(moved) == ([], [])


async def test_no_line_is_lost_while_it_is_opened_again(path, store, checked):
    files = [path]
    async with AuditLog.open(str(path), store) as log:
        written = 0
        for number in range(5):
            os.rename(path, moved := path.with_suffix(f".{number}"))
            files.append(moved)
            log.reopen()
            async with asyncio.timeout(60):
                while not path.exists():
                    with contextlib.suppress(AuditUnavailable):
                        log.write([event()], "success")
                        written += 1
                    await asyncio.sleep(0)
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    assert len(lines) == written + len(files)
    assert await checked(*files) == ([], [])


async def test_heads_are_saved_regularly(path, store, checked):
    async with killed(path, store, 1203, 1000) as log:
        (head,) = await store.heads()
        assert (head.count, head.closed) == (1000, False)
        faults, [(where, what)] = await checked(path)
        assert (faults, where) == ([], "audit.log:1203")
        assert "the last head is of line 1000" in what
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:1100]))
        assert (await checked(path))[0] == []  # nothing can tell, and that is said
        path.write_bytes(b"".join(lines[:1000]))
        assert (await checked(path))[1] == [
            ("audit.log:1000", "its chain may have had lines after this one")
        ]
        path.write_bytes(b"".join(lines[:999]))
        (fault,) = (await checked(path))[0]
        assert fault == ("audit.log:999", "line 1000 of its chain, after it, is missing")
        path.write_bytes(b"".join(lines))
        log.write([event()], "success")
    assert await checked(path) == ([], [])


async def test_heads_vouch_for_lines_that_are_on_the_disk(path, store, monkeypatch):
    """Files that were moved, are still written, and are closed."""
    on_disk, unsafe, saved = {}, [], []
    sync, save = os.fsync, AuditStore.save_head

    def noted(descriptor):
        facts = os.fstat(descriptor)
        sync(descriptor)
        on_disk[facts.st_ino] = max(facts.st_size, on_disk.get(facts.st_ino, 0))

    async def checked(self, head):
        saved.append(head)
        for file in path.parent.glob("audit*"):
            content = file.read_bytes()
            safe = content[: on_disk.get(file.stat().st_ino, 0)]
            vouched = [line for line in map(Line.parse, content.splitlines(True)) if of(head, line)]
            there = [line for line in map(Line.parse, safe.splitlines(True)) if of(head, line)]
            unsafe.extend(vouched[len(there) :])
        await save(self, head)

    def of(head, line):
        return line is not None and line.chain == head.chain and line.n <= head.count

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(AuditStore, "save_head", checked)
    async with AuditLog.open(str(path), store) as log:
        await until("a head", lambda: saved)
        log.write([event()], "success")
        os.rename(path, path.with_suffix(".1"))
        log.reopen()
        await until("the heads of two files", lambda: len(saved) >= 3)
        log.write([event()], "success")
    heads = {}  # of each file; a head may be saved again before it changes
    for each in saved:
        heads.setdefault(each.chain, []).append((each.count, each.closed))
    assert [(each[0], each[-1]) for each in heads.values()] == [((1, False), (2, True))] * 2
    assert unsafe == []


async def test_a_file_has_one_writer(path, store):
    async with AuditLog.open(str(path), store) as log:
        with pytest.raises(AuditError, match="Another process"):
            AuditFile(str(path))
        log.write([event()], "success")
    await write(path, store, 1)


needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="root alone gives files away: run as root"
)


def link_to_another(path):
    path.with_name("another").touch()
    path.symlink_to(path.with_name("another"))


def hard_link_to_another(path):
    path.with_name("another").touch()
    os.link(path.with_name("another"), path)


def open_to(mode):
    def make(path):
        path.touch()
        path.chmod(mode)

    return make


def of_another_user(path):
    path.touch(0o600)
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/full"), "symbolic link"),
        (lambda path: path.symlink_to("/no/such/folder"), "symbolic link"),
        (link_to_another, "symbolic link"),
        (hard_link_to_another, "it has several names"),
        (open_to(0o620), "other users may write to it"),
        (open_to(0o602), "other users may write to it"),
        pytest.param(of_another_user, "it belongs to another user", marks=needs_root),
        (lambda path: path.write_text("a secret"), "is not an audit log"),
        (lambda path: path.write_text("line\n" * 100_000), "is not an audit log"),
    ],
)
def test_a_file_that_cannot_be_used(path, make, why):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(AuditError, match=why):
        AuditFile(str(path)).begin()
    assert before is None or path.read_bytes() == before


@pytest.mark.process
def test_a_file_that_stops_the_start(path, run):
    path.mkdir()
    ended = run("serve", "--port", "0", "--audit-log", str(path))
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert line == f"minikms: The audit log {path} cannot be opened: Is a directory."


@pytest.mark.process
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_store_that_refuses_the_log_stops_the_start(
    path, run, make_store, postgres_server, workers
):
    """The database is read-only, like a standby."""
    url = postgres_server.create_database()
    options = await make_store(url)
    name = url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    variables = {name.upper(): value for name, value in options.items()}
    args = ["--port", "0", "--audit-log", str(path), "--workers", workers]
    ended = run("serve", *args, **variables)
    said = {line for line in ended.stderr.splitlines() if line.startswith("minikms: ")}
    assert ended.returncode == 2
    assert all(re.match(r"minikms: The audit log .* cannot be opened: ", line) for line in said)
    assert said
    assert "Traceback" not in ended.stderr


async def test_several_agree_on_one_key(make_store, persistent_url):
    options = await make_store(persistent_url)
    location, key = StoreLocation.parse(persistent_url), StoreKey(options["store_key"])
    async with Database.open(location, key) as one, Database.open(location, key) as other:
        stores = [AuditStore(database) for database in (one, other) * 4]
        keys = await asyncio.gather(*(store.public_key() for store in stores))
    assert len({public_text(key) for key in keys}) == 1


async def test_a_store_that_is_unavailable_delays_nobody(path, store, checked, tmp_path, caplog):
    async with AuditLog.open(str(path), store) as log:
        await head(store, lambda head: head.count == 1)
        with open(tmp_path / "keys.db-lock-3") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            os.rename(path, moved := path.with_suffix(".1"))
            log.reopen()
            async with asyncio.timeout(60):
                while "cannot be opened again" not in caplog.text:
                    await asyncio.sleep(0.01)
            assert not path.exists()
        async with asyncio.timeout(60):
            while not path.exists():
                await asyncio.sleep(0.01)
        log.write([event()], "success")
    assert await checked(path, moved) == ([], [])


async def test_heads_that_cannot_be_saved_are_said_once(path, store, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(audit_log, "_RETRY", 0)
    monkeypatch.setattr(audit_log, "_LINES", 1)
    tries, save_head = [], AuditStore.save_head

    async def counted(store, head):
        tries.append(head)
        await save_head(store, head)

    async with AuditLog.open(str(path), store) as log:
        await head(store, lambda head: head.count == 1)
        monkeypatch.setattr(AuditStore, "save_head", counted)
        monkeypatch.setattr(store._database._pool, "acquire_timeout", 0.1)
        with open(tmp_path / "keys.db-lock-3") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            log.write([event()], "success")
            await until("several tries", lambda: len(tries) > 3)
        await until("heads that are saved", lambda: "saves heads again" in caplog.text)
    assert caplog.text.count("cannot save its heads") == 1


async def test_an_older_head_does_not_replace_a_later_one(path, store):
    await write(path, store, 3)
    (last,) = await store.heads()
    await store.save_head(Head(last.chain, last.file, None, False, 1, last.hash, last.time, False))
    assert await store.heads() == [last]


async def test_a_copy_of_the_store_has_all_of_it(path, database, tmp_path):
    store = AuditStore(database)
    await write(path, store, 3)
    token, record = await Tokens(database).create("issuer", ("sign",), None, None)
    location, key = StoreLocation.parse(f"sqlite://{tmp_path}/copy.db"), StoreKey(new_raw_key())
    async with StoreWriter.create(location, key) as target:
        copying = copy(StoreInspector(database), target, print)
        assert [copied async for copied in copying]
    async with Database.open(location, key) as copied:
        again = AuditStore(copied)
        assert await again.heads() == await store.heads()
        assert await again.chains() == await store.chains()
        assert public_text(await again.public_key()) == public_text(await store.public_key())
        assert await Tokens(copied).find(token.id) == record
        await write(path, again, 3)
        assert len(await again.heads_of((await store.heads())[0].file)) == 2


async def test_a_copy_leaves_nothing_out_silently(path, tmp_path, flip, query):
    location, key = StoreLocation.parse(f"sqlite://{tmp_path}/keys.db"), StoreKey(new_raw_key())
    async with KeyStore.create(location, key) as made:
        await write(path, AuditStore(made.database), 3)
    flip(tmp_path / "keys.db", *query(tmp_path / "keys.db", "SELECT max(id) FROM items")[0])
    async with StoreInspector.open(location, key) as source:
        with pytest.raises(KeyUnreadable):
            [batch async for batch in source.own()]
