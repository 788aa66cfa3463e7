"""Metrics of the state of a process: an error does not end their sampling."""

import pytest
from prometheus_client import CollectorRegistry
from waiting import until

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.keys.key_store import KeyStore
from minikms.web import state_metrics
from minikms.web.state_metrics import StateMetrics


@pytest.mark.parametrize(
    ("owner", "name", "period"),
    [
        (StateMetrics, "_sample", "_SAMPLE_EVERY"),
        (state_metrics, "require_ready", "_CHECK_EVERY"),
        (KeyStore, "totals", "_COUNT_EVERY"),
    ],
)
async def test_an_error_is_logged_once_and_the_next_round_comes(
    start, monkeypatch, caplog, owner, name, period
):
    app = create_service(Config())
    await start(app)
    right, rounds = getattr(owner, name), []

    def faulty(*args):
        rounds.append(args)
        if len(rounds) in (1, 2):
            raise ZeroDivisionError
        return right(*args)

    monkeypatch.setattr(owner, name, faulty)
    monkeypatch.setattr(state_metrics, period, 0.001)
    async with StateMetrics(CollectorRegistry(), counts_keys=True).sampled(app):
        await until("more rounds", lambda: len(rounds) >= 4)
    found = [each for each in caplog.records if each.name == state_metrics.__name__]
    assert [each.getMessage() for each in found] == ["metrics of the state are not up to date"]
