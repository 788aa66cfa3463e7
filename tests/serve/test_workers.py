"""Several processes on one port, as an operator sees them."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import psutil
import pytest
from filled_stores import new_store
from proc_files import needs_root, open_files
from waiting import wait_until

from minikms.audit.log import file_of_worker
from minikms.serve.ports import hold_port
from minikms.startup_errors import ListenError
from minikms.store.askar.stores import new_raw_key

pytestmark = pytest.mark.process

GENERATE = b'{"alg":"ed25519","alias":"k"}'
MIB = 1024 * 1024
SIGN = b'{"alias":"k","data":"aGVsbG8"}'


@pytest.fixture
def store(tmp_path):
    """Options of a store that processes can share."""
    return [*new_store(tmp_path), "--auth", "none"]


@pytest.fixture
def pair(serve, store):
    """A service of two workers on a file."""
    return serve("--port", "0", "--workers", "2", *store)


def pids(service):
    """The process of each worker, from the log so far."""
    started = re.findall(r"(worker \d+) is process (\d+)", "".join(service.lines))
    return {name: int(process) for name, process in started}


def ask_all(service, workers, *call, status=200):
    """Make a call on new connections until each of these processes has answered it as expected."""
    waiting = set(workers)
    while waiting:
        assert service.status(*call) == status
        line = service.read_until(f" {call[0]} {call[1]} {status} ")
        waiting.discard(int(re.search(r" minikms\.access\[(\d+)\] ", line)[1]))


def test_each_of_them_answers_and_has_the_same_keys(serve, store):
    three = serve("--port", "0", "--workers", "3", *store)
    workers = pids(three).values()
    assert len(workers) == 3
    assert three.status("POST", "/key/generate", GENERATE) == 200
    ask_all(three, workers, "POST", "/sign", SIGN)


@pytest.mark.parametrize(
    ("number", "how"),
    [
        pytest.param(signal.SIGKILL, "signal 9", marks=pytest.mark.interpreter),
        (signal.SIGTERM, "exit code 0"),
    ],
)
def test_one_that_ends_is_replaced(pair, number, how):
    before = pids(pair)
    os.kill(before["worker 2"], number)
    pair.read_until(f"worker 2 (process {before['worker 2']}) ended with {how}\n")
    assert pair.status("POST", "/key/generate", GENERATE) == 200
    pair.read_until("worker 2 is process ")
    after = pids(pair)
    assert {name for name in before if before[name] != after[name]} == {"worker 2"}
    ask_all(pair, after.values(), "POST", "/sign", SIGN)


@pytest.mark.parametrize("kept", [True, False])
def test_keys_of_a_file_are_loaded_when_the_service_starts(serve, store, kept, tmp_path):
    options = store if kept else []
    file = tmp_path / "keys.json"
    entry = {"alg": "hs256", "secret": "A" * 43, "kid": "it"}
    file.write_text(json.dumps({"keys": [entry]}))
    service = serve("--port", "0", "--workers", "2", *options, "--seed-keys", str(file))
    assert service.status("DELETE", "/key/it") == 200
    for name in ("worker 1", "worker 2"):
        os.kill(pids(service)[name], signal.SIGKILL)
        service.read_until(f"{name} is process ")
    assert service.status("GET", "/key/it") == 404
    assert "".join(service.lines).count("keys loaded: 1") == 1
    assert "".join(service.lines).count("keys loaded") == 1


def test_one_that_ends_again_and_again_delays_no_other(pair):
    for _ in range(2):
        os.kill(pids(pair)["worker 1"], signal.SIGKILL)
        pair.read_until("worker 1 is process ")
    os.kill(pids(pair)["worker 1"], signal.SIGKILL)
    pair.read_until("worker 1 (process ")
    os.kill(pids(pair)["worker 2"], signal.SIGKILL)
    pair.read_until("worker 2 (process ")
    assert "worker 1 is" not in pair.lines[-2]  # it waits longer each time
    pair.read_until("worker 1 is process ")
    ask_all(pair, pids(pair).values(), "GET", "/healthz")


def test_one_that_cannot_be_started_is_started_later(pair):
    parent, worker = pair.process.pid, pids(pair)["worker 2"]
    _, most = resource.prlimit(parent, resource.RLIMIT_NOFILE)
    resource.prlimit(parent, resource.RLIMIT_NOFILE, (3, most))
    os.kill(worker, signal.SIGKILL)
    pair.read_until("worker 2 cannot be started: Too many open files\n")
    resource.prlimit(parent, resource.RLIMIT_NOFILE, (most, most))
    pair.read_until("worker 2 is process ")
    ask_all(pair, pids(pair).values(), "GET", "/healthz")


def starting(service, others):
    """The process of a worker that has just been started."""
    parent, found = psutil.Process(service.process.pid), []

    def is_there():
        found[:] = [each for each in parent.children() if is_worker(each, others)]
        return found

    wait_until("a new worker", is_there)
    return found[0]


def is_worker(process, others):
    try:
        return process.pid not in others and "spawn_main" in "".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def test_one_that_is_killed_while_it_starts_is_replaced(pair):
    before = pids(pair)
    os.kill(before["worker 2"], signal.SIGKILL)
    for _ in range(2):
        dead = starting(pair, before.values()).pid
        os.kill(dead, signal.SIGKILL)
        pair.read_until(f"worker 2 (process {dead}) ended with signal 9\n")
    pair.read_until("worker 2 is process ")
    ask_all(pair, pids(pair).values(), "GET", "/healthz")
    assert pids(pair)["worker 1"] == before["worker 1"]


def test_one_that_has_no_memory_to_start_is_replaced(serve, store, monkeypatch):
    # Else each thread of the parent reserves as many addresses as a worker needs.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    pair = serve("--port", "0", "--workers", "2", *store)
    before = pids(pair)
    parent, most = pair.process.pid, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    size, _ = map(int, Path(f"/proc/{parent}/statm").read_text().split()[:2])
    little = size * resource.getpagesize() + 16 * MIB  # the parent's own, not enough for the web
    resource.prlimit(parent, resource.RLIMIT_AS, (little, most[1]))
    os.kill(before["worker 2"], signal.SIGKILL)
    pair.read_until(f"worker 2 (process {before['worker 2']}) ended with signal 9\n")
    pair.read_until("worker 2 (process ")
    assert pair.status("GET", "/healthz") == 200  # by the other worker
    resource.prlimit(parent, resource.RLIMIT_AS, most)
    pair.read_until("worker 2 is process ")
    ask_all(pair, pids(pair).values(), "GET", "/healthz")


def test_one_that_cannot_import_what_it_needs_is_replaced(serve, store, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    service = serve("--port", "0", "--workers", "2", *store)
    before = pids(service)
    broken = tmp_path / "uvloop.py"
    broken.write_text("raise ImportError")
    os.kill(before["worker 2"], signal.SIGKILL)
    service.read_until(f"worker 2 (process {before['worker 2']}) ended with signal 9\n")
    service.read_until("worker 2 (process ")
    assert service.status("GET", "/healthz") == 200
    broken.unlink()
    service.read_until("worker 2 is process ")
    ask_all(service, pids(service).values(), "GET", "/healthz")


def test_one_that_is_out_of_memory_ends_and_is_replaced(serve, store):
    service = serve("--port", "0", "--workers", "2", "--max-body", str(64 * MIB), *store)
    before = pids(service)
    for pid in before.values():
        size, _ = map(int, Path(f"/proc/{pid}/statm").read_text().split()[:2])
        most = size * resource.getpagesize() + 48 * MIB
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    # The parts of the body fit, and joined they do not: a small allocation that failed might crash.
    body = b'{"alias":"k","data":"' + 32 * MIB * b"A" + b'"}'
    with pytest.raises(ConnectionError):
        service.status("POST", "/sign", body)
    found = re.search(r"minikms\[(\d+)\]", service.read_until(" out of memory: "))
    assert int(found[1]) in before.values()
    service.read_until(f"(process {found[1]}) ended with exit code 1\n")
    service.read_until(" is process ")
    assert service.status("GET", "/healthz") == 200


@pytest.mark.parametrize(
    ("number", "send"),
    [
        pytest.param(signal.SIGTERM, os.kill, id="SIGTERM"),
        pytest.param(signal.SIGINT, os.kill, id="SIGINT"),
        pytest.param(
            signal.SIGINT, os.killpg, id="SIGINT of a terminal", marks=pytest.mark.interpreter
        ),
    ],
)
def test_workers_finish_running_calls(pair, number, send):
    with pair.under_way() as finish:
        send(pair.process.pid, number)
        pair.read_until(f"minikms[{pair.process.pid}] stopping: {number.name} ")
        assert finish().startswith(b"HTTP/1.1 200 OK\r\n")
    # Its output ends with the last process.
    code, written = pair.end()
    assert (code, "Traceback" in written) == (0, False)


@pytest.mark.interpreter
def test_a_signal_before_all_have_started(serve, store):
    options = ["--port", "0", "--workers", "3", *store]
    service = serve(*options, wait=False)
    service.read_until("worker 1 is process ")
    os.killpg(service.process.pid, signal.SIGINT)
    code, written = service.end()
    assert (code, "Traceback" in written) == (0, False)
    assert "listening" not in written


@pytest.mark.interpreter
def test_workers_leave_sigint_to_their_parent(serve, store):
    pair = serve("--port", "0", "--workers", "2", *store)
    workers = pids(pair).values()
    for process in workers:
        os.kill(process, signal.SIGINT)
    ask_all(pair, workers, "GET", "/healthz")
    # The parent does not load aiohttp.
    loaded = [Path(f"/proc/{pid}/maps").read_text() for pid in (*workers, pair.process.pid)]
    assert ["/aiohttp/" in maps for maps in loaded] == [True, True, False]
    code, written = pair.stop()
    assert (code, "ended" in written) == (0, False)


@pytest.mark.interpreter
def test_workers_end_with_their_parent(pair):
    with pair.under_way() as finish:
        pair.process.kill()
        assert finish().startswith(b"HTTP/1.1 200 OK\r\n")
    code, written = pair.end()
    assert "Traceback" not in written, written
    assert code == -signal.SIGKILL
    assert written.count(" stopping: ") == 2


def test_one_that_does_not_stop_is_killed(serve, store):
    code = "from minikms.cli import main; from minikms.serve import workers;"
    code += "workers._KILL_AFTER = 1; main.main()"
    service = serve("--port", "0", "--workers", "2", *store, command=[sys.executable, "-c", code])
    os.kill(pids(service)["worker 2"], signal.SIGSTOP)
    code, written = service.stop()
    assert code == 0
    assert re.findall(r"(worker \d) .* does not stop: killed", written) == ["worker 2"]


@pytest.mark.interpreter
def test_one_that_stands_still_is_replaced(serve, store):
    service = serve("--port", "0", "--workers", "2", "--worker-timeout", "2", *store)
    frozen = pids(service)["worker 2"]
    os.kill(frozen, signal.SIGSTOP)
    service.read_until(f"worker 2 (process {frozen}) hangs: killed\n")
    service.read_until(f"worker 2 (process {frozen}) ended with signal 9\n")
    service.read_until("worker 2 is process ")
    ask_all(service, pids(service).values(), "GET", "/healthz")
    assert service.stop()[0] == 0


def test_a_parent_that_stood_still_replaces_none(serve, store):
    service = serve("--port", "0", "--workers", "2", "--worker-timeout", "2", *store)
    for send in os.kill, os.killpg:  # the parent alone, then all, as on a laptop
        send(service.process.pid, signal.SIGSTOP)
        time.sleep(4)  # longer than a worker may be silent
        send(service.process.pid, signal.SIGCONT)
    time.sleep(4)  # until heartbeats were missed, if any are
    ask_all(service, pids(service).values(), "GET", "/healthz")
    code, written = service.stop()
    assert (code, "killed" in "".join(service.lines) + written) == (0, False)


def test_the_end_does_not_wait_for_one_that_stands_still(serve, store):
    options = ["--workers", "2", "--worker-timeout", "2", "--shutdown-grace", "3600"]
    service = serve("--port", "0", *options, *store)
    frozen = pids(service)["worker 2"]
    os.kill(frozen, signal.SIGSTOP)
    service.process.send_signal(signal.SIGTERM)
    service.read_until(f"worker 2 (process {frozen}) hangs: killed\n")
    assert service.stop()[0] == 0  # a second signal, which ends the other's grace period


async def test_a_port_is_held_before_anything_listens():
    with contextlib.closing(await hold_port("127.0.0.1", 0)) as held:
        port = held.sockets[0].getsockname()[1]
        with pytest.raises(ListenError, match="in use"):
            await hold_port("127.0.0.1", port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_port_that_is_taken(run, pair, store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = taken.getsockname()[1]
        for port, workers in (other, "2"), (pair.port, "2"), (pair.port, "1"):
            ended = run("serve", "--port", str(port), "--workers", workers, *store)
            (line,) = ended.stderr.splitlines()
            assert (ended.returncode, ended.stdout) == (1, "")
            assert line.startswith(f"minikms: Cannot listen on 127.0.0.1:{port}: ")


def test_a_failed_start_is_reported_once(run, store, tmp_path):
    os.rename(tmp_path / "keys.db", tmp_path / "away")
    ended = run("serve", "--port", "0", "--workers", "3", *store)
    sentence, log = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert sentence.startswith("minikms: ")
    assert log.endswith(" ended with exit code 2")


@pytest.mark.interpreter
def test_a_failure_of_a_later_worker_stops_all(serve, store, tmp_path):
    log = str(tmp_path / "audit.log")
    Path(file_of_worker(log, "worker 2")).mkdir()
    options = ["--workers", "2", "--audit-log", log]
    service = serve("--port", "0", *options, *store, wait=False)
    service.read_until("worker 1 is process ")
    code, written = service.end()
    assert (code, "listening" in written, "Traceback" in written) == (2, False, False)
    assert "Is a directory" in written


def test_json_has_the_process(serve, store):
    service = serve("--port", "0", "--workers", "2", "--log-format", "json", *store)
    assert service.status("GET", "/healthz") == 200
    _, written = service.stop()
    (access,) = [line for line in map(json.loads, written.splitlines()) if "path" in line]
    assert access["process"] in pids(service).values()


# Keys in memory, which they share


@pytest.fixture
def two(serve):
    """A service of two workers with the default store."""
    return serve("--port", "0", "--workers", "2")


def folder_of(service):
    """The folder of the store that its workers share."""
    files = {Path(name) for pid in pids(service).values() for name in open_files(pid)}
    (folder,) = {file.parent for file in files if file.name == "keys.db"}
    return folder


@pytest.mark.interpreter
def test_keys_in_memory_are_the_same_for_each(two):
    workers = pids(two).values()
    assert len(workers) == 2
    assert two.status("POST", "/key/generate", GENERATE) == 200
    ask_all(two, workers, "POST", "/sign", SIGN)


@pytest.mark.parametrize("name", ["pair", "two"])
def test_tightened_rules_bind_each_worker(request, name):
    service = request.getfixturevalue(name)
    workers = pids(service).values()
    # RFC 8037 appendix A.1, so that its kid is known.
    secret = b"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
    body = b'{"alg":"ed25519","alias":"k","seed":"%s"}' % secret
    assert service.status("POST", "/key/import", body) == 200
    ask_all(service, workers, "POST", "/sign", SIGN)  # each has it in its cache
    kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert service.status("PATCH", f"/key/{kid}", b'{"rules":{"raw":false}}') == 200
    ask_all(service, workers, "POST", "/sign", SIGN, status=403)
    # None of them goes on without.
    assert {service.status("POST", "/sign", SIGN) for _ in range(20)} == {403}


def test_keys_in_memory_outlive_a_worker(two):
    assert two.status("POST", "/key/generate", GENERATE) == 200
    for name in ("worker 1", "worker 2"):
        os.kill(pids(two)[name], signal.SIGKILL)
        two.read_until(f"{name} is process ")
    ask_all(two, pids(two).values(), "POST", "/sign", SIGN)


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.interpreter), signal.SIGINT, signal.SIGHUP],
)
@needs_root
def test_nothing_is_left_of_keys_in_memory(two, number):
    folder = folder_of(two)
    assert two.status("POST", "/key/generate", GENERATE) == 200
    code, written = two.stop(number)
    assert (code, "Traceback" in written) == (0, False)
    assert not folder.exists()


@needs_root
def test_the_store_key_of_a_memory_store_stays_in_memory(serve, run, tmp_path):
    noted = tmp_path / "key"
    code = f"""if __name__ == "__main__":
    import pathlib
    from minikms.cli import main as cli
    from minikms.serve import shared_memory as tmpfs
    key = tmpfs.new_raw_key()
    pathlib.Path({str(noted)!r}).write_text(key)
    tmpfs.new_raw_key = lambda: key
    cli.main()"""
    service = serve("--port", "0", "--workers", "2", command=[sys.executable, "-c", code])
    assert service.status("POST", "/key/generate", GENERATE) == 200
    folder, key = folder_of(service), noted.read_text()
    store = {"store": f"sqlite://{folder}/keys.db"}
    assert "Keys: 1" in run("store", "info", store_key=key, **store).stdout
    assert "does not open" in run("store", "info", store_key=new_raw_key(), **store).stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for process in (service.process.pid, *pids(service).values()):
        for file in ("cmdline", "environ"):
            assert key.encode() not in Path(f"/proc/{process}/{file}").read_bytes()
    for file in folder.iterdir():
        assert key.encode() not in file.read_bytes()
        assert b"ed25519" not in file.read_bytes()
    _, written = service.stop()
    assert key not in "".join(service.lines) + written


def test_keys_in_memory_need_a_token_if_configured(serve):
    service = serve("--port", "0", "--workers", "2", "--auth", "token")
    assert service.status("POST", "/sign", SIGN) == 401


def test_keys_in_memory_never_go_to_a_disk(run, tmp_path):
    code = "from minikms.cli import main; from minikms.serve import shared_memory;"
    code += f"shared_memory._MOUNT = {str(tmp_path)!r}; main.main()"
    ended = run("serve", "--port", "0", "--workers", "2", command=[sys.executable, "-c", code])
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert line.startswith("minikms: Several workers need a writable tmpfs at ")
    assert list(tmp_path.iterdir()) == []
