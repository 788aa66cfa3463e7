"""Doors of a running service: their end, certificates and limits."""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl

import pytest
from tls_certificates import Authority

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("plain")]


@pytest.fixture
def start(serve):
    """Start a service with the sample door; gives it with the port of the door."""

    def run(*options):
        ports = ("--port", "0", "--plain-port", "0")
        service = serve(*ports, *options, wait=False)
        service.wait_until_it_listens()
        found = re.search(r":(\d+)$", service.read_until("plain text on ").strip())
        return service, int(found[1])

    return run


def call(connection, path="/sign"):
    """The status of a call, and whether its answer ends the connection."""
    connection.request("POST", path, b"hello", {"Key": "mine"})
    with connection.getresponse() as response:
        response.read()
        return response.status, response.headers["Connection"] == "close"


def connected(port):
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_callers_that_stay_lose_no_call(start, workers):
    service, port = start("--workers", workers, "--shutdown-grace", "3600")
    with connected(port) as stays, connected(port) as rests:
        assert call(stays, "/keys") == (200, False)
        for _ in range(3):
            assert call(rests) == call(stays) == (200, False)
        service.process.send_signal(signal.SIGTERM)
        for connection in (stays, rests):
            while not (answer := call(connection))[1]:
                assert answer == (200, False)
            assert answer == (200, True)
    with connected(port) as late:
        assert call(late)[0] == 200
    code, written = service.stop()  # again, which ends the grace period
    assert (code, "Traceback" in written) == (0, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_calls_under_way_are_finished(start, number):
    service, port = start()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        connection.makefile("rb") as answers,
        service.under_way() as finish,
    ):
        head = b"POST /keys HTTP/1.1\r\nHost: localhost\r\nKey: mine\r\nExpect: 100-continue\r\n"
        connection.sendall(head + b"Content-Length: 5\r\n\r\nhe")
        assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"
        service.process.send_signal(number)
        service.read_until("finishing calls in progress")
        connection.sendall(b"llo")
        assert answers.readline() == b"\r\n"
        assert answers.read().startswith(b"HTTP/1.1 200")
        assert finish().startswith(b"HTTP/1.1 200")
    code, written = service.end()
    assert (code, "Traceback" in written) == (0, False)


def test_sighup_renews_the_certificate(start, tmp_path):
    authority = Authority(tmp_path, "one")
    first, second = authority.issue("first"), authority.issue("second")
    service, port = start("--tls-cert", first[0], "--tls-key", first[1])
    context = ssl.create_default_context(cafile=authority.file)

    def shown():
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        with context.wrap_socket(connection, server_hostname="127.0.0.1") as secured:
            return dict(pair for (pair,) in secured.getpeercert()["subject"])["commonName"]

    assert shown() == "first"
    for old, new in zip(first, second, strict=True):
        os.replace(new, old)
    service.process.send_signal(signal.SIGHUP)
    for _ in range(2):  # each port
        service.read_until("read again")
    assert shown() == "second"


def test_both_ports_count_connections_together(start):
    service, port = start("--max-connections-per-address", "3")
    with contextlib.ExitStack() as opened:

        def dial(port):
            return opened.enter_context(connected(port))

        kept = [dial(port), dial(service.port), dial(port)]
        assert [call(each, "/keys")[0] for each in kept] == [200, 405, 409]
        for each in (port, service.port):
            with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
                call(dial(each))
        assert "(1 over --max-connections-per-address)" in service.read_until("refused")
        assert call(kept[0])[0] == 200
