"""The metrics that alerts need, of services that something happens to."""

import asyncio
import contextlib
import math
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from filled_stores import new_store
from serve.test_metrics import GENERATE, key, pids
from tls_certificates import Authority
from waiting import wait_until

from minikms.store.askar.errors import CAUSES, cause_of

# Without an alias, so that a second one is a write as well, and no conflict.
NEW_KEY = b'{"alg":"ed25519"}'


@pytest.fixture
def store(tmp_path):
    """Options of a store that processes can share."""
    return [*new_store(tmp_path), "--auth", "none"]


@pytest.fixture
def counted(serve, free_port):
    """Start a service with metrics."""

    def start(*args, **options):
        return serve("--port", "0", "--metrics-port", free_port, *args, **options)

    return start


def value(service, name, **labels):
    return service.metrics()[key(name, **labels)]


@pytest.mark.process
def test_a_service_that_is_well(counted, store, tmp_path):
    begun = time.time()
    service = counted(*store, "--audit-log", str(tmp_path / "audit.log"))
    for profile in ("a", "b"):
        assert service.status("POST", "/profile", b'{"name":"%s"}' % profile.encode()) == 200
    wait_until("ready", lambda: value(service, "ready"))
    wait_until(
        "store last commit timestamp seconds",
        lambda: value(service, "store_last_commit_timestamp_seconds"),
    )
    wait_until("a sweep", lambda: value(service, "sweep_last_timestamp_seconds") >= begun)
    found = service.metrics()
    assert found[key("sweep_profiles_waiting")] == 0
    for kind in ("read", "write"):
        assert found[key("store_call_seconds_count", kind=kind)] > 0, kind
    assert found[key("sweep_seconds")] > 0
    for name in ("store_writable", "store_notices_connected", "audit_writable", "workers"):
        assert found[key(name)] == 1, name
    for name in (
        *("store_pools_hanging", "store_notices_lost_total", "audit_heads_failing"),
        "leases_late_total",
    ):
        assert found[key(name)] == 0, name
    for name in ("tls_certificate_expiry_timestamp_seconds", "last_backup_timestamp_seconds"):
        assert found[key(name)] == 0, name
    assert found[key("key_certificate_expiry_timestamp_seconds")] == math.inf
    assert begun <= found[key("store_last_commit_timestamp_seconds")] <= time.time()
    assert {labels: n for (name, labels), n in found.items() if name == "store_errors_total"} == {
        key("", cause=cause)[1]: 0 for cause in CAUSES
    }
    for name in ("rotation_steps_total", "rotation_steps_failed_total"):
        for step in ("nextKey", "rotateKey", "retireKey"):
            assert found[key(name, step=step)] == 0
    for event in ("asked", "approved", "expired", "refused"):
        assert found[key("approvals_total", event=event)] == 0


@pytest.mark.process
def test_keys_and_profiles_are_counted(counted, store):
    service = counted(*store)
    assert service.status("POST", "/profile", b'{"name":"a"}') == 200
    for _ in range(3):
        assert service.status("POST", "/key/generate", GENERATE) == 200
    service.stop()
    service = counted(*store)
    wait_until("keys", lambda: value(service, "keys") == 3)
    assert value(service, "profiles") == 2
    assert value(service, "profile_keys_max") == 3


@pytest.mark.process
@pytest.mark.parametrize("workers", [1, 2])
def test_the_resources_of_all_processes(counted, store, workers):
    begun = time.time()
    service = counted("--workers", str(workers), *store)
    found = service.metrics()
    assert 0 < found[key("process_cpu_seconds_total")] < 600
    assert found[key("process_resident_memory_bytes")] > workers * 30_000_000
    assert begun - 2 <= found[key("process_start_time_seconds")] <= time.time()
    wait_until("process open fds", lambda: value(service, "process_open_fds") > workers * 10)
    assert 0 < value(service, "open_fds_ratio") < 1
    limit = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)[0]
    assert value(service, "process_max_fds") == limit


@pytest.mark.process
@pytest.mark.timeout(90)  # workers end and start again
def test_workers_that_end_are_counted_by_signal(counted, store):
    service = counted("--workers", "2", *store)
    assert (value(service, "workers"), value(service, "workers_alive")) == (2, 2)
    before = value(service, "process_cpu_seconds_total")
    for number, name in ((signal.SIGKILL, "SIGKILL"), (signal.SIGTERM, "none")):
        assert value(service, "worker_ends_total", signal=name) == 0
        os.kill(pids(service)["worker 2"], number)
        service.read_until(f"worker 2 (process {pids(service)['worker 2']}) ended")
        wait_until(
            "worker ends total",
            lambda name=name: value(service, "worker_ends_total", signal=name) == 1,
        )
        service.read_until("worker 2 is process ")
        wait_until("workers alive", lambda: value(service, "workers_alive") == 2)
    # The processor time of ended workers stays counted.
    assert value(service, "process_cpu_seconds_total") >= before


@pytest.mark.process
def test_a_store_that_is_locked_is_not_writable(counted, store, tmp_path):
    service = counted(*store)
    assert service.status("POST", "/key/generate", GENERATE) == 200
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert service.status("POST", "/key/generate", NEW_KEY) == 503
        wait_until("store writable", lambda: value(service, "store_writable") == 0)
        found = service.metrics()
        assert sum(n for (name, _), n in found.items() if name == "store_errors_total") > 0
    # Without a call: the service tries.
    wait_until("store writable", lambda: value(service, "store_writable") == 1)


@pytest.mark.process
def test_an_audit_log_that_cannot_be_written(counted, store, tmp_path):
    log = tmp_path / "audit.log"
    service = counted(*store, "--audit-log", str(log))
    wait_until("ready", lambda: value(service, "ready") == 1)
    log.rename(tmp_path / "away")
    assert service.status("GET", "/keys") == 503
    wait_until(
        "the state of the log",
        lambda: (value(service, "audit_writable"), value(service, "ready")) == (0, 0),
    )
    service.process.send_signal(signal.SIGHUP)
    wait_until(
        "the state of the log",
        lambda: (value(service, "audit_writable"), value(service, "ready")) == (1, 1),
    )


@pytest.mark.process
def test_heads_that_cannot_be_saved(counted, store, tmp_path):
    service = counted(*store, "--audit-log", str(tmp_path / "audit.log"))
    assert value(service, "audit_heads_failing") == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        service.process.send_signal(signal.SIGHUP)
        wait_until("audit heads failing", lambda: value(service, "audit_heads_failing") == 1)
    wait_until("audit heads failing", lambda: value(service, "audit_heads_failing") == 0)


@pytest.mark.process
@pytest.mark.parametrize(
    ("option", "reason"),
    [("--max-connections", "limit"), ("--max-connections-per-address", "address")],
)
def test_connections_that_are_refused(counted, option, reason):
    service = counted(option, "1")
    for other in ("limit", "address", "descriptors"):
        assert value(service, "connections_refused_total", reason=other) == 0
    with socket.create_connection((service.host, service.port)):
        wait_until("connections", lambda: value(service, "connections") == 1)
        with socket.create_connection((service.host, service.port)) as refused:
            assert refused.recv(1) == b""
    wait_until(
        "connections refused total",
        lambda: value(service, "connections_refused_total", reason=reason) == 1,
    )


@pytest.mark.process
def test_the_end_of_the_certificate(counted, tmp_path):
    authority = Authority(tmp_path, "one")
    certificate, private = authority.issue("kms")
    ends = x509.load_pem_x509_certificates(Path(certificate).read_bytes())[0].not_valid_after_utc
    service = counted("--tls-cert", certificate, "--tls-key", private)
    wait_until(
        "tls certificate expiry timestamp seconds",
        lambda: value(service, "tls_certificate_expiry_timestamp_seconds") == ends.timestamp(),
    )


@pytest.mark.process
def test_the_last_backup(counted, run, store, tmp_path):
    service = counted(*store)
    assert value(service, "last_backup_timestamp_seconds") == 0
    begun = time.time()
    options = store[:-2]
    assert run("store", "backup", str(tmp_path / "b.db"), *options).returncode == 0
    wait_until(
        "last backup timestamp seconds", lambda: value(service, "last_backup_timestamp_seconds")
    )
    assert begun - 1 <= value(service, "last_backup_timestamp_seconds") <= time.time()
    made = value(service, "last_backup_timestamp_seconds")
    # This backup fails, since the file exists.
    assert run("store", "backup", str(tmp_path / "b.db"), *options).returncode == 2
    service.stop()
    service = counted(*store)
    wait_until(
        "last backup timestamp seconds",
        lambda: value(service, "last_backup_timestamp_seconds") == made,
    )


def until_a_write_fails(service):
    """Write until a write is refused and the metric tells of it.

    Callers go on to write, since another connection, which learns of the fault later, may succeed
    in between.
    """
    wait_until(
        "store writable",
        lambda: (
            service.status("POST", "/key/generate", NEW_KEY) == 503
            and value(service, "store_writable") == 0
        ),
    )


@pytest.mark.process
@pytest.mark.timeout(90)  # the database ends and starts again
async def test_a_database_that_is_away(counted, make_store, own_postgres):
    options = await make_store(own_postgres.create_database())
    service = await asyncio.to_thread(counted, **options)

    def reaches(**expected):
        wait_until(
            "the expected values",
            lambda: all(value(service, name) == n for name, n in expected.items()),
            60,  # some calls wait for the database first
        )

    await asyncio.to_thread(reaches, ready=1, store_notices_connected=1, store_writable=1)
    await asyncio.to_thread(own_postgres.stop, "immediate")
    assert await asyncio.to_thread(service.status, "POST", "/key/generate", GENERATE) == 503

    def counted_as():
        until_a_write_fails(service)
        wait_until(
            "store notices lost total", lambda: value(service, "store_notices_lost_total") >= 1
        )
        wait_until(
            "store errors total", lambda: value(service, "store_errors_total", cause="refused") > 0
        )

    await asyncio.to_thread(counted_as)
    await asyncio.to_thread(reaches, ready=0, store_notices_connected=0, store_writable=0)
    await asyncio.to_thread(own_postgres.start)
    await asyncio.to_thread(reaches, ready=1, store_notices_connected=1, store_writable=1)


@pytest.mark.process
async def test_a_database_that_is_read_only(counted, make_store, own_postgres):
    options = await make_store(own_postgres.create_database())
    service = await asyncio.to_thread(counted, **options)
    assert await asyncio.to_thread(service.status, "POST", "/key/generate", GENERATE) == 200
    own_postgres.set("default_transaction_read_only", "on")

    def seen():
        until_a_write_fails(service)
        wait_until(
            "store errors total",
            lambda: value(service, "store_errors_total", cause="read-only") > 0,
        )

    await asyncio.to_thread(seen)


@pytest.mark.process
async def test_a_database_that_does_not_answer(counted, make_store, own_postgres):
    options = await make_store(own_postgres.create_database())
    service = await asyncio.to_thread(counted, **options)
    assert await asyncio.to_thread(service.status, "POST", "/key/generate", GENERATE) == 200
    await asyncio.to_thread(own_postgres.pause)

    def seen():
        assert service.status("POST", "/key/generate", NEW_KEY) == 503
        wait_until(
            "store errors total", lambda: value(service, "store_errors_total", cause="dead") > 0
        )
        wait_until("store writable", lambda: value(service, "store_writable") == 0)

    try:
        await asyncio.to_thread(seen)
    finally:
        await asyncio.to_thread(own_postgres.resume)


@pytest.mark.process
async def test_a_row_that_another_session_locks(counted, make_store, own_postgres):
    url = own_postgres.create_database()
    service = await asyncio.to_thread(counted, **await make_store(f"{url}?connect_timeout=4"))
    assert await asyncio.to_thread(service.status, "POST", "/key/generate", GENERATE) == 200
    lock = "BEGIN; SELECT id FROM profiles FOR UPDATE; SELECT pg_sleep(600);"
    command = [*own_postgres.psql(url.rsplit("/", 1)[1]), "-c", lock]

    def locked():
        return own_postgres.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        ).strip()

    def seen():
        wait_until("the lock", lambda: locked() == "1")
        assert service.status("POST", "/key/generate", NEW_KEY) == 503
        wait_until(
            "store errors total", lambda: value(service, "store_errors_total", cause="busy") > 0
        )
        assert value(service, "store_errors_total", cause="dead") == 0

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        try:
            await asyncio.to_thread(seen)
        finally:
            own_postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event = 'PgSleep'"
            )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Backend error: (code: 13) database or disk is full", "full"),
        ('could not extend file "base/1": No space left on device', "full"),
        ("attempt to write a readonly database", "read-only"),
        ("cannot execute INSERT in a read-only transaction", "read-only"),
        ("(code: 5) database is locked", "busy"),
        ("pool timed out while waiting for an open connection", "busy"),
        ("sorry, too many clients already", "busy"),
        ("canceling statement due to lock timeout", "busy"),
        ("canceling statement due to statement timeout", "slow"),
        ("The store at postgres://… does not answer.", "dead"),
        ("Connection timed out (os error 110)", "dead"),
        ("error connecting: Connection refused (os error 111)", "refused"),
        ("the database system is starting up", "refused"),
        ("terminating connection due to administrator command", "lost"),
        ("expected to read 5 bytes, got 0 bytes at EOF", "lost"),
        ("Connection reset by peer (os error 104)", "lost"),
        ("something else", "other"),
        ("", "other"),
    ],
)
def test_the_cause_of_an_error(text, cause):
    assert cause_of(text) == cause
    assert cause in CAUSES
