"""Searches of the files of an audit log: order, filters, pages, rotation, and damaged files."""

import json
import os
import random
import socket
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from audit.audit_logs import write

from minikms.audit import line_reader
from minikms.audit import search as search_module
from minikms.audit import searched_files as files_module
from minikms.audit.line_reader import Clock
from minikms.audit.query import FAILED, OwnLines, Query
from minikms.audit.search import BEGINNING, AuditSearch, Cursor, CursorSeal, search
from minikms.audit.searched_files import LogFiles, MovedError, SearchedFile, read_files
from minikms.errors import AuditUnavailable, ValidationFailed
from minikms.startup_errors import AuditError

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
NANOSECONDS = int(BEGIN.timestamp()) * 10**9
KEY = bytes(32)


def line(second, **members):
    """A line of that second, as a service writes it."""
    time = (BEGIN + timedelta(seconds=second)).isoformat(timespec="microseconds")
    facts = {
        "chain": "0" * 32,
        "n": 1,
        "time": time.replace("+00:00", "Z"),
        "request_id": str(second),
        "who": "issuer",
        "profile": "default",
        "kid": "k",
        "operation": "sign",
        "outcome": "success",
        **members,
        "prev": "0" * 64,
        "mac": "0" * 64,
    }
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"


def file_of(path, *lines):
    path.write_bytes(b"".join(lines))
    return path


def files_of(path):
    return LogFiles(str(path)).read()


def seconds(page):
    return [float(found.members["request_id"]) for found in page[0]]


def pages(path, query, limit, time=1000):
    """Every page of a search; each begins at the end of the previous page."""
    after, found = BEGINNING, []
    while True:
        page = search(files_of(path), query, limit, after, Clock(time))
        found.append(seconds(page))
        after = page.after
        if after is None:
            return found


@pytest.fixture(params=[4000, 20_000, 512 * 1024])
def block(request, monkeypatch):
    """The size of a block: of a few lines, of many, or larger than a file."""
    monkeypatch.setattr(line_reader, "BLOCK", request.param)
    monkeypatch.setattr(line_reader, "_STEP", request.param // 4)


@pytest.fixture
def log(path):
    """A log of three workers and their rotated files, whose lines are of turns of one second."""
    for worker in range(3):
        stem = path.with_name(f"audit.{worker + 1}.log")
        for age, start in ((2, 0), (1, 40), (0, 80)):
            name = f"{stem.name}.{age}" if age else stem.name
            lines = [line(second) for second in range(start, start + 40) if second % 3 == worker]
            file_of(stem.with_name(name), *lines)
    return path


async def test_the_lines_that_a_service_writes(store, path):
    await write(path, store, 5)
    page = search(files_of(path), Query(who="issuer", operation="sign"), 100)
    assert [found.members["request_id"] for found in page.found] == [
        f"request {number}" for number in reversed(range(5))
    ]
    assert b"".join(found.line for found in reversed(page.found)) in path.read_bytes()
    assert page.after is None
    assert all(found.members["operation"] == "sign" for found in page.found)


@pytest.mark.usefixtures("block")
def test_all_files_are_searched_newest_line_first(log):
    assert pages(log, Query(), 1000) == [list(reversed(range(120)))]


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("limit", [1, 7, 120])
def test_pages_have_each_line_once(log, limit):
    found = pages(log, Query(), limit)
    assert list(chain.from_iterable(found)) == list(reversed(range(120)))
    assert {len(page) for page in found[:-1]} <= {limit}


@pytest.mark.usefixtures("block")
def test_a_search_without_time_goes_on_with_the_next_page(log):
    found = pages(log, Query(operation="nothing"), 10, time=0)
    assert not any(found)
    assert len(found) > 1
    found = pages(log, Query(), 10, time=0)
    assert list(chain.from_iterable(found)) == list(reversed(range(120)))


def test_lines_that_come_later_are_on_no_later_page(log):
    page = search(files_of(log), Query(), 10)
    for worker in range(3):
        with open(log.with_name(f"audit.{worker + 1}.log"), "ab") as file:
            file.write(line(200 + worker))
    assert seconds(page) == list(range(119, 109, -1))
    page = search(files_of(log), Query(), 1000, page.after)
    assert seconds(page) == list(range(109, -1, -1))


def test_a_file_at_rest_that_is_written_again_keeps_its_place(path):
    """A worker that had no calls for long, and has one between two pages."""
    file_of(path.with_name("audit.1.log"), *map(line, range(50, 100)))
    quiet = file_of(path.with_name("audit.2.log"), *map(line, range(10)))
    page = search(files_of(path), Query(), 20)
    with open(quiet, "ab") as file:
        file.write(line(200))
    rest = search(files_of(path), Query(), 100, page.after)
    assert seconds(page) + seconds(rest) == [*range(99, 49, -1), *range(9, -1, -1)]


def test_a_rotation_between_two_pages_hides_and_repeats_nothing(log):
    page = search(files_of(log), Query(), 10)
    for worker in range(3):
        stem = f"audit.{worker + 1}.log"
        for age in (2, 1, 0):
            old = log.with_name(f"{stem}.{age}" if age else stem)
            os.rename(old, log.with_name(f"{stem}.{age + 1}"))
        file_of(log.with_name(stem), line(200 + worker))
    rest = search(files_of(log), Query(), 1000, page.after)
    assert seconds(page) + seconds(rest) == list(range(119, -1, -1))


def test_files_that_are_renamed_while_they_are_read_are_read_again(log, monkeypatch):
    read, renamed = SearchedFile.read, []

    def rename_then_read(path):
        if not renamed:
            renamed.append(path)
            os.rename(path, f"{path}-20260131")
        return read(path)

    monkeypatch.setattr(SearchedFile, "read", rename_then_read)
    with pytest.raises(MovedError):
        files_of(log)
    assert len(files_of(log)) == 9


def test_a_rotation_while_files_are_read_spoils_no_later_read(log, monkeypatch):
    """A file that is read under the name of another is not kept as that one."""
    read, rotated = SearchedFile.read, []
    oldest, middle = (log.with_name(f"audit.1.log.{age}") for age in (2, 1))

    def rotate_then_read(path):
        if not rotated and path == str(middle):
            rotated.append(path)
            os.rename(oldest, f"{oldest}0")
            os.rename(middle, oldest)
            os.rename(log.with_name("audit.1.log"), middle)
        return read(path)

    monkeypatch.setattr(SearchedFile, "read", rotate_then_read)
    files = LogFiles(str(log))
    with pytest.raises(MovedError):
        files.read()
    assert rotated
    assert {file.path for file in files.read()} == {file.path for file in files_of(log)}


def test_a_file_that_is_listed_by_two_names_is_read_once(log, monkeypatch):
    """The file's times are known, and it is renamed while the folder is listed."""
    files, scandir, renamed = LogFiles(str(log)), os.scandir, []
    assert len(files.read()) == 9

    @contextmanager
    def renaming(folder):
        with scandir(folder) as entries:
            before = list(entries)
        yield chain.from_iterable(map(then_renamed, before))

    def then_renamed(entry):
        yield entry
        if entry.name == "audit.1.log.1" and not renamed:
            renamed.append(f"{entry.path}0")
            os.rename(entry.path, renamed[0])
            with scandir(log.parent) as entries:
                yield from [each for each in entries if each.path == renamed[0]]

    monkeypatch.setattr(files_module.os, "scandir", renaming)
    with pytest.raises(MovedError):
        files.read()
    assert renamed
    assert len(files.read()) == 9


async def test_a_search_starts_again_if_its_files_move(log, monkeypatch):
    read, moves = LogFiles.read, []

    def moved_meanwhile(*args):
        files = read(*args)
        if len(moves) < 2:
            moves.append(log.with_name("audit.1.log"))
            os.rename(moves[-1], log.with_name(f"audit.1.log-{len(moves)}"))
            file_of(moves[-1], line(300 + len(moves)))
        return files

    monkeypatch.setattr(LogFiles, "read", moved_meanwhile)
    page = await AuditSearch(str(log), KEY).page(Query(), 3, "", "")
    assert seconds(page) == [302, 301, 119]


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), [7, 6, 5, 4, 3, 2, 1, 0]),
        (Query(kids=("k",)), [6, 3, 2, 1, 0]),
        (Query(kids=("other",)), [7, 4]),
        (Query(kids=("new",)), [7]),
        (Query(kids=("new",), who="ops"), []),
        (Query(kids=("new",), operation="rotateKey"), [7]),
        (Query(kids=("nope",)), []),
        (Query(who="ops"), [3]),
        (Query(who='a"b\\ü'), [5]),
        (Query(operation="aws:Sign"), [2]),
        (Query(outcome="success"), [7, 6, 4, 2, 0]),
        (Query(outcome="forbidden"), [1]),
        (Query(outcome=FAILED), [5, 3, 1]),
        (Query(outcome=FAILED, who="issuer"), [1]),
        (Query(outcome=FAILED, kids=("k",)), [3, 1]),
        (Query(profiles={"alice": None}), [3]),
        (Query(profiles={"alice": None, "bob": None}), [4, 3]),
        (Query(profiles={"default": None}, admitted=True), [7, 6, 2, 1, 0]),
        (Query(profiles={"alice": None}, admitted=True), []),
        (Query(profiles={"default": OwnLines("1", NANOSECONDS + 2 * 10**9)}), [7, 6, 2, 1]),
        (Query(profiles={"default": OwnLines("1")}), [1]),
        (Query(profiles={"default": OwnLines("2", NANOSECONDS + 10**10), "bob": None}), [4]),
        (Query(since=NANOSECONDS + 3 * 10**9), [7, 6, 5, 4, 3]),
        (Query(until=NANOSECONDS + 3 * 10**9), [2, 1, 0]),
        (Query(since=NANOSECONDS + 10**9, until=NANOSECONDS + 2 * 10**9), [1]),
        (Query(since=NANOSECONDS + 10**9 * 100), []),
        (Query(until=NANOSECONDS), []),
    ],
)
def test_a_filter_finds_its_lines(path, query, expected):
    lines = [
        line(0),
        line(1, outcome="forbidden", admitted=True, profile_id="1"),
        line(2, operation="aws:Sign", alg="ed25519"),
        line(3, who="ops", profile="alice", outcome="key-not-found"),
        line(4, kid="other", profile="bob"),
        line(5, who='a"b\\ü', kid=None, outcome="unauthenticated", profile=None),
        # A member of another object, and the text of a member in a value.
        line(6, certificate={"profile": "alice", "subject": '"kid":"other","new_kid":"new"'}),
        line(7, operation="rotateKey", kid="other", new_kid="new"),
    ]
    lines[5] = lines[5].replace(rb"\u00fc", "ü".encode())  # as orjson writes it
    file_of(path, *lines)
    assert seconds(search(files_of(path), query, 100)) == expected


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("seed", range(5))
def test_times_in_large_files_are_found_as_by_reading_all(path, seed):
    chance = random.Random(seed)
    times = sorted(chance.uniform(0, 1000) for _ in range(500))
    written = [
        line(time, subject="x" * chance.choice([0, 30, 3000]), request_id=str(place))
        for place, time in enumerate(times)
    ]
    file_of(path, *written)
    for _ in range(10):
        since, until = sorted(chance.uniform(-50, 1050) for _ in range(2))
        query = Query(
            since=NANOSECONDS + int(since * 1e6) * 1000, until=NANOSECONDS + int(until * 1e6) * 1000
        )
        expected = [place for place, time in enumerate(times) if since <= time < until]
        assert seconds(search(files_of(path), query, 1000)) == expected[::-1]


@pytest.mark.usefixtures("block")
def test_lines_that_were_cut_short_are_left_out(path):
    whole = [line(second) for second in range(3)]
    file_of(path, whole[0], whole[1][:100], b"\n", whole[1], whole[2], line(3)[:-1])
    assert seconds(search(files_of(path), Query(), 100)) == [2, 1, 0]


@pytest.mark.usefixtures("block")
def test_a_file_of_anything_ends_the_search_of_it(path, tmp_path):
    file_of(path, line(1))
    noise = random.Random(1).randbytes(5000)
    for name, content in (
        ("audit.log.1", b""),
        ("audit.log.2.gz", noise),
        ("audit.log.3", b"x" * 5000),
        ("audit.log.4", b"\n" * 5000),
        ("audit.log.5", line(0) + b"{}\n[]\nnull\n" + line(0).replace(b'"issuer"', b"[]") + noise),
    ):
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "audit.log.6")
    (tmp_path / "audit.log.7").mkdir()
    (tmp_path / "audit.log.8").symlink_to(path)
    page = search(files_of(path), Query(), 100)
    assert seconds(page)[:2] == [1, 0]


def test_other_files_of_the_folder_are_not_read(path, tmp_path, caplog):
    file_of(path, line(1))
    others = ("audit.log~", "other.log", "audit.logs", "audit.x.log", "myaudit.log", "audit.1")
    beside = ("audit.log.bak", "audit.12.log.old", "audit.log-copy.1", "audit.log.1.gz")
    for name in (*others, *beside):
        file_of(tmp_path / name, line(2))
    for name in ("audit.log.1", "audit.log-20260131", "audit.3.log", "audit.12.log.2026-01-31T12"):
        file_of(tmp_path / name, line(3))
    files = LogFiles(str(path))
    for _ in range(2):
        assert seconds(search(files.read(), Query(), 100)) == [3, 3, 3, 3, 1]
    for name in beside:
        assert caplog.text.count(f"{name} is not searched: its suffix is neither") == 1
    assert caplog.text.count("is not searched") == len(beside)


def test_a_socket_beside_the_log_does_not_end_the_search(path, tmp_path, monkeypatch, caplog):
    file_of(path, line(1))
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as beside, socket.socket(socket.AF_UNIX) as as_rotated:
        beside.bind("audit.log.socket")
        as_rotated.bind("audit.log.1")
        assert seconds(search(files_of(path), Query(), 100)) == [1]
    assert "audit.log.1 is not searched: it is not a regular file" in caplog.text


async def test_only_files_of_the_log_have_to_be_readable(path, tmp_path, monkeypatch, caplog):
    """A search reports an unreadable file if it may contain matching lines."""
    unreadable, opened = {"audit.log.bak", "audit.log.2"}, os.open

    def refuse(name, *args, **options):
        if os.path.basename(str(name)) in unreadable:
            raise PermissionError(13, "Permission denied", name)
        return opened(name, *args, **options)

    for name in ("audit.log", "audit.log.1", "audit.log.2", "audit.log.bak"):
        file_of(tmp_path / name, line(1))
    monkeypatch.setattr(files_module.os, "open", refuse)  # root may read every file
    audit = AuditSearch(str(path), KEY)
    with pytest.raises(AuditUnavailable) as refusal:
        await audit.page(Query(), 10, "", "")
    assert "audit.log.2," in str(refusal.value)
    assert f"{tmp_path}/audit.log.2 cannot be read: Permission denied" in caplog.text
    unreadable.remove("audit.log.2")
    assert seconds(await audit.page(Query(), 10, "", "")) == [1, 1, 1]


class Mounted:
    """An entry of a folder on which a file of another file system is mounted."""

    def __init__(self, entry):
        self.name, self.path, self.stat = entry.name, entry.path, entry.stat

    def inode(self):
        return 1


def test_a_file_that_is_mounted_on_its_place_is_searched(log, monkeypatch):
    scandir = os.scandir

    @contextmanager
    def mounted(folder):
        with scandir(folder) as entries:
            yield map(Mounted, entries)

    monkeypatch.setattr(files_module.os, "scandir", mounted)
    assert pages(log, Query(), 1000) == [list(reversed(range(120)))]


async def test_a_search_that_opens_many_files_goes_on_with_the_next_page(log, monkeypatch):
    read, opened = SearchedFile.read, []

    def noted(path):
        opened.append(path)
        return read(path)

    monkeypatch.setattr(SearchedFile, "read", noted)
    monkeypatch.setattr(search_module, "LONGEST_SEARCH", 0)
    audit, found, after, opened_by_page = AuditSearch(str(log), KEY), [], "", []
    while after or not opened_by_page:
        del opened[:]
        page, after = await audit.page(Query(), 1000, after, "")
        found += seconds((page,))
        opened_by_page.append(sum(not path.endswith(".log") for path in opened))
    assert found == list(reversed(range(120)))
    assert opened_by_page[:6] == [1] * 6  # the rotated files
    assert set(opened_by_page[6:]) == {0}


@pytest.mark.parametrize("cursor", [BEGINNING, Cursor(("2026-01-31", (7, 2**63)), {(1, 2): 3})])
def test_a_cursor_is_opened_under_its_key_alone(cursor):
    text = CursorSeal(KEY).seal(cursor)
    assert CursorSeal(KEY).open(text) == cursor
    changed = ("B" if text[0] == "A" else "A") + text[1:]
    for wrong in (changed, text[:-1], text[1:], text + "A", "A", "AAAA", ""):
        with pytest.raises(ValidationFailed):
            CursorSeal(KEY).open(wrong)
    with pytest.raises(ValidationFailed):
        CursorSeal(b"1" * 32).open(text)


def test_a_cursor_of_a_file_names_no_offset_within_a_line(path):
    file_of(path, line(1), line(2))
    [file] = files_of(path)
    after = Cursor(("", (0, 0)), {file.identity: len(line(1)) + 50})
    assert seconds(search([file], Query(), 100, after)) == [1]


async def test_a_file_that_cannot_be_read(path, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    file_of(path, line(1))
    monkeypatch.setattr(line_reader.os, "pread", refuse)
    with pytest.raises(AuditUnavailable):
        await AuditSearch(str(path), KEY).page(Query(), 1, "", "")
    assert "cannot be read: Permission denied" in caplog.text


async def test_a_file_that_is_skipped_is_logged_once(path, tmp_path, caplog):
    file_of(path, line(1))
    (tmp_path / "audit.log.1").write_bytes(b"\x1f\x8b" * 100)
    audit = AuditSearch(str(path), KEY)
    for _ in range(2):
        assert seconds(await audit.page(Query(), 10, "", "")) == [1]
    assert caplog.text.count("audit.log.1 is not searched: it has no audit lines") == 1


def test_named_files_must_be_audit_logs(path, tmp_path):
    file_of(path, line(1))
    assert len(read_files([str(path)])) == 1
    file_of(tmp_path / "other", b"something else\n")
    for wrong in (tmp_path / "other", tmp_path / "nowhere", tmp_path):
        with pytest.raises(AuditError):
            read_files([str(path), str(wrong)])


def test_a_search_of_no_files_ends(path):
    assert search(files_of(path), Query(), 10) == ([], None)
