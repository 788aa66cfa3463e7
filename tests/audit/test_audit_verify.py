"""Findings of `verify` in a log that was changed or left unfinished."""

import hashlib
import hmac
import json
import os
from dataclasses import replace

import pytest
from audit.audit_logs import TORN, event, head, killed, write

from minikms.audit.chain import START, Line, next_key
from minikms.audit.heads import HEAD
from minikms.audit.log import AuditLog
from minikms.audit.verify import verify
from minikms.audit.verify_file import LogFile


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


def forged_behind(lines):
    """Continue a closed chain with a line that fits in all but its MAC."""
    last = Line.parse(lines[-1])
    following = hashlib.sha256(lines[-1][:-1]).hexdigest().encode()
    line = lines[-1].replace(b'"n":%d' % last.n, b'"n":%d' % (last.n + 1))
    lines.append(line.replace(last.prev.encode(), following))


def swapped(lines):
    lines[3], lines[4] = lines[4], lines[3]


def something_else(lines):
    lines.insert(5, b"once upon a time\n")


def something_else_first(lines):
    lines.insert(0, b'{"chain":"\n')


def cut_within(lines):
    lines[-1] = lines[-1][:50]


def hashed_anew(lines):
    """Forge with the file alone: change a line, and make the chain fit again."""
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


# Each change, and the line that reports it: checked with the store, and with heads alone.
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
    forged_behind: ("audit.log:12", "audit.log:12"),
    swapped: ("audit.log:4", "audit.log:4"),
    something_else: ("audit.log:6", "audit.log:6"),
    something_else_first: ("audit.log:1", "audit.log:1"),
    cut_within: ("audit.log:10", "audit.log:10"),
    hashed_anew: ("audit.log:5", "audit.log:11"),
    made_anew: ("audit.log:1", "audit.log:11"),
    made_anew_under_another_name: ("audit.log:1", "audit.log:11"),
}


@pytest.mark.parametrize("how", DONE, ids=lambda how: how.__name__)
async def test_a_changed_line_is_found(path, store, checked, how):
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


@pytest.mark.parametrize("partial", [False, True])
async def test_a_last_chain_that_was_cut_off_a_file_that_was_moved_is_found(
    path, store, checked, partial
):
    for _ in range(2):
        await write(path, store, 2)
    os.rename(path, moved := path.with_suffix(".1"))
    lines = moved.read_bytes().splitlines(keepends=True)
    moved.write_bytes(b"".join(lines[:3]))
    ((where, what),) = (await checked(moved, partial=partial))[0]
    assert where == "audit.1:3"
    assert "after it in its file, is missing" in what


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
    assert "the last one of this file, is not in it" in what


async def test_a_file_between_two_others_that_was_changed_is_found(path, store, checked):
    await write(path, store, 2)
    os.rename(path, older := path.with_suffix(".1"))
    await write(path, store, 2)
    lines = older.read_bytes().splitlines(keepends=True)
    older.write_bytes(b"".join(lines[:2]))
    places = [where for where, _ in (await checked(path, older))[0]]
    assert places == ["audit.1:2", "audit.log:1"]


async def test_a_changed_last_line_is_not_the_one_that_the_next_chain_names(path, store, checked):
    """Heads alone do not say which of the two files was changed, so both are named."""
    await write(path, store, 2)
    os.rename(path, older := path.with_suffix(".1"))
    await write(path, store, 1)
    lines = older.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"time":"2', b'"time":"1')
    older.write_bytes(b"".join(lines))
    places = [where for where, _ in (await checked(path, older, by="apart"))[0]]
    assert places == ["audit.1:3", "audit.log:1"]


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


# The given ones of four files, and the places at which verification misses others, without and
# with `--partial`.
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
    # Like a process killed before the store had a head of its chain.
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
    fault = ("audit.log:3", "it was changed after it was written")
    assert (await checked(path, by="store"))[0][0] == fault


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
        assert (await checked(left_behind))[0] == [
            ("left.log:5", "it is not a line of an audit log")
        ]


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
    assert (await checked(path))[0] == [("audit.log", "it has no whole line")]
    await write(path, store, 1)
    assert await checked(path) == ([], [("audit.log:1", TORN)])


@pytest.mark.parametrize("order", [1, -1], ids=["open first", "closed first"])
async def test_a_head_of_an_open_chain_does_not_hide_its_end(path, store, order):
    """Two exports of heads: one was made while the chain was open, and both name the same line."""
    await write(path, store, 3)
    (closed,) = await store.heads()
    lines = path.read_bytes().splitlines(keepends=True)
    forged_behind(lines)
    path.write_bytes(b"".join(lines))
    heads, faults = [replace(closed, closed=False), closed][::order], []
    verify([LogFile(str(path))], heads, None, lambda *fault: faults.append(fault), pytest.fail)
    assert faults == [(f"{path}:5", "its chain had ended with line 4")]
