"""The audit log as a file: what its lines are, and what is found where somebody changed it."""

import asyncio
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import resource
import signal
from itertools import pairwise

import pytest
from processes import needs_root, open_files

from minikms.access.tokens import Tokens
from minikms.audit.chain import START, Head, Line, next_key
from minikms.audit.file import AuditFile
from minikms.audit.heads import HEAD, AuditStore, public_text
from minikms.audit.log import AuditLog
from minikms.audit.reader import LogFile
from minikms.audit.verify import verify
from minikms.cli.main import main
from minikms.errors import AuditUnavailable, KeyUnreadable
from minikms.events import AuditEvent
from minikms.maintenance.copy import copy
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.write import StoreWriter
from minikms.startup_errors import AuditError
from minikms.store.askar import new_raw_key
from minikms.store.database import Database
from minikms.store.keys import KeyStore
from minikms.store.location import StoreKey, StoreLocation


@pytest.fixture
async def database(tmp_path):
    location = StoreLocation.parse(f"sqlite://{tmp_path}/keys.db")
    async with KeyStore.create(location, StoreKey(new_raw_key())) as store:
        yield store.database


@pytest.fixture
def store(database):
    return AuditStore(database)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


TORN = "it was cut short: its writer ended while it wrote"


def event(number=0, **facts):
    caller = {"request_id": f"request {number}", "who": "issuer", "address": "127.0.0.1"}
    return AuditEvent("sign", pytest.fail, **caller | facts)


async def write(path, store, lines):
    """A log that is opened, written, and ended."""
    async with AuditLog.open(str(path), store) as log:
        for number in range(lines):
            log.write([event(number)], "success")


async def head(store, ready):
    """A head of the only chain, once it is `ready`."""
    async with asyncio.timeout(60):
        while not ((heads := await store.heads()) and ready(heads[-1])):
            await asyncio.sleep(0.01)
    return heads[-1]


@contextlib.asynccontextmanager
async def killed(path, store, lines, vouched):
    """A log that is written, and given as it is while nothing ends it."""
    async with AuditLog.open(str(path), store) as log:
        for number in range(vouched - 1):
            log.write([event(number)], "success")
        await head(store, lambda head: head.count == vouched)
        for number in range(lines - vouched):
            log.write([event(number)], "success")
        yield log


@pytest.fixture(params=["store", "apart"])
def checked(request, store):
    """Check files by the store, or by heads alone: what is wrong, and what is not vouched for."""

    async def check(*files, by=request.param, partial=False):
        public, heads = await store.public_key(), await store.heads()
        assert all(head.is_signed_by(public) for head in heads)
        keys = await store.chains() if by == "store" else None
        faults, notes = [], []
        tally = verify(
            [LogFile(str(file)) for file in files],
            heads,
            keys,
            lambda where, what: faults.append((os.path.basename(where), what)),
            lambda where, what: notes.append((os.path.basename(where), what)),
            partial=partial,
        )
        assert (tally.files, tally.faults) == (len(files), len(faults))
        return faults, notes

    return check


# What is in it


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


async def test_it_continues_an_existing_file(path, store, checked):
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
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [file for file in found if file.startswith(str(path.with_suffix("")))]


async def test_it_is_opened_again(path, store, checked):
    before = open_logs(path)
    async with AuditLog.open(str(path), store) as log:
        log.write([event()], "success")
        os.rename(path, moved := path.with_suffix(".1"))
        with pytest.raises(AuditUnavailable):
            log.write([event()], "success")
        log.reopen()
        await head(store, lambda head: head.follows)
        log.write([event()], "success")
        # Its file is the same by now: another chain goes on there.
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
    # What was emptied is in no file: two chains, between those of two files.
    assert [where for where, _ in faults] == ["audit.log:1", "audit.1:2"]
    assert (notes, len(emptied)) == ([], 4)
    assert open_logs(path) == before


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
            ("audit.log:1000", "nothing tells whether its chain had lines after this one")
        ]
        path.write_bytes(b"".join(lines[:999]))
        (fault,) = (await checked(path))[0]
        assert fault == ("audit.log:999", "line 1000 of its chain, behind it, is missing")
        path.write_bytes(b"".join(lines))
        log.write([event()], "success")
    assert await checked(path) == ([], [])


# What is found


def changed(lines):
    lines[4] = lines[4].replace(b'"issuer"', b'"nobody"')


def one_bit(lines):
    lines[6] = lines[6].replace(b"request 5", b"request 4")


def removed(lines):
    del lines[4]


def first_removed(lines):
    del lines[0]


def several_removed(lines):
    del lines[3:6]


def last_cut(lines):
    del lines[-1]


def all_but_the_first_cut(lines):
    del lines[1:]


def emptied(lines):
    lines.clear()


def inserted(lines):
    lines.insert(5, lines[4].replace(b"request 3", b"request 9"))


def repeated(lines):
    lines.insert(5, lines[4])


def appended(lines):
    lines.append(lines[-1])


def swapped(lines):
    lines[3], lines[4] = lines[4], lines[3]


def something_else(lines):
    lines.insert(5, b"once upon a time\n")


def something_else_first(lines):
    lines.insert(0, b'{"chain":"\n')


def cut_within(lines):
    lines[-1] = lines[-1][:50]


def hashed_anew(lines):
    """What one can do who has the file alone: change a line, and make the chain fit again."""
    changed(lines)
    for n in range(5, len(lines)):
        before = hashlib.sha256(lines[n - 1][:-1]).hexdigest().encode()
        line = Line.parse(lines[n])
        lines[n] = lines[n].replace(line.prev.encode(), before)


def made_anew(lines):
    """And besides, choose a key of one's own for the MACs."""
    changed(lines)
    key, before = bytes(32), b"0" * 64
    for n, line in enumerate(lines):
        parsed = Line.parse(line)
        body = parsed.body.replace(parsed.prev.encode(), before)
        mac = hmac.digest(key, body, "sha256").hex().encode()
        lines[n] = b'%s,"mac":"%s"}\n' % (body, mac)
        key, before = next_key(key), hashlib.sha256(lines[n][:-1]).hexdigest().encode()


def made_anew_under_another_name(lines):
    """And besides, begin a chain of one's own."""
    chain = Line.parse(lines[0]).chain.encode()
    lines[:] = [line.replace(chain, b"0" * 32) for line in lines]
    made_anew(lines)


# What was done, and where it is found: with the store, and with heads alone.
DONE = {
    changed: ("audit.log:5", "audit.log:6"),
    one_bit: ("audit.log:7", "audit.log:8"),
    removed: ("audit.log:5", "audit.log:5"),
    first_removed: ("audit.log:1", "audit.log:1"),
    several_removed: ("audit.log:4", "audit.log:4"),
    last_cut: ("audit.log:10", "audit.log:10"),
    all_but_the_first_cut: ("audit.log:1", "audit.log:1"),
    emptied: ("audit.log", "audit.log"),
    inserted: ("audit.log:6", "audit.log:6"),
    repeated: ("audit.log:6", "audit.log:6"),
    appended: ("audit.log:12", "audit.log:12"),
    swapped: ("audit.log:4", "audit.log:4"),
    something_else: ("audit.log:6", "audit.log:6"),
    something_else_first: ("audit.log:1", "audit.log:1"),
    cut_within: ("audit.log:10", "audit.log:10"),
    hashed_anew: ("audit.log:5", "audit.log:11"),
    made_anew: ("audit.log:1", "audit.log:11"),
    made_anew_under_another_name: ("audit.log:1", "audit.log:11"),
}


@pytest.mark.parametrize("how", DONE, ids=lambda how: how.__name__)
async def test_what_was_changed_is_found(path, store, checked, how):
    await write(path, store, 10)
    assert await checked(path) == ([], [])
    lines = path.read_bytes().splitlines(keepends=True)
    before = list(lines)
    how(lines)
    assert lines != before
    path.write_bytes(b"".join(lines))
    for by, where in zip(("store", "apart"), DONE[how], strict=True):
        faults, _ = await checked(path, by=by)
        assert where == faults[0][0] or where in [place for place, _ in faults]


async def test_a_line_that_was_changed_is_found_once(path, store, checked):
    await write(path, store, 10)
    lines = path.read_bytes().splitlines(keepends=True)
    changed(lines)
    path.write_bytes(b"".join(lines))
    faults, notes = await checked(path)
    assert (len(faults), notes) == (1, [])


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_whole_chain_that_was_removed_is_found(path, store, checked, which):
    for _ in range(3):
        await write(path, store, 2)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[3 * which : 3 * which + 3]
    path.write_bytes(b"".join(lines))
    assert (await checked(path))[0]


async def test_a_last_chain_that_was_cut_off_a_file_that_was_moved_is_found(path, store, checked):
    for _ in range(2):
        await write(path, store, 2)
    os.rename(path, moved := path.with_suffix(".1"))
    lines = moved.read_bytes().splitlines(keepends=True)
    moved.write_bytes(b"".join(lines[:3]))
    ((where, what),) = (await checked(moved))[0]
    assert where == "audit.1:3"
    assert "behind it in its file, is missing" in what


async def test_a_file_is_checked_as_it_was_when_it_was_opened(path, store):
    async with AuditLog.open(str(path), store) as log:
        await head(store, lambda head: head.count == 1)
        opened = LogFile(str(path))
        log.write([event()], "success")
        assert list(opened.parts()) == path.read_bytes().splitlines(keepends=True)[:1]


async def test_an_older_file_in_its_place_is_found(path, store, checked):
    await write(path, store, 2)
    os.rename(path, older := path.with_suffix(".1"))
    await write(path, store, 2)
    os.rename(older, path)
    ((where, what),) = (await checked(path))[0]
    assert where == "audit.log"
    assert "the last one there, is not in it" in what


async def test_a_file_between_two_others_that_was_changed_is_found(path, store, checked):
    await write(path, store, 2)
    os.rename(path, older := path.with_suffix(".1"))
    await write(path, store, 2)
    lines = older.read_bytes().splitlines(keepends=True)
    older.write_bytes(b"".join(lines[:2]))
    places = [where for where, _ in (await checked(path, older))[0]]
    assert places == ["audit.1:2", "audit.log:1"]


@pytest.mark.parametrize("left", [1, 11, 200, -1], ids=str)
async def test_a_file_that_was_cut_within_its_first_line_is_found(path, store, checked, left):
    await write(path, store, 2)
    os.rename(path, older := path.with_suffix(".1"))
    await write(path, store, 2)
    first = older.read_bytes().splitlines(keepends=True)[0]
    older.write_bytes(first[:left])
    faults, notes = await checked(path, older)
    assert [where for where, _ in faults] == ["audit.1", "audit.log:1"]
    assert notes == [("audit.1:1", TORN)]
    assert (await checked(older))[0][0][0] == "audit.1"
    assert (await checked(path, older, partial=True))[0] == faults[:1]


# Which of four files are there, and where it is found that others are not: given all, and a part.
GIVEN = {
    "all": ("0123", [], []),
    "all but the first": ("123", ["1:1"], []),
    "all but the last": ("012", ["2:2"], []),
    "all but the second": ("023", ["2:1"], ["2:1"]),
    "all but two in the middle": ("03", ["3:1", "0:2"], ["3:1", "0:2"]),
    "the first": ("0", ["0:2"], []),
    "the third": ("2", ["2:1", "2:2"], []),
    "the last": ("3", ["3:1"], []),
}


@pytest.mark.parametrize("given", GIVEN)
async def test_a_file_that_is_missing_is_found(path, store, checked, given):
    for number in range(4):
        await write(path, store, 1)
        os.rename(path, path.with_name(f"{number}"))
    which, whole, part = GIVEN[given]
    files = [path.with_name(number) for number in which]
    for partial, expected in ((False, whole), (True, part)):
        faults, notes = await checked(*files, partial=partial)
        assert [where for where, _ in faults] == expected
        assert [where for where, _ in notes] == ([] if expected == whole else whole)


async def test_a_missing_file_of_a_process_that_was_killed_is_found(path, store, checked):
    left_behind = path.with_name("left.log")
    async with killed(path, store, 3, 1):
        left_behind.write_bytes(path.read_bytes())
        os.rename(path, path.with_suffix(".1"))
        await write(path, store, 1)  # as the next process does, behind the head that there is
        ((where, what),) = (await checked(path))[0]
        assert (where, "in none of these files" in what) == ("audit.log:1", True)
        assert (await checked(path, left_behind))[0] == []


async def test_a_missing_chain_that_nothing_leads_to_is_found(path, store, database, checked):
    for number in range(3):
        await write(path, store, 1)
        os.rename(path, path.with_name(f"{number}"))
    (between,) = {head.follows for head in await store.heads()} & {
        head.chain for head in await store.heads() if head.follows
    }
    # As of a process that was killed before the store had a head of it.
    await database.run_own(lambda session: session.remove(HEAD, between), write=True)
    ((where, what),) = (await checked(path.with_name("0")))[0]
    assert (where, "in none of these files" in what) == ("audit.log", True)


async def test_a_log_of_another_place_may_be_elsewhere(path, store, checked):
    other = path.with_name("other.log")
    for file in (path, other):
        await write(file, store, 1)
    assert await checked(path) == await checked(path, other) == ([], [])


async def test_chains_that_follow_each_other_in_a_circle(path, store, checked):
    for number in range(2):
        await write(path, store, 1)
        os.rename(path, path.with_name(f"{number}"))
    files = [path.with_name(f"{number}") for number in range(2)]
    second = Line.parse(files[1].read_bytes().splitlines(keepends=True)[0]).chain.encode()
    text = files[0].read_bytes()
    files[0].write_bytes(text.replace(b'"follows":null', b'"follows":"%s"' % second))
    assert (await checked(*files))[0]
    assert (await checked(files[0]))[0]


async def test_a_file_given_twice(path, store, checked):
    await write(path, store, 2)
    ((where, what),) = (await checked(path, path))[0]
    assert (where, "a second time" in what) == ("audit.log:1", True)


async def test_a_number_that_no_line_has_is_not_counted_up_to(path, store, checked):
    await write(path, store, 2)
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"n":3', b'"n":3000000000000'))
    assert (await checked(path, by="store"))[0][0] == ("audit.log:3", "it is not as it was written")


# What ended in the middle of a line


@pytest.mark.parametrize("left", [1, 9, 11, 200, -2], ids=str)
async def test_a_torn_line_is_noted(path, store, checked, left):
    left_behind = path.with_name("left.log")
    async with killed(path, store, 5, 1):
        *lines, last = path.read_bytes().splitlines(keepends=True)
        torn = last[:left]
        left_behind.write_bytes(b"".join([*lines, torn]))
        faults, notes = await checked(left_behind)
        assert (faults, notes[0]) == ([], ("left.log:5", TORN))
        assert [where for where, _ in notes] == ["left.log:5", "left.log:4"]
        await write(left_behind, store, 2)
        opening = json.loads(left_behind.read_bytes().splitlines()[5])
        assert (opening["after"], opening["torn"]) == (4, len(torn) + 1)
        faults, notes = await checked(left_behind)
        assert (faults, ("left.log:5", TORN) in notes) == ([], True)
        text = left_behind.read_bytes()
        left_behind.write_bytes(text.replace(b"\n" + torn + b"\n", b"\n" + torn + b"x\n", 1))
        assert (await checked(left_behind))[0] == [("left.log:5", "it is no line of an audit log")]


async def test_a_line_that_lacks_its_end_alone_is_whole(path, store, checked):
    left_behind = path.with_name("left.log")
    async with killed(path, store, 5, 1):
        left_behind.write_bytes(path.read_bytes()[:-1])
        assert (await checked(left_behind))[1][0] == ("left.log:5", TORN)
        await write(left_behind, store, 2)
        opening = json.loads(left_behind.read_bytes().splitlines()[5])
        assert (opening["after"], opening["torn"]) == (5, 0)
        assert (await checked(left_behind))[0] == []


async def test_a_first_line_that_is_torn(path, store, checked):
    path.write_bytes(START + b"0123")
    assert (await checked(path))[0] == [("audit.log", "it has not one whole line")]
    await write(path, store, 1)
    assert await checked(path) == ([], [("audit.log:1", TORN)])


# What cannot be used


async def test_a_file_has_one_writer(path, store):
    async with AuditLog.open(str(path), store) as log:
        with pytest.raises(AuditError, match="Another process"):
            AuditFile(str(path))
        log.write([event()], "success")
    await write(path, store, 1)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.symlink_to("/dev/full"), "no regular file"),
        (lambda path: path.symlink_to("/no/such/folder"), "No such file"),
        (lambda path: path.write_text("a secret"), "something else than an audit log"),
        (lambda path: path.write_text("line\n" * 100_000), "something else than an audit log"),
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


# The store


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
        with open(tmp_path / "keys.db-lock") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            os.rename(path, moved := path.with_suffix(".1"))
            log.reopen()
            async with asyncio.timeout(60):
                while "is not opened again yet" not in caplog.text:
                    await asyncio.sleep(0.01)
            assert not path.exists()
        async with asyncio.timeout(60):
            while not path.exists():
                await asyncio.sleep(0.01)
        log.write([event()], "success")
    assert await checked(path, moved) == ([], [])


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
        assert [copied async for copied in copy(StoreInspector(database), target, print)]
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


# As an operator sees it


@pytest.fixture
def options(run, tmp_path):
    given = ["--store", f"sqlite://{tmp_path}/keys.db", "--store-key-file", f"{tmp_path}/key"]
    made = run("store", "init", *given, "--generate-key")
    assert (made.returncode, made.stderr) == (0, "")
    return given


GENERATE = b'{"alg":"ed25519","alias":"k"}'
SIGN = b'{"alias":"k","data":"aGVsbG8"}'


def audited(serve, options, path, *more):
    open_to_all = ["--port", "0", "--auth", "none", "--audit-log", str(path)]
    return serve(*open_to_all, *options, *more)


@pytest.mark.process
def test_it_is_checked_with_the_store_and_without(serve, run, options, path, tmp_path):
    service = audited(serve, options, path)
    assert service.status("POST", "/key/generate", GENERATE) == 200
    assert service.stop()[0] == 0
    ended = run("audit", "verify", str(path), *options)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Checked 1 files, 1 chains and 2 lines: nothing wrong.\n"
    heads = tmp_path / "heads"
    heads.write_text(run("audit", "heads", *options).stdout)
    key = run("audit", "key", *options).stdout.strip()
    apart = ["--heads", str(heads), "--public-key", key]
    ended = run("audit", "verify", str(path), *apart)
    assert (ended.returncode, ended.stderr) == (0, "")
    path.write_bytes(path.read_bytes().replace(b"generateKey", b"deleteKey"))
    for given in options, apart:
        ended = run("audit", "verify", str(path), *given)
        assert (ended.returncode, ended.stderr) == (1, "")
        assert ended.stdout.startswith(f"{path}:2: ")
        assert ended.stdout.endswith(": 1 wrong.\n")


@pytest.mark.process
def test_a_rotated_file_that_was_cut_is_found(serve, run, options, path):
    older = path.with_suffix(".1")
    for _ in range(2):
        service = audited(serve, options, path)
        assert service.status("POST", "/key/generate", GENERATE) == 200
        assert service.stop()[0] == 0
        if not older.exists():
            os.rename(path, older)
    ended = run("audit", "verify", str(path), str(older), *options)
    assert (ended.returncode, "nothing wrong" in ended.stdout) == (0, True)
    os.truncate(older, 100)
    ended = run("audit", "verify", str(path), str(older), *options)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert f"{older}: it has not one whole line\n" in ended.stdout
    assert ended.stdout.endswith(": 2 wrong.\n")
    assert run("audit", "verify", str(path), *options).returncode == 1
    ended = run("audit", "verify", "--partial", str(path), *options)
    assert (ended.returncode, ended.stdout.count("Note: ")) == (0, 1)


@pytest.mark.process
def test_what_cannot_be_checked(run, options, path, tmp_path, capsys):
    key = run("audit", "key", *options).stdout.strip()
    path.write_bytes(b"")
    bad = tmp_path / "bad"
    bad.write_text("no head\n")
    empty = tmp_path / "empty"
    empty.write_text("")
    unsigned = Head("0" * 32, "host:/audit.log", None, False, 1, "0" * 64, "", False, "AAAA")
    forged = tmp_path / "forged"
    forged.write_bytes(unsigned.to_bytes())
    for *given, why in (
        ("", "memory"),
        (*options, f"{path}.2", "No such file"),
        ("--public-key", key, "go together"),
        ("--public-key", key, "--heads", f"{path}.2", "No such file"),
        ("--public-key", key, "--heads", f"{bad}", "other lines than heads"),
        ("--public-key", "AAAA", "--heads", f"{empty}", "--public-key"),
        ("--public-key", key, "--heads", f"{forged}", "not signed"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["audit", "verify", str(path), *filter(None, given)])
        (line,) = capsys.readouterr().err.splitlines()
        assert ended.value.code == 2
        assert line.startswith("minikms: ")
        assert why in line


@pytest.mark.process
def test_each_worker_has_a_file_of_its_own(serve, run, options, path):
    service = audited(serve, options, path, "--workers", "2")
    files = [path.with_name(f"audit.{number}.log") for number in (1, 2)]
    service.status("POST", "/key/generate", GENERATE)
    for _ in range(20):
        assert service.status("POST", "/sign", SIGN) == 200
    for file in files:
        os.rename(file, file.with_suffix(".old"))
    service.process.send_signal(signal.SIGHUP)
    for _ in files:
        service.read_until("opened again")
    for _ in range(20):
        assert service.status("POST", "/sign", SIGN) == 200
    service.stop()
    written = [*files, *(file.with_suffix(".old") for file in files)]
    lines = [json.loads(line) for file in written for line in file.read_bytes().splitlines()]
    assert sum(line["operation"] == "sign" for line in lines) == 40
    assert not path.exists()
    ended = run("audit", "verify", *map(str, written), *options)
    assert (ended.returncode, "Note" in ended.stdout) == (0, False), ended.stdout


@pytest.mark.process
def test_a_worker_that_is_killed_leaves_its_file_to_its_successor(serve, run, options, path):
    service = audited(serve, options, path, "--workers", "2")
    started = "".join(service.lines)
    worker = int(started.partition("worker 1 is process ")[2].split()[0])
    os.kill(worker, signal.SIGKILL)
    service.read_until("worker 1 is process ")
    service.stop()
    first = path.with_name("audit.1.log")
    lines = [json.loads(line) for line in first.read_bytes().splitlines()]
    assert [line["continues"] for line in lines] == [False, True]
    ended = run("audit", "verify", str(first), *options)
    assert (ended.returncode, ended.stdout.count("Note: ")) == (0, 1)


@pytest.mark.process
async def test_of_ten_thousand_calls_with_a_kill_in_the_middle(
    answering, run, make_store, tmp_path
):
    options, path = await make_store(f"sqlite://{tmp_path}/keys.db"), tmp_path / "audit.log"
    answered = []

    def check():
        ended = run("audit", "verify", str(path), **options)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        assert ended.stdout.count("Note: ") == 1 + torn
        assert set(answered) <= done_in(path)

    service, session = await answering(options, "--audit-log", str(path))
    async with session:
        await generate(session)
        under_way = asyncio.create_task(sign_until(session, answered, 10_000))
        while len(answered) < 5000:
            await asyncio.sleep(0.001)
        service.process.kill()
        await under_way
    service.end()
    assert 5000 <= len(answered) < 10_000
    torn = not path.read_bytes().endswith(b"\n")  # it may have been killed while it wrote
    check()
    service, session = await answering(options, "--audit-log", str(path))
    async with session:
        await sign_until(session, answered, 10_000)
    service.process.terminate()
    service.end()
    assert len(answered) >= 10_000
    check()


async def sign_until(session, answered, most):
    """Sign on many connections, until that many are answered or the service is gone."""
    async with session.get("/healthz") as response:
        url = response.url
    head = f"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(SIGN)}\r\n\r\n"

    async def on_one_connection():
        reader, writer = await asyncio.open_connection(url.host, url.port)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while len(answered) < most:
                writer.write(head.encode() + SIGN)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", answer)[1]))
                answered.append(re.search(rb"X-Request-Id: (\w+)", answer)[1].decode())
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    await asyncio.gather(*(on_one_connection() for _ in range(16)))


def done_in(*files):
    """The ids of the requests that whole lines record as a success."""
    lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
    recorded = [json.loads(line) for line in lines if Line.parse(line)]
    return {line.get("request_id") for line in recorded if line["outcome"] == "success"}


JSON = {"Content-Type": "application/json"}


async def generate(session):
    async with session.post("/key/generate", data=GENERATE, headers=JSON) as made:
        assert made.status == 200


async def sign(session):
    """Try to sign: the status, and the id of the request."""
    async with session.post("/sign", data=SIGN, headers=JSON) as response:
        answer = await response.json(content_type=None)
        assert response.status == 200 or answer["type"] == "urn:minikms:problem:audit-unavailable"
        return response.status, response.headers["X-Request-Id"]


@pytest.mark.process
async def test_a_disk_that_is_full(answering, run, make_store, tmp_path):
    options, path = await make_store(f"sqlite://{tmp_path}/keys.db"), tmp_path / "audit.log"
    service, session = await answering(options, "--audit-log", str(path))
    async with session:
        await generate(session)
        while path.stat().st_size < 200_000:  # more than the files of SQLite have
            assert (await sign(session))[0] == 200
        pid, limit = service.process.pid, resource.RLIMIT_FSIZE
        usual = resource.prlimit(pid, limit)
        resource.prlimit(pid, limit, (path.stat().st_size + 1000, usual[1]))
        answers = [await sign(session) for _ in range(10)]
        assert [status for status, _ in answers] == [200] * 2 + [503] * 8
        kept = path.read_bytes()
        assert kept.endswith(b"}\n")
        resource.prlimit(pid, limit, usual)
        answers.append(await sign(session))
    assert answers[-1][0] == 200
    assert path.read_bytes().startswith(kept)
    assert {number for status, number in answers if status == 200} <= done_in(path)
    assert done_in(path).isdisjoint(number for status, number in answers if status == 503)
    service.process.terminate()
    service.end()
    ended = run("audit", "verify", str(path), **options)
    assert (ended.returncode, "Note" in ended.stdout) == (0, False), ended.stdout


@pytest.mark.process
@pytest.mark.parametrize("take", ["rename", "remove", "replace"])
@needs_root
async def test_a_file_that_is_taken_away_under_load(answering, run, make_store, tmp_path, take):
    options, path = await make_store(f"sqlite://{tmp_path}/keys.db"), tmp_path / "audit.log"
    away, answers, stop = tmp_path / "away.log", [], asyncio.Event()

    async def client():
        while not stop.is_set():
            answers.append(await sign(session))

    async def until(status):
        """Wait for a hundred more answers of this status."""
        start = len(answers)
        while [found for found, _ in answers[start:]].count(status) < 100:
            await asyncio.sleep(0.001)

    service, session = await answering(options, "--audit-log", str(path))
    async with session:
        await generate(session)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(client())
            await until(200)
            if take == "rename":
                os.rename(path, away)
            else:
                os.link(path, away)  # so that the test can read it
                os.unlink(path)
            if take == "replace":
                path.touch()
            await until(503)
            service.process.send_signal(signal.SIGHUP)
            await until(200)
            stop.set()
    opened = open_files(service.process.pid)
    assert str(path) in opened
    async with asyncio.timeout(60):  # a thread has the old one on the disk before it is closed
        while str(away) in open_files(service.process.pid):
            await asyncio.sleep(0.01)
    done = {number for status, number in answers if status == 200}
    assert len(done) > 200
    assert done <= done_in(path, away)
    assert done_in(path, away).isdisjoint(number for status, number in answers if status == 503)
    service.process.terminate()
    service.end()
    ended = run("audit", "verify", str(path), str(away), **options)
    assert (ended.returncode, "Note" in ended.stdout) == (0, False), ended.stdout
