"""Workers and their provider: each opens it, and only one of them tries a wrong PIN."""

import re
import signal
import threading

import pytest
from filled_stores import new_store
from waiting import wait_until

pytestmark = pytest.mark.process

GENERATE = b'{"alg":"p256","alias":"k","provider":"hsm"}'
SIGN = b'{"alias":"k","data":"aGVsbG8"}'


@pytest.fixture
def pair(serve, token_folder, tmp_path):
    """Start two workers with the provider."""
    store = new_store(tmp_path)

    def start(*args):
        options = [*store, "--auth", "none", "--provider", token_folder.option]
        return serve("--port", "0", "--workers", "2", *options, *args)

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

    def metric(name):
        return service.metrics().get((name, frozenset({("provider", "hsm")})))

    until_ready(service)
    wait_until("the metric", lambda: metric("provider_objects_waiting") == 0)
    assert metric("provider_objects_left_total") == 0
    until_it_makes_a_key(service)
    token_folder.set("away")
    assert service.status("DELETE", "/key?alias=k") == 200
    wait_until("a key pair that waits", lambda: metric("provider_objects_waiting") == 1)
    token_folder.end("away")
    service.stop()
    pair()
    wait_until("its end", lambda: token_folder.keys == set())


def test_nothing_is_destroyed_as_an_orphan_while_a_service_may_make_its_key(
    pair, run, token_folder, tmp_path
):
    service = pair("--ready-needs-providers")
    until_ready(service)
    until_it_makes_a_key(service)
    [object_id] = token_folder.keys
    (token_folder.path / f"{object_id[:12]}{'0' * 20}.pem").touch()
    options = ["--store", f"sqlite://{tmp_path}/keys.db", "--store-key-file", f"{tmp_path}/key"]
    options += ["--provider", token_folder.option]
    destroy = ("store", "destroy-orphans", "--yes", *options)
    refused = run(*destroy)
    assert (refused.returncode, len(token_folder.keys)) == (2, 2)
    assert refused.stderr.endswith("stop it first.\n")
    service.stop()
    assert run(*destroy).returncode == 0
    assert token_folder.keys == {object_id}


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
