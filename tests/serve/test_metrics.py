"""The metrics of a running service, as Prometheus scrapes them."""

import contextlib
import dataclasses
import fcntl
import http.client
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import stat
import struct
import sys
import threading
from pathlib import Path

import pytest
from aiohttp import web
from filled_stores import new_store
from proc_files import needs_root, open_files
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families
from seals.toy_seals import Toy, install, seal_file
from waiting import wait_until

from minikms.config import Config
from minikms.errors import AuditUnavailable
from minikms.http.state import OBSERVERS
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve import metrics_listener
from minikms.store import KINDS
from minikms.web import metrics
from minikms.web.responses import error_classes
from minikms.web.routes import ROUTES

GENERATE = b'{"alg":"ed25519","alias":"k"}'
SIGN = b'{"alias":"k","data":"aGVsbG8"}'
GENERATE_OTHER = b'{"alg":"x25519","alias":"other"}'
SIGN_WITH_OTHER = b'{"alias":"other","data":"aGVsbG8"}'


@pytest.fixture
def counted(serve, free_port):
    """Start a service with metrics."""

    def start(*args, **options):
        common = "--port", "0", "--metrics-port", free_port, "--cache-size", "100"
        return serve(*common, *args, **options)

    return start


@pytest.fixture
def store(tmp_path):
    """Options of a store that processes can share."""
    return [*new_store(tmp_path), "--auth", "none"]


@pytest.fixture
def pair(counted, store):
    """A service of two workers with metrics."""
    return counted("--workers", "2", *store)


def key(name, **labels):
    return name, frozenset(labels.items())


def get(port, path="/metrics", method="GET", host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path)
        with connection.getresponse() as response:
            return response.status, response.headers["Content-Type"], response.read()


def pids(service):
    started = re.findall(r"(worker \d+) is process (\d+)", "".join(service.lines))
    return {name: int(process) for name, process in started}


def ask_all(service):
    """Call until each worker has answered; gives the number of calls."""
    waiting, calls = set(pids(service).values()), 0
    while waiting:
        assert service.status("GET", "/healthz") == 200
        line = service.read_until(" GET /healthz 200 ")
        waiting.discard(int(re.search(r" minikms\.access\[(\d+)\] ", line)[1]))
        calls += 1
    return calls


@pytest.mark.process
def test_requests_by_route_and_status(counted):
    service = counted()
    calls = [
        ("POST", "/key/generate", GENERATE),
        ("POST", "/sign", SIGN),
        ("POST", "/sign", SIGN),
        ("POST", "/sign", b"{}"),
        ("GET", "/key/nope", None),
        ("GET", "/healthz", None),
        ("GET", "/nothing", None),
        ("PUT", "/sign", None),
        ("GET", "/", None),
    ]
    for call in calls:
        service.status(*call)
    with socket.create_connection((service.host, service.port)) as connection:
        connection.sendall(b"\0\r\n\r\n")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.0 400 ")
    found = service.metrics()
    assert {labels: n for (name, labels), n in found.items() if name == "requests_total"} == {
        key("", route=route, status=status)[1]: n
        for route, status, n in [
            ("generateKey", "200", 1),
            ("sign", "200", 2),
            ("sign", "422", 1),
            ("getKey", "404", 1),
            ("healthz", "200", 1),
            ("none", "404", 1),
            ("none", "405", 1),
            ("none", "302", 1),
            ("none", "400", 1),
        ]
    }
    assert found[key("request_duration_seconds_count", route="sign")] == 3
    assert found[key("request_duration_seconds_bucket", route="sign", le="+Inf")] == 3
    assert found[key("request_duration_seconds_sum", route="sign")] > 0


@pytest.mark.process
def test_operations_by_algorithm_and_outcome(counted, tmp_path, run):
    file = tmp_path / "token"
    file.write_text(run("token", "generate").stdout)
    file.chmod(0o600)
    service = counted("--auth", "token", "--admin-token-file", str(file))
    admin = {"Authorization": f"Bearer {file.read_text().strip()}"}
    for call, headers in [
        (("POST", "/key/generate", GENERATE), admin),
        (("POST", "/key/generate", GENERATE_OTHER), admin),
        (("POST", "/sign", SIGN), admin),
        (("POST", "/sign", SIGN_WITH_OTHER), admin),
        (("POST", "/sign", SIGN_WITH_OTHER), {}),
        (("GET", "/healthz", None), {}),
        (("POST", "/profile", b'{"name":"p"}'), admin),
    ]:
        with contextlib.closing(service.connect()) as connection:
            connection.request(*call, headers=headers)
            connection.getresponse().read()
    found = service.metrics()
    expected = {
        ("generateKey", "ed25519", "success"),
        ("generateKey", "x25519", "success"),
        ("sign", "ed25519", "success"),
        ("sign", "x25519", "unsupported-operation"),
        ("sign", "none", "unauthenticated"),
        ("createProfile", "none", "success"),
    }
    assert {labels: n for (name, labels), n in found.items() if name == "operations_total"} == {
        key("", operation=operation, alg=alg, outcome=outcome)[1]: 1
        for operation, alg, outcome in expected
    }
    for operation, alg, _ in expected:
        labels = {"operation": operation, "alg": alg}
        assert found[key("operation_duration_seconds_count", **labels)] == 1
        assert found[key("operation_duration_seconds_sum", **labels)] > 0


@pytest.mark.process
def test_a_call_whose_caller_leaves_is_counted(counted):
    service = counted()
    with socket.create_connection((service.host, service.port)) as connection:
        connection.sendall(b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        wait_until("a connection", lambda: service.metrics()[key("connections")] == 1)
        # Both halves end, as if the caller were gone.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    outcome = key("operations_total", operation="sign", alg="none", outcome="broken-off")
    wait_until("the call that was broken off", lambda: service.metrics()[outcome] == 1)
    assert service.metrics()[key("requests_total", route="sign", status="none")] == 1
    wait_until("no connection", lambda: service.metrics()[key("connections")] == 0)


def ruled(name):
    """Rules on a claim of this name."""
    return {"jws": {"claims": {name: [name]}}}


@pytest.mark.process
def test_no_label_contains_names_chosen_by_callers(counted):
    service = counted()
    for number in range(20):
        name = f"planted-{number}"
        calls = [
            ("POST", "/profile", {"name": name}),
            ("POST", "/key/generate", {"alg": "ed25519", "alias": name, "labels": {name: name}}),
            (
                "POST",
                "/key/generate",
                {"alg": "p256", "alias": f"{name}-ruled", "rules": ruled(name)},
            ),
            ("POST", "/jws/sign", {"alias": f"{name}-ruled", "payload": "e30"}),
            ("POST", "/sign", {"alias": name, "data": ""}),
            ("POST", "/sign", {"kid": name, "data": ""}),
            ("POST", "/key/generate", {"alg": name}),
            ("GET", f"/key/{name}", None),
            ("GET", f"/{name}?{name}={name}", None),
            (f"PLANTED{number}", "/sign", None),
        ]
        for method, path, body in calls:
            headers = {"X-Profile": "default", "X-Request-Id": name, "User-Agent": name}
            with contextlib.closing(service.connect()) as connection:
                connection.request(method, path, body and json.dumps(body), headers)
                connection.getresponse().read()
    found = service.metrics()
    assert "planted" not in service.exposed.lower()
    slugs = {error.slug for error in error_classes()}
    algs = {entry.algorithm.name for entry in AlgorithmRegistry.from_installed()}
    names = {route.name for route in ROUTES}
    allowed = {
        "route": names | {"none"},
        "status": {*map(str, range(200, 600)), "none"},
        "operation": names,
        "alg": algs | {"none"},
        "outcome": slugs | {"success", "broken-off"},
        "rule": {"jws.claims"},
        "kind": set(KINDS),
        "step": {"nextKey", "rotateKey", "retireKey"},
    }
    seen = {pair for _, labels in found for pair in labels if pair[0] in allowed}
    assert {name for name, _ in seen} == allowed.keys()
    assert not [(name, value) for name, value in seen if value not in allowed[name]]
    others = {pair[0] for _, labels in found for pair in labels} - allowed.keys()
    assert others == {
        "le",
        "version",
        "python",
        "cause",
        "event",
        "reason",
        "signal",
        "kept",
        "role",
    }


@pytest.mark.process
def test_the_document_has_them_all(counted, token_folder, store, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    seal_file(store[3], Toy(tmp_path / "toy"))
    service = counted("--provider", token_folder.option, *store)
    rules = b'{"alg":"ed25519","alias":"k","rules":{"raw":false}}'
    assert service.status("POST", "/key/generate", rules) == 200
    assert service.status("POST", "/sign", SIGN) == 403
    assert service.metrics()[key("rule_refusals_total", rule="raw")] == 1
    expected = set()
    for family in text_string_to_metric_families(service.exposed):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        expected.add((name, frozenset(labels)))
    document = (Path(__file__).parents[2] / "docs/operations/monitoring.md").read_text("utf-8")
    table = document.partition("<!-- metrics -->")[2].partition("<!-- /metrics -->")[0]
    rows = re.findall(r"^\| `((?:minikms|process)_\w+)` \| (.*?) ?\|", table, re.MULTILINE)
    assert len(rows) == len(expected)
    assert {(name, frozenset(re.findall(r"\w+", labels))) for name, labels in rows} == expected


@pytest.mark.process
def test_the_console_reads_the_sums_of_all_workers(pair):
    assert pair.status("POST", "/key/generate", GENERATE) == 200
    ask_all(pair)
    labels = 'alg="ed25519",operation="generateKey",outcome="success"'
    for _ in range(10):  # whichever of the two answers
        status, kind, text = get(pair.port, "/console/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert f"minikms_operations_total{{{labels}}} 1.0\n".encode() in text


@pytest.mark.process
def test_keys_that_are_opened(counted):
    service = counted()
    for body in GENERATE, GENERATE_OTHER:
        assert service.status("POST", "/key/generate", body) == 200
    for body in SIGN, SIGN, SIGN_WITH_OTHER:
        service.status("POST", "/sign", body)
    # It stays open.
    wait_until("an opened key", lambda: service.metrics()[key("keys_opened_total")] == 1)


@pytest.mark.process
def test_the_cache_of_keys(counted):
    service = counted()
    assert service.status("POST", "/key/generate", GENERATE) == 200

    def shown(name):
        return service.metrics()[key(f"key_cache_{name}")]

    assert [shown(name) for name in ("keys", "bytes", "hits_total")] == [0, 0, 0]
    for _ in range(3):
        assert service.status("POST", "/sign", SIGN) == 200
    wait_until("two hits", lambda: shown("hits_total") == 2)
    assert shown("misses_total") > 0
    assert (shown("keys"), shown("evictions_total")) == (1, 0)
    assert 1_000 < shown("bytes") < 5_000


@contextlib.contextmanager
def writers(service, number):
    """Run `number` callers; each makes one key after another."""
    stop = threading.Event()

    def keep_on():
        while not stop.is_set():
            service.status("POST", "/key/generate", b'{"alg":"ed25519"}')

    threads = [threading.Thread(target=keep_on) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.process
def test_calls_that_wait_for_the_store(counted, store, tmp_path):
    service = counted(*store)
    with (tmp_path / "keys.db-lock-3").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with writers(service, 4):
            wait_until(
                "waiting writers", lambda: service.metrics()[key("store_calls_waiting")] == 4
            )
            wait_until(
                "requests in flight", lambda: service.metrics()[key("requests_in_flight")] == 4
            )
    gauges = "store_calls_waiting", "requests_in_flight", "store_connections_in_use"
    wait_until("idle gauges", lambda: not any(service.metrics()[key(name)] for name in gauges))
    assert service.metrics()[key("store_connections")] == 4


@pytest.mark.process
def test_connections_to_the_store_in_use(counted, store, tmp_path):
    store[1] += "?busy_timeout=60000"
    service = counted(*store)
    in_use = key("store_connections_in_use")
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with writers(service, 1):
            try:
                wait_until("a connection in use", lambda: service.metrics()[in_use] == 1)
            finally:
                other.rollback()
    wait_until("no connection in use", lambda: service.metrics()[in_use] == 0)


@pytest.mark.process
def test_a_store_that_is_reopened(counted, store, tmp_path):
    service = counted(*store)
    # Open a connection first: none can be opened during the lock, and none is lost.
    assert service.status("POST", "/key/generate", GENERATE) == 200
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert service.status("POST", "/key/generate", GENERATE) == 503
    assert service.status("POST", "/key/generate", GENERATE) == 200
    wait_until("a reopened store", lambda: service.metrics()[key("store_reopened_total")] >= 1)


@pytest.mark.process
def test_metrics_are_off_unless_asked_for(run):
    code = (
        "import sys; from minikms.config import Config;"
        "from minikms.serve.assembly import create_service;"
        "create_service(Config()); from minikms.cli import main;"
        "print([name for name in sys.modules if name.startswith('prometheus')])"
    )
    assert run(command=[sys.executable, "-c", code]).stdout == "[]\n"


@pytest.mark.interpreter
@pytest.mark.process
def test_metrics_have_a_listener_of_their_own(counted, free_port):
    service = counted()
    assert service.status("GET", "/metrics") == 404
    with pytest.raises(ConnectionRefusedError):
        get(free_port, host="127.0.0.2")
    assert get(free_port)[0] == 200
    for path, method, status in [
        ("/", "GET", 404),
        ("/keys", "GET", 404),
        ("/metrics", "POST", 405),
    ]:
        found, kind, body = get(free_port, path, method)
        assert (found, kind) == (status, "application/problem+json")
        assert json.loads(body)["status"] == status


@pytest.mark.process
def test_the_host_of_metrics(counted, free_port):
    service = counted("--metrics-host", "127.0.0.2")
    assert service.metrics()[key("requests_in_flight")] == 0
    with pytest.raises(ConnectionRefusedError):
        get(free_port)


@pytest.mark.process
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken(run, store, workers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ["--port", "0", "--metrics-port", port, "--workers", workers]
        ended = run("serve", *options, *store)
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert line.startswith(f"minikms: Cannot listen on 127.0.0.1:{port}: ")
    assert line.endswith(" Choose another port.")


@pytest.mark.process
def test_a_folder_that_cannot_be_made(run, store, free_port, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nothing"))
    code = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nothing'];"
    code += "from minikms.cli import main; main.main()"
    options = ["--port", "0", "--metrics-port", free_port, "--workers", "2"]
    ended = run("serve", *options, *store, command=[sys.executable, "-c", code])
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, line.startswith("minikms: ")) == (2, True)
    assert "folder" in line


@pytest.mark.process
def test_one_process_writes_no_file(counted, monkeypatch, tmp_path):
    """Even if the variable is set, for another service."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    service = counted()
    assert service.status("GET", "/healthz") == 200
    assert service.metrics()[key("requests_total", route="healthz", status="200")] == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.interpreter
@pytest.mark.process
def test_workers_are_added_up(pair):
    assert pair.status("POST", "/key/generate", GENERATE) == 200
    for _ in range(20):
        assert pair.status("POST", "/sign", SIGN) == 200
    calls = ask_all(pair)
    found = pair.metrics()
    assert found[key("requests_total", route="healthz", status="200")] == calls
    assert found[key("request_duration_seconds_count", route="healthz")] == calls
    signed = {"operation": "sign", "alg": "ed25519"}
    assert found[key("operations_total", **signed, outcome="success")] == 20
    assert found[key("operation_duration_seconds_bucket", **signed, le="+Inf")] == 20
    # Then each worker has it.
    opened = key("keys_opened_total")
    wait_until("the gauges of each worker", lambda: 1 <= pair.metrics()[opened] <= 2)
    assert found[key("store_connections")] == 2 * 4
    (build,) = [value for (name, _), value in found.items() if name == "build_info"]
    assert build == 1


@pytest.mark.interpreter
@pytest.mark.process
def test_a_worker_that_is_killed(pair, tmp_path):
    before, calls = pids(pair), ask_all(pair)
    here, away = tmp_path / "keys.db", tmp_path / "away"
    here.rename(away)  # so that no other comes
    os.kill(before["worker 2"], signal.SIGKILL)
    pair.read_until(f"worker 2 (process {before['worker 2']}) ended with signal 9\n")
    found = pair.metrics()
    assert found[key("requests_total", route="healthz", status="200")] == calls
    assert found[key("store_connections")] == 4
    pair.read_until("ended with exit code 2")
    assert pair.metrics()[key("store_connections")] == 4
    away.rename(here)
    pair.read_until("worker 2 is process ")
    assert pair.metrics()[key("store_connections")] == 2 * 4
    calls += ask_all(pair)
    assert pair.metrics()[key("requests_total", route="healthz", status="200")] == calls


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@needs_root
def test_the_folder_of_workers(pair, number):
    files = map(Path, open_files(pids(pair)["worker 1"]))
    (folder,) = {file.parent for file in files if file.name == "counter_worker 1.db"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {
        f"{kind}_worker {n}.db"
        for kind in ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_livemin")
        for n in (1, 2)
    }
    for path in folder.iterdir():
        facts = path.stat()
        assert facts.st_blocks * 512 >= facts.st_size == 1024 * 1024
    ask_all(pair)
    code, written = pair.stop(number)
    assert (code, "Traceback" in written) == (0, False)
    assert not folder.exists()


@pytest.mark.process
@needs_root
def test_a_worker_without_descriptors_answers_its_first_call(pair):
    """The files are open by then: a call that was done is not answered 500."""
    workers = pids(pair).values()

    def descriptors():
        return [{int(number) for number in os.listdir(f"/proc/{pid}/fd")} for pid in workers]

    connection, before = pair.connect(), descriptors()
    with contextlib.closing(connection):
        connection.connect()
        wait_until("the accepted connection", lambda: descriptors() != before)  # it is accepted
        for pid, open_ones in zip(workers, descriptors(), strict=True):
            most = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
            free = min(set(range(len(open_ones) + 1)) - open_ones)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, most))
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200


@pytest.fixture
def without_private_names(monkeypatch):
    """Hide a name of prometheus-client from the service."""
    names = metrics_listener.PRIVATE_NAMES
    gone = (values, "NameOfAnotherVersion", "a test")
    changed = dataclasses.replace(names, names=(*names.names, gone))
    monkeypatch.setattr(metrics_listener, "PRIVATE_NAMES", changed)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_a_service_without_the_private_names(without_private_names, free_port, caplog):
    app = web.Application()
    app[OBSERVERS] = []
    metrics_listener.add_to(app)
    assert app[OBSERVERS] == []
    (line,) = warnings(caplog)
    assert "has no prometheus_client.values.NameOfAnotherVersion: there are no metrics" in line


async def test_workers_without_the_private_names(without_private_names, free_port, caplog):
    config = Config(metrics_port=int(free_port))
    async with metrics_listener.for_workers(config) as forget:
        forget("worker 1")
        with pytest.raises(ConnectionRefusedError):
            get(free_port)
    (line,) = warnings(caplog)
    assert "NameOfAnotherVersion" in line


@pytest.mark.parametrize("name", ["worker 1", "another name"])
def test_the_names_of_the_files_are_checked(monkeypatch, tmp_path, caplog, name):
    made = values.MultiProcessValue
    monkeypatch.setattr(values, "MultiProcessValue", lambda identify: made(lambda: name))
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    metrics.Metrics("worker 1")
    assert len(warnings(caplog)) == (name != "worker 1")


def test_a_call_that_cannot_be_recorded_is_counted_as_that():
    from minikms.events import AuditEvent

    def sink(events, outcome):
        if outcome != "key-not-found":
            raise AuditUnavailable()

    event = AuditEvent("sign", sink)
    event.record("key-not-found")
    assert event.outcome == "key-not-found"
    with pytest.raises(AuditUnavailable):
        event.record()
    assert event.outcome == "audit-unavailable"
