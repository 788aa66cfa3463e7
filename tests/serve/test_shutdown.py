"""Effects of SIGTERM on callers."""

import contextlib
import http.client
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from filled_stores import new_store
from ports import free_ports
from serve.haproxy import HAProxy, needs_haproxy

pytestmark = pytest.mark.process

GENERATE = b'{"alg":"ed25519","alias":"k"}'
SIGN = b'{"alias":"k","data":"aGVsbG8"}'
CALLERS = 20


def call(connection, body=SIGN):
    """Tell whether the answer to a call says that the connection ends."""
    connection.request("POST", "/sign" if body is SIGN else "/key/generate", body)
    with connection.getresponse() as response:
        response.read()
        assert response.status == 200
        return response.headers["Connection"] == "close"


@pytest.mark.interpreter
@pytest.mark.parametrize("workers", ["1", "2"])
def test_callers_that_stay_lose_no_call(serve, workers):
    service = serve("--port", "0", "--workers", workers, "--shutdown-grace", "3600")
    assert service.status("POST", "/key/generate", GENERATE) == 200
    all_have_called = Barrier(CALLERS + 1)

    def stay(number):
        body = SIGN if number % 2 else b'{"alg":"ed25519"}'
        with contextlib.closing(service.connect()) as connection:
            assert not call(connection, body)
            all_have_called.wait(60)
            while not call(connection, body):
                pass
        # Call like a client without another service; the other worker may stop a moment later.
        with contextlib.closing(service.connect()) as connection:
            while not call(connection, body):
                pass
        return True

    with ThreadPoolExecutor(CALLERS) as threads:
        staying = [threads.submit(stay, number) for number in range(CALLERS)]
        all_have_called.wait(60)
        service.process.send_signal(signal.SIGTERM)
        assert all(caller.result() for caller in staying)
    assert service.status("GET", "/readyz") == 503
    assert service.status("GET", "/healthz") == 200
    code, written = service.stop()  # again, which ends the grace period
    assert (code, "Traceback" in written) == (0, False)


@pytest.mark.interpreter
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_a_service_at_once(serve, workers):
    service = serve("--port", "0", "--workers", workers, "--shutdown-grace", "3600")
    with contextlib.closing(service.connect()) as idle:
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        code, written = service.stop(signal.SIGINT)
    assert (code, "Traceback" in written) == (0, False)


@pytest.mark.interpreter
def test_a_connection_that_was_made_in_time_is_answered(serve):
    """The first call of a connection arrives after the port was closed."""
    code = "from minikms.cli import main; from minikms.serve import process;"
    code += "process.LAST_CALLS = 60; main.main()"
    options = ["--port", "0", "--shutdown-grace", "1"]
    service = serve(*options, command=[sys.executable, "-c", code])
    with contextlib.closing(service.connect()) as connection:
        connection.connect()
        service.process.send_signal(signal.SIGTERM)
        service.read_until("shutting down")
        # A connection that the service had not accepted when it closed its port is reset.
        with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
            while True:  # until the second is over
                service.status("GET", "/healthz")
        assert call(connection, GENERATE)
    code, written = service.end()  # sooner than in a minute, since no connection is left
    assert (code, "Traceback" in written) == (0, False)


def test_a_batch_that_is_under_way_is_refused(serve, free_port):
    service = serve("--port", "0", "--metrics-port", free_port)
    with contextlib.closing(service.connect()) as connection:
        connection.request("POST", "/key/generate/batch", b'{"alg":"rsa2048","count":500}')
        while not service.metrics()["requests_in_flight", frozenset()]:
            pass
        service.process.terminate()
        with connection.getresponse() as response:
            assert response.status == 503
            assert b"urn:minikms:problem:too-busy" in response.read()
    code, written = service.end()
    assert (code, "Traceback" in written) == (0, False)


CONFIG = """
global
    stats socket {folder}/haproxy.sock
defaults
    mode http
    retries 0
    timeout connect 60s
    timeout client 60s
    timeout server 60s
    timeout check 60s
frontend callers
    bind 127.0.0.1:{port}
    default_backend kms
backend kms
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""
# The requests of wrk; one in fifty writes. Each of 16 connections rests 10 ms between two calls.
REQUESTS = """
local sign, make
local number = 0
init = function()
    sign = wrk.format("POST", "/sign", {}, '{"alias":"k","data":"aGVsbG8"}')
    make = wrk.format("POST", "/key/generate", {}, '{"alg":"ed25519"}')
end
request = function()
    number = number + 1
    return number % 50 == 0 and make or sign
end
delay = function()
    return 10
end
response = function(status, headers, body)
    if status ~= 200 then print(status .. body) end
end
"""


@needs_haproxy
@pytest.mark.skipif(not shutil.which("wrk"), reason="this needs wrk: apt-get install wrk")
def test_no_call_fails_in_a_rolling_restart(serve, tmp_path):
    store = [*new_store(tmp_path), "--auth", "none"]
    port, *of_copies = free_ports(3)
    copies = dict(zip(("one", "two"), of_copies, strict=True))

    def start(name):
        options = ["--port", str(copies[name]), "--shutdown-grace", "2", *store]
        # Nobody reads its log, so the pipe has room for little.
        return serve(*options, wait=False, log_level="warning")

    with contextlib.ExitStack() as ended:
        services = {name: start(name) for name in copies}
        config = CONFIG.format(folder=tmp_path, port=port, **copies)
        haproxy = ended.enter_context(HAProxy.running(tmp_path, config))
        for name in copies:  # until they are ready: haproxy takes them to be so at first
            haproxy.wait_until("kms", name, "UP", "L7OK")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as caller:
            assert not call(caller, GENERATE)
        (tmp_path / "requests.lua").write_text(REQUESTS)
        command = ["wrk", "-t1", "-c16", "-d60s", "-s", str(tmp_path / "requests.lua")]
        wrk = subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True
        )
        ended.callback(wrk.wait)
        ended.callback(wrk.kill)
        for name, service in services.items():
            code, written = service.stop()
            assert (code, "Traceback" in written) == (0, False)
            haproxy.wait_until("kms", name, "DOWN")
            start(name)
            haproxy.wait_until("kms", name, "UP")
        wrk.send_signal(signal.SIGINT)
        report, _ = wrk.communicate(timeout=60)
    assert int(re.search(r"(\d+) requests in", report)[1]) > 100
    assert "Socket errors" not in report
    assert "Non-2xx" not in report
