"""Workers and their provider: each opens it, and only one of them tries a wrong PIN."""

import re
import signal
import threading

import pytest
from stores import new_store
from waiting import wait_until

pytestmark = pytest.mark.process

GENERATE = b'{"alg":"p256","alias":"k","provider":"hsm"}'
SIGN = b'{"alias":"k","data":"aGVsbG8"}'


@pytest.fixture
def pair(serve, token_folder, tmp_path):
    """Start two workers with the provider."""

    def start(*args):
        store = [*new_store(tmp_path), "--auth", "none"]
        return serve(
            *("--port", "0", "--workers", "2", "--provider", token_folder.option), *store, *args
        )

    return start


def pids(service):
    """The process of each worker, from the log so far."""
    return set(re.findall(r"worker \d+ is process (\d+)", "".join(service.lines)))


def until_ready(service):
    wait_until("a ready worker", lambda: service.status("GET", "/readyz") == 200)


def until_it_makes_a_key(service):
    wait_until("a key", lambda: service.status("POST", "/key/generate", GENERATE) == 200)


def test_each_worker_signs_with_one_key(pair, token_folder):
    service = pair("--ready-needs-providers")
    until_ready(service)
    until_it_makes_a_key(service)
    waiting = pids(service)
    while waiting:
        # A worker that has not opened the provider yet refuses.
        wait_until("a signature", lambda: service.status("POST", "/sign", SIGN) == 200)
        line = service.read_until(" POST /sign 200 ")
        waiting.discard(re.search(r" minikms\.access\[(\d+)\] ", line)[1])
    assert token_folder.attempts == 2
    assert len(token_folder.keys) == 1


def test_metrics_count_key_pairs_that_wait_to_be_destroyed(pair, token_folder, free_port):
    service = pair("--ready-needs-providers", "--metrics-port", free_port)

    def waiting():
        name = "provider_objects_waiting"
        return service.metrics().get((name, frozenset({("provider", "hsm")})))

    until_ready(service)
    wait_until("the metric", lambda: waiting() == 0)
    until_it_makes_a_key(service)
    token_folder.set("away")
    assert service.status("DELETE", "/key?alias=k") == 200
    wait_until("a key pair that waits", lambda: waiting() == 1)
    token_folder.end("away")
    wait_until("its end", lambda: waiting() == 0)
    assert token_folder.keys == set()


def test_one_of_the_workers_tries_a_wrong_pin(pair, token_folder):
    token_folder.set("wrong-pin")
    service = pair()
    wait_until("an attempt", lambda: token_folder.attempts)
    token_folder.end("wrong-pin")
    for _ in range(20):
        assert service.status("POST", "/key/generate", GENERATE) == 503
    assert service.status("GET", "/readyz") == 200
    assert token_folder.attempts == 1


def test_a_call_that_hangs_does_not_keep_the_service_from_ending(pair, token_folder):
    service = pair("--ready-needs-providers", "--provider-timeout", "1")
    until_ready(service)
    until_it_makes_a_key(service)
    token_folder.set("hold")
    call = threading.Thread(target=service.status, args=("POST", "/sign", SIGN))
    call.start()
    service.read_until(" POST /sign 503 ")
    call.join()
    code, _ = service.stop(signal.SIGINT)
    assert code == 0
