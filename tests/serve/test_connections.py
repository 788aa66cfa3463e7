"""Limits of connections and of descriptors, in processes of their own."""

import contextlib
import os
import re
import resource
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

import pytest
from tls_certificates import Authority

from minikms.http.acceptor import _HANDSHAKES

pytestmark = pytest.mark.process

# Shells that start the service with other limits on descriptors: soft, hard.
LIMITED = ["bash", "-c", 'ulimit -Sn "$0"; ulimit -Hn "$1"; shift; exec "$@"']
MINIKMS = os.path.join(os.path.dirname(sys.executable), "minikms")


@pytest.fixture
def dial():
    """Open connections, closed at the end of the test."""
    with contextlib.ExitStack() as opened:

        def one(service, source="127.0.0.1", tls=None):
            where = (service.host, service.port)
            connection = socket.create_connection(where, timeout=60, source_address=(source, 0))
            opened.enter_context(connection)
            return opened.enter_context(tls.wrap_socket(connection)) if tls else connection

        yield one


def answers(connection):
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        return connection.recv(10_000).startswith(b"HTTP/1.1 200")
    return False


def test_connections_that_end_at_once_leave_their_places(serve, dial):
    options = ("--max-connections-per-address", "3", "--header-timeout", "3600")
    service = serve("--port", "0", *options)
    for _ in range(30):
        dial(service).close()
    for _ in range(100):
        time.sleep(0.05)  # until the service has heard of it
        if answers(connection := dial(service)):
            break
        connection.close()
    else:
        pytest.fail("the places are still taken")
    assert service.stop()[0] == 0


def test_the_kernel_keeps_no_more_than_a_head_for_a_service_that_does_not_read(serve):
    service = serve("--port", "0")
    service.process.send_signal(signal.SIGSTOP)
    sent = 0
    with socket.socket() as connection, contextlib.suppress(TimeoutError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.settimeout(1)
        connection.connect((service.host, service.port))
        while sent < 1_000_000:
            sent += connection.send(b"a" * 1000)
    service.process.send_signal(signal.SIGCONT)
    assert sent < 100_000  # by default some 200,000, and megabytes once a caller has sent more
    assert service.stop()[0] == 0


def limits(process):
    text = Path(f"/proc/{process.pid}/limits").read_text()
    return re.search(r"Max open files\s+(\d+)\s+(\d+)", text).groups()


def test_connections_of_one_address(serve, dial):
    service = serve("--port", "0", "--max-connections-per-address", "3")
    first = [dial(service) for _ in range(3)]
    assert all(map(answers, first))
    assert [answers(dial(service)) for _ in range(20)] == [False] * 20
    assert "connections refused: 1 (1 over --max-connections-per-address)" in service.read_until(
        "refused"
    )
    assert answers(dial(service, "127.0.0.2"))
    assert all(map(answers, first))
    first.pop().close()
    while not answers(connection := dial(service)):
        connection.close()
    code, written = service.stop()
    assert code == 0
    # One line a minute, with the number.
    (line,) = [line for line in written.splitlines() if "refused" in line]
    assert int(re.search(r"refused: (\d+)", line)[1]) >= 19


def test_connections_of_all_callers_are_limited(serve, dial):
    service = serve("--port", "0", "--max-connections", "3")
    first = [dial(service, f"127.0.0.{number}") for number in (1, 2, 3)]
    assert all(map(answers, first))
    assert not answers(dial(service, "127.0.0.4"))
    assert "(1 over --max-connections)" in service.read_until("refused")
    first.pop().close()
    while not answers(connection := dial(service, "127.0.0.4")):
        connection.close()


def test_a_trusted_proxy_has_as_many_as_it_needs(serve, dial):
    options = ["--max-connections-per-address", "2", "--trusted-proxy", "127.0.0.2"]
    service = serve("--port", "0", *options)
    assert [answers(dial(service, "127.0.0.2")) for _ in range(10)] == [True] * 10
    assert [answers(dial(service)) for _ in range(4)] == [True, True, False, False]


def serve_tls(serve, folder, connections):
    """Start a service with TLS and this limit for each address; also gives a context for it."""
    authority = Authority(folder, "root")
    cert, key = authority.issue("kms")
    files = ["--tls-cert", str(cert), "--tls-key", str(key)]
    service = serve("--port", "0", "--max-connections-per-address", str(connections), *files)
    tls = ssl.create_default_context(cafile=str(authority.file))
    tls.check_hostname = False
    return service, tls


def test_unfinished_handshakes_count_as_connections(serve, dial, tmp_path):
    service, tls = serve_tls(serve, tmp_path, 3)
    silent = [dial(service) for _ in range(3)]
    assert dial(service).recv(1) == b""
    assert answers(dial(service, "127.0.0.2", tls))
    for connection in silent:
        connection.close()
    service.read_until("refused")
    while True:
        with contextlib.suppress(OSError):
            if answers(dial(service, tls=tls)):
                break


def test_the_oldest_of_many_unfinished_handshakes_ends(serve, dial, tmp_path):
    """So their memory is bounded, and a caller that finishes is served."""
    service, tls = serve_tls(serve, tmp_path, 1000)
    silent = [dial(service) for _ in range(_HANDSHAKES + 20)]
    assert answers(dial(service, tls=tls))
    for connection in silent[:20]:
        assert connection.recv(1) == b""
    for connection in silent[21:]:  # the last `dial` has ended connection 20
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)


def memory(process):
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1])


def test_the_memory_of_many_unfinished_handshakes_goes_back(serve, dial, tmp_path):
    service, tls = serve_tls(serve, tmp_path, 1000)
    silent = [dial(service) for _ in range(_HANDSHAKES + 20)]
    for connection in silent:
        with contextlib.suppress(ConnectionError):
            connection.sendall(bytes.fromhex("160301020001"))  # of a ClientHello
    assert answers(dial(service, tls=tls))  # so the others have been read
    most = memory(service.process)
    for connection in silent:
        connection.close()
    while memory(service.process) > most - 10_000:  # they take some 30,000
        time.sleep(0.05)


def test_the_limit_of_descriptors_is_raised(serve, dial):
    command = [*LIMITED, "100", "400", MINIKMS]
    service = serve("--port", "0", "--workers", "2", command=command)
    assert limits(service.process) == ("400", "400")
    for worker in re.findall(r"is process (\d+)", "".join(service.lines)):
        assert "400  " in Path(f"/proc/{worker}/limits").read_text()
    assert "272 connections at most, not 10000" in "".join(service.lines)
    assert all(answers(dial(service)) for _ in range(200))


def test_silent_connections_leave_descriptors(serve, dial):
    """Callers from many addresses open more connections than the process has descriptors."""
    service = serve("--port", "0", command=[*LIMITED, "200", "200", MINIKMS])
    for number in range(250):
        dial(service, f"127.0.0.{2 + number % 5}")
    line = service.read_until("refused")
    assert "over --max-connections" in line


def test_running_out_of_descriptors_is_logged(serve, dial):
    options = ["--max-connections", "1000", "--port", "0"]
    service = serve(*options, command=[*LIMITED, "1000", "1000", MINIKMS])
    used = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (used + 3, used + 3))
    first = [dial(service) for _ in range(8)]
    assert "Too many open files" in service.read_until("no connection can be accepted")
    for connection in first[:5]:
        connection.close()
    assert answers(first[-1])  # it waited
