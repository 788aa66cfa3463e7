"""Services on a store whose key is sealed."""

import os
import re
import signal
from pathlib import Path

import pytest
from filled_stores import new_store
from minikms_processes import refused
from seals.toy_seals import seal_file

from minikms.config import Config
from minikms.seals import opening
from minikms.seals.key_file import read_key
from minikms.serve.lifecycle import with_store_key
from minikms.startup_errors import StoreError


@pytest.fixture
def store(tmp_path, one, two):
    """The options of a store whose key has two seals."""
    options = [*new_store(tmp_path), "--auth", "none", "--seal-wait", "0"]
    seal_file(options[3], one, two)
    return options


@pytest.fixture
def key(store):
    return read_key(store[3], "", "raw").secret


def pids(service):
    started = re.findall(r"(worker \d+) is process (\d+)", "".join(service.lines))
    return {name: int(process) for name, process in started}


@pytest.mark.process
@pytest.mark.timeout(120)  # four workers start
def test_workers_are_replaced_while_every_seal_is_away(serve, store, key, one, two):
    service = serve("--port", "0", "--workers", "2", "--log-level", "debug", *store)
    made = service.status("POST", "/key/generate", b'{"alg":"ed25519","alias":"k"}')
    assert made == 200
    asked = one.calls, two.calls
    one.begin("away")
    two.begin("refuses")
    os.unlink(store[3])
    for name, process in pids(service).items():
        os.kill(process, signal.SIGKILL)
        service.read_until(f"{name} is process ")
        assert service.status("POST", "/sign", b'{"alias":"k","data":"aGVsbG8"}') == 200
    assert (one.calls, two.calls) == asked
    for process in (service.process.pid, *pids(service).values()):
        for name in ("cmdline", "environ"):
            assert key.encode() not in Path(f"/proc/{process}/{name}").read_bytes()
    _, rest = service.stop()
    assert key not in "".join(service.lines) + rest


@pytest.mark.process
@pytest.mark.parametrize(("workers", "fault"), [("1", "away"), ("2", "away"), ("1", "lies")])
def test_metrics_have_the_state_of_each_seal(serve, free_port, store, one, two, workers, fault):
    one.begin(fault)
    service = serve("--port", "0", "--workers", workers, "--metrics-port", free_port, *store)
    found = service.metrics()
    assert {
        (name, *sorted(labels)): value
        for (name, labels), value in found.items()
        if name in ("store_key_info", "seal_info")
    } == {
        ("store_key_info", ("kept", "sealed")): 1,
        ("seal_info", ("kind", "toy"), ("place", "1"), ("state", "failed")): 1,
        ("seal_info", ("kind", "toy"), ("place", "2"), ("state", "opened")): 1,
    }
    for secret in (str(one.folder), str(two.folder), store[3]):
        assert secret not in service.exposed


@pytest.mark.process
@pytest.mark.parametrize(
    ("kept", "workers"), [("file", "1"), ("file", "2"), ("variable", "1"), ("none", "2")]
)
def test_metrics_say_how_a_key_is_kept_without_seals(serve, free_port, tmp_path, kept, workers):
    options, variables = new_store(tmp_path), {}
    if kept == "variable":
        variables["store_key"] = read_key(options[3], "", "raw").secret
        del options[2:4]
    elif kept == "none":
        options = []
    common = "--port", "0", "--auth", "none", "--metrics-port", free_port, "--workers", workers
    service = serve(*common, *options, **variables)
    assert service.metrics()["store_key_info", frozenset({("kept", kept)})] == 1
    assert "minikms_seal_info{" not in service.exposed


@pytest.mark.process
def test_without_any_seal_the_service_ends_with_one_sentence(run, store, one, two):
    one.begin("away")
    two.begin("refuses")
    line = refused(run("serve", "--port", "0", "--workers", "2", *store), code=3)
    assert "It is away" in line
    assert "It refuses the PIN" in line
    assert (one.calls, two.calls) == (3, 3)  # to seal, and now


@pytest.mark.process
def test_a_service_that_waits_is_stopped_at_once(serve, store, one, two):
    one.begin("away")
    two.begin("away")
    service = serve("--port", "0", *store, "--seal-wait", "600", wait=False)
    service.read_until("tried again")
    code, _ = service.stop()
    assert code == -signal.SIGTERM


@pytest.mark.usefixtures("quick_check_value")
def test_a_configuration_waits_for_a_seal(store, key, one, two, monkeypatch):
    monkeypatch.setattr(opening, "_PAUSE", 0.01)
    one.begin("away")
    two.begin("refuses")
    before = two.calls
    one.end_once("away", two)
    config = with_store_key(Config(store=store[1], store_key_file=store[3]))
    assert (config.store_key, config.store_key_file) == (key, "")
    assert (config.key_kept, config.seals) == ("sealed", (("toy", "opened"), ("toy", "failed")))
    assert two.calls == before + 1  # a PIN is tried once
    assert key not in repr(config)
    assert with_store_key(config) is config


@pytest.mark.usefixtures("quick_check_value")
def test_a_sealed_key_without_a_store_is_refused_before_a_seal_is_asked(store, one, two):
    before = one.calls, two.calls
    with pytest.raises(StoreError):
        with_store_key(Config(store_key_file=store[3]))
    assert (one.calls, two.calls) == before
    assert with_store_key(config := Config()) is config
