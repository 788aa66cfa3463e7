"""Callers who ask for large answers and do not read them, against a service of its own process."""

import contextlib
import json
import socket
import ssl
import time

import psutil
import pytest
from tls_certificates import Authority
from waiting import until

pytestmark = pytest.mark.process

MIB = 1024 * 1024
CALLERS = 40
LIST = b"GET /keys?limit=1000 HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
NDJSON = b"Accept: application/x-ndjson\r\n"

# Memory of a service besides 64 MiB of unread answers: keys of pages in the making, and TLS buffers
# of each connection.
MOST = 220 * MIB


def call(service, method, path, body=None):
    """A success of a caller who reads."""
    with contextlib.closing(service.connect()) as connection:
        connection.request(method, path, body and json.dumps(body))
        with connection.getresponse() as response:
            content = response.read()
    if response.status == 503:  # a busy machine
        return call(service, method, path, body)
    assert response.status == 200
    return content


@pytest.fixture(params=["http", "https"])
def service(request, serve, tmp_path):
    """A service with a page of 4 MiB, and more than that in all."""
    options = []
    if request.param == "https":
        authority = Authority(tmp_path, "one")
        certificate, key = authority.issue("kms")
        options = ["--tls-cert", certificate, "--tls-key", key]
    service = serve("--port", "0", *options)
    service.tls = ssl.create_default_context(cafile=authority.file) if options else None
    labels = {f"{number}": "x" * 8190 for number in range(4)}
    for _ in range(5):
        batch = {"alg": "ed25519", "count": 32, "labels": labels}
        call(service, "POST", "/key/generate/batch", batch)
    assert 4 * MIB - 64 * 1024 < len(call(service, "GET", "/keys?limit=1000")) <= 4 * MIB
    return service


@pytest.fixture
def dial(service):
    """Ask on connections that have room for little, closed at the end of the test."""
    with contextlib.ExitStack() as opened:

        def one(request, room=4096):
            connection = opened.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            connection.settimeout(60)
            connection.connect((service.host, service.port))
            if service.tls:
                name = {"server_hostname": service.host}
                connection = opened.enter_context(service.tls.wrap_socket(connection, **name))
            connection.sendall(request)
            if connection.recv(12) == b"HTTP/1.1 503":  # a busy machine
                return one(request, room)
            return connection

        yield one


def open_connections(process):
    """Count a service's connections; its callers see the end of one only if they read."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))


@pytest.mark.parametrize(
    ("service", "accept"),
    [("http", NDJSON), ("https", b"")],
    indirect=["service"],
    ids=["lines", "page over TLS"],
)
async def test_memory_for_unread_answers_is_bounded(service, dial, accept):
    process = psutil.Process(service.process.pid)
    before = most = process.memory_info().rss

    def connections():
        nonlocal most
        most = max(most, process.memory_info().rss)
        return open_connections(process)

    for _ in range(CALLERS):
        dial(LIST % accept)
    # 64 MiB are 16 pages.
    await until("the end of most connections", lambda: connections() <= 17)
    # A caller who reads is answered among callers who do not.
    for _ in range(3):
        assert len(call(service, "GET", "/keys?limit=1000")) > 3 * MIB
    connections()
    assert most - before < MOST


def test_a_slow_reader_gets_the_whole_answer(service, dial):
    connection = dial(LIST % b"Connection: close\r\n", 64 * 1024)
    answer = b""
    while piece := connection.recv(256 * 1024):
        answer += piece
        time.sleep(0.001)
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])) > 100
