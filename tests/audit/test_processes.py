"""The audit log of services in processes of their own: commands, workers, kills, full disks."""

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import signal

import pytest
from proc_files import needs_root, open_files
from serve.small_disks import fill, small_disk
from waiting import LONG, waiting_for

from minikms.audit.chain import Head, Line
from minikms.cli.main import main

GENERATE = b'{"alg":"ed25519","alias":"k"}'
SIGN = b'{"alias":"k","data":"aGVsbG8"}'


def audited(serve, options, path, *more):
    open_to_all = ["--port", "0", "--auth", "none", "--audit-log", str(path)]
    return serve(*open_to_all, *options, *more)


@pytest.mark.process
def test_a_log_is_verified_with_and_without_the_store(serve, command, options, path, tmp_path):
    service = audited(serve, options, path)
    assert service.status("POST", "/key/generate", GENERATE) == 200
    assert service.stop()[0] == 0
    ended = command("audit", "verify", str(path), *options)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Checked 1 files, 1 chains and 2 lines: nothing wrong.\n"
    heads = tmp_path / "heads"
    heads.write_text(command("audit", "heads", *options).stdout)
    key = command("audit", "key", *options).stdout.strip()
    apart = ["--heads", str(heads), "--public-key", key]
    ended = command("audit", "verify", str(path), *apart)
    assert (ended.returncode, ended.stderr) == (0, "")
    path.write_bytes(path.read_bytes().replace(b"generateKey", b"deleteKey"))
    for given in options, apart:
        ended = command("audit", "verify", str(path), *given)
        assert (ended.returncode, ended.stderr) == (1, "")
        assert ended.stdout.startswith(f"{path}:2: ")
        assert ended.stdout.endswith(": 1 wrong.\n")


@pytest.mark.process
def test_a_rotated_file_that_was_cut_is_found(serve, command, options, path):
    older = path.with_suffix(".1")
    for _ in range(2):
        service = audited(serve, options, path)
        assert service.status("POST", "/key/generate", GENERATE) == 200
        assert service.stop()[0] == 0
        if not older.exists():
            os.rename(path, older)
    ended = command("audit", "verify", str(path), str(older), *options)
    assert (ended.returncode, "nothing wrong" in ended.stdout) == (0, True)
    os.truncate(older, 100)
    ended = command("audit", "verify", str(path), str(older), *options)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert f"{older}: it has no whole line\n" in ended.stdout
    assert ended.stdout.endswith(": 2 wrong.\n")
    assert command("audit", "verify", str(path), *options).returncode == 1
    ended = command("audit", "verify", "--partial", str(path), *options)
    assert (ended.returncode, ended.stdout.count("Note: ")) == (0, 1)


def test_verify_names_why_it_cannot_check(command, options, path, tmp_path, capsys):
    key = command("audit", "key", *options).stdout.strip()
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
        ("--public-key", key, "need each other"),
        ("--public-key", key, "--heads", f"{path}.2", "No such file"),
        ("--public-key", key, "--heads", f"{bad}", "lines that are not heads"),
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
def test_each_worker_has_a_file_of_its_own(serve, command, options, path):
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
    ended = command("audit", "verify", *map(str, written), *options)
    assert (ended.returncode, "Note" in ended.stdout) == (0, False), ended.stdout


@pytest.mark.process
def test_a_worker_that_is_killed_leaves_its_file_to_its_successor(serve, command, options, path):
    service = audited(serve, options, path, "--workers", "2")
    started = "".join(service.lines)
    worker = int(started.partition("worker 1 is process ")[2].split()[0])
    os.kill(worker, signal.SIGKILL)
    service.read_until("worker 1 is process ")
    service.stop()
    first = path.with_name("audit.1.log")
    lines = [json.loads(line) for line in first.read_bytes().splitlines()]
    assert [line["continues"] for line in lines] == [False, True]
    ended = command("audit", "verify", str(first), *options)
    assert (ended.returncode, ended.stdout.count("Note: ")) == (0, 1)


@pytest.mark.process
@pytest.mark.timeout(120)  # 10,000 signatures
async def test_no_line_of_ten_thousand_is_lost_to_a_kill(answering, command, make_store, tmp_path):
    options, path = await make_store(f"sqlite://{tmp_path}/keys.db"), tmp_path / "audit.log"
    answered = []

    async def check():
        ended = await asyncio.to_thread(command, "audit", "verify", str(path), **options)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        assert ended.stdout.count("Note: ") == 1 + torn
        assert set(answered) <= done_in(path)

    service, session = await answering(options, "--audit-log", str(path))
    async with session:
        await generate(session)
        under_way = asyncio.create_task(sign_until(session, answered, 10_000))
        async with waiting_for("half of the answers", LONG):
            while len(answered) < 5000:
                await asyncio.sleep(0.001)
        service.process.kill()
        await under_way
    service.end()
    assert 5000 <= len(answered) < 10_000
    torn = not path.read_bytes().endswith(b"\n")  # it may have been killed while it wrote
    await check()
    service, session = await answering(options, "--audit-log", str(path))
    async with session:
        await sign_until(session, answered, 10_000)
    service.process.terminate()
    service.end()
    assert len(answered) >= 10_000
    await check()


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
async def test_a_disk_that_is_full(answering, command, make_store, tmp_path):
    options, path = await make_store(f"sqlite://{tmp_path}/keys.db"), tmp_path / "audit.log"
    service, session = await answering(options, "--audit-log", str(path))
    async with session:
        await generate(session)
        while path.stat().st_size < 200_000:  # more than the files of SQLite have
            assert (await sign(session))[0] == 200
        pid, limit = service.process.pid, resource.RLIMIT_FSIZE
        usual = resource.prlimit(pid, limit)
        resource.prlimit(pid, limit, (path.stat().st_size + 1200, usual[1]))
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
    ended = await asyncio.to_thread(command, "audit", "verify", str(path), **options)
    assert (ended.returncode, "Note" in ended.stdout) == (0, False), ended.stdout


@pytest.mark.process
@needs_root
@pytest.mark.parametrize("beside", ["alone", "store"])
async def test_a_log_that_is_moved_off_a_full_disk(
    answering, command, make_store, tmp_path, beside
):
    """The steps of docs/operations/messages.md help, even if the store is on the full disk."""
    with small_disk(tmp_path / "disk", 2 * 1024 * 1024) as disk:
        path, aside, away = disk / "audit.log", disk / "audit.log.1", tmp_path / "audit.log.1"
        folder = disk if beside == "store" else tmp_path
        options = await make_store(f"sqlite://{folder}/keys.db")
        service, session = await answering(options, "--audit-log", str(path))
        async with session:
            await generate(session)
            answers = []
            while not answers or path.stat().st_size < 400_000:  # a full store needs 256 KiB
                answers.append(await sign(session))
            fill(disk)
            while answers[-1][0] == 200:
                answers.append(await sign(session))
            os.rename(path, aside)  # no line is written from here on
            answers.append(await sign(session))
            shutil.move(aside, away)
            service.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(60):
                while answers[-1][0] != 200:
                    answers.append(await sign(session))
        assert str(aside) not in " ".join(open_files(service.process.pid))
        done = {number for status, number in answers if status == 200}
        assert done <= done_in(path, away)
        assert done_in(path, away).isdisjoint(number for status, number in answers if status == 503)
        service.process.terminate()
        service.end()
        ended = await asyncio.to_thread(command, "audit", "verify", str(path), str(away), **options)
        assert (ended.returncode, "Note" in ended.stdout) == (0, False), ended.stdout


@pytest.mark.process
@pytest.mark.parametrize("take", ["rename", "remove", "replace"])
@needs_root
async def test_a_file_that_is_taken_away_under_load(answering, command, make_store, tmp_path, take):
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
    ended = await asyncio.to_thread(command, "audit", "verify", str(path), str(away), **options)
    assert (ended.returncode, "Note" in ended.stdout) == (0, False), ended.stdout


@pytest.mark.process
def test_each_worker_searches_the_files_of_all(serve, options, path):
    service = audited(serve, options, path, "--workers", "2")
    service.status("POST", "/key/generate", GENERATE)
    for number in range(2):
        for _ in range(20):
            assert service.status("POST", "/sign", SIGN) == 200
        for name in ("audit.1.log", "audit.2.log"):
            os.rename(path.with_name(name), path.with_name(f"{name}.{2 - number}"))
        service.process.send_signal(signal.SIGHUP)
        for _ in range(2):
            service.read_until("opened again")
    found = []
    for _ in range(10):
        with contextlib.closing(service.connect()) as connection:
            connection.request("GET", "/audit?operation=sign&limit=1000")
            found.append(json.loads(connection.getresponse().read()))
    assert {len(events) for events in found} == {40}
    times = [event["time"] for event in found[0]]
    assert times == sorted(times, reverse=True)
    target, events = "/audit?operation=sign&limit=3", []
    while target:  # either worker reads the cursors of the other
        with contextlib.closing(service.connect()) as connection:
            connection.request("GET", target)
            answer = connection.getresponse()
            events += json.loads(answer.read())
            target = answer.getheader("Link", "")[1:].partition(">")[0]
    assert events == found[0]
