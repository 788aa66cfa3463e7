"""Metrics of the state of a process: an error does not end their sampling."""

import math

import pytest
from cryptography import x509
from http_answers import ok
from prometheus_client import CollectorRegistry
from waiting import until

from minikms.config import Config
from minikms.errors import StoreUnavailable
from minikms.serve.assembly import create_service
from minikms.store.keys.key_store import KeyStore
from minikms.web import state_metrics
from minikms.web.state import SERVICE
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

    def faulty(*args, **options):
        rounds.append(args)
        if len(rounds) in (1, 2):
            raise ZeroDivisionError
        return right(*args, **options)

    monkeypatch.setattr(owner, name, faulty)
    monkeypatch.setattr(state_metrics, period, 0.001)
    async with StateMetrics(CollectorRegistry(), counts_keys=True).sampled(app):
        await until("more rounds", lambda: len(rounds) >= 4)
    found = [each for each in caplog.records if each.name == state_metrics.__name__]
    assert [each.getMessage() for each in found] == ["metrics of the state are not up to date"]


async def test_a_store_is_asked_again_soon_only_if_it_does_not_answer(start, monkeypatch):
    app, asked = create_service(Config()), []
    await start(app)
    check = state_metrics.require_ready

    async def checked(app, *, asks_store):
        asked.append(asks_store)
        if len(asked) in (1, 2, 6):
            raise StoreUnavailable
        return await check(app, asks_store=asks_store)

    monkeypatch.setattr(state_metrics, "require_ready", checked)
    monkeypatch.setattr(state_metrics, "_CHECK_EVERY", 0.001)
    async with StateMetrics(CollectorRegistry(), counts_keys=True).sampled(app):
        await until("more checks", lambda: len(asked) >= 9)
    assert asked[:9] == [True, True, True, False, False, False, True, False, False]


async def test_new_keys_are_counted_soon_if_a_count_takes_little_time(start, monkeypatch):
    app = create_service(Config())
    client, registry = await start(app), CollectorRegistry()
    for pause in ("_LEAST_PAUSE", "_PAUSES"):
        monkeypatch.setattr(state_metrics, pause, 0.001)
    async with StateMetrics(registry, counts_keys=True).sampled(app):
        for number in range(3):
            await until(
                "a count of the keys",
                lambda number=number: registry.get_sample_value("minikms_keys") == number,
            )
            await ok(await client.post("/key/generate", json={"alg": "ed25519"}))


async def test_the_first_end_of_the_certificates_of_keys_in_use(start, monkeypatch):
    app = create_service(Config())
    client, registry = await start(app), CollectorRegistry()
    monkeypatch.setattr(state_metrics, "_COUNT_EVERY", 0.001)

    def is_end(expected):
        name = "minikms_key_certificate_expiry_timestamp_seconds"
        return lambda: registry.get_sample_value(name) == expected

    ends = []
    async with StateMetrics(registry, counts_keys=True).sampled(app):
        for days in (20, 10, 30):
            await until("the metric of keys that sign", is_end(min(ends, default=math.inf)))
            kid = (await ok(await client.post("/key/generate", json={"alg": "p256"})))["kid"]
            body = {"kid": kid, "profile": "self-signed", "subject": "CN=a", "days": days}
            made = (await ok(await client.post("/certificate", json=body)))["certificate"]
            path = f"/key/{kid}/certificates"
            await ok(await client.put(path, json={"certificates": [made]}))
            await ok(await client.post("/sign", json={"kid": kid, "data": "aGk"}))
            certificate = x509.load_pem_x509_certificate(made.encode())
            ends.append(certificate.not_valid_after_utc.timestamp())
        app[SERVICE].operations.uses.period += 719
        await ok(await client.post("/sign", json={"kid": kid, "data": "aGk"}))
        await until("the metric within a day", is_end(ends[1]))
        app[SERVICE].operations.uses.period += 1
        await until("the metric after a day", is_end(ends[2]))
