"""Keys of a provider over HTTP: they behave as others, and only they feel its faults."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from base64url import b64
from cryptography import x509
from http_answers import ok
from problems import refused
from prometheus_client import CollectorRegistry
from token_folder import TokenFolder, until_open
from waiting import until

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.metrics import FOLDER
from minikms.web.provider_metrics import ProviderMetrics
from minikms.web.state import SERVICE

DATA = b64(b"hello")


@pytest.fixture
async def client(start, token_folder):
    """A client of a service with the provider `hsm`."""
    options = {"provider": (token_folder.option,), "provider_timeout": 1000}
    client = await start(create_service(Config(**options)))
    await until_open(client)
    return client


@pytest.fixture
def make(generate):
    """Make a key of the provider."""

    async def run(alg="p256", **options):
        return await generate(alg, provider="hsm", **options)

    return run


@pytest.mark.parametrize("alg", ["p256", "p384", "p521", "k256", "ed25519", "rsa2048"])
async def test_a_key_of_each_kind_signs(make, post, token_folder, alg):
    key = await make(alg)
    assert (key["provider"], key["alg"], key["exportable"]) == ("hsm", alg, False)
    assert key["operations"] == ["sign", "verify"]
    assert len(token_folder.keys) == 1
    for _ in range(2):  # from the store, then from the cache
        sig = (await post("/sign", {"kid": key["kid"], "data": DATA}))["sig"]
        assert (await post("/verify", {"jwk": key["jwk"], "data": DATA, "sig": sig}))["valid"]
    assert (await post("/verify", {"kid": key["kid"], "data": DATA, "sig": sig}))["valid"]


@pytest.mark.parametrize(
    ("alg", "options"),
    [
        ("p256", {"encoding": "der"}),
        ("p256", {"prehashed": True, "data": b64(bytes(32))}),
        ("rsa2048", {"alg": "PS384"}),
        ("rsa2048", {"alg": "RS512"}),
    ],
)
async def test_its_signatures_have_the_usual_options(make, post, alg, options):
    key = await make(alg)
    body = {"data": DATA, **options}
    sig = (await post("/sign", {"kid": key["kid"], **body}))["sig"]
    assert (await post("/verify", {"jwk": key["jwk"], "sig": sig, **body}))["valid"]


async def test_two_providers_have_keys_of_one_algorithm(start, token_folder, tmp_path):
    (tmp_path / "other").mkdir()
    other = TokenFolder(tmp_path / "other")
    options = (token_folder.option, other.option.replace("hsm=", "other="))
    client = await start(create_service(Config(provider=options, provider_timeout=1000)))
    await until_open(client)

    async def made(provider):
        body = {"alg": "p256", "provider": provider}
        return await ok(await client.post("/key/generate", json=body))

    keys = [await made(name) for name in ("hsm", "other")]
    assert (len(token_folder.keys), len(other.keys)) == (1, 1)
    for key in keys:
        body = {"kid": key["kid"], "data": DATA}
        signed = await ok(await client.post("/sign", json=body))
        check = {"jwk": key["jwk"], "data": DATA, "sig": signed["sig"]}
        assert (await ok(await client.post("/verify", json=check)))["valid"]
    other.set("away")
    await refused(await client.post("/sign", json=body), 503, "provider-unavailable")
    await ok(await client.post("/sign", json={**body, "kid": keys[0]["kid"]}))


async def test_only_its_keys_show_a_provider(make, generate, get):
    software, made = await generate("p256"), await make()
    listed = {key["kid"]: key.get("provider") for key in await get("/keys")}
    assert listed == {software["kid"]: None, made["kid"]: "hsm"}
    assert "provider" not in software
    assert (await get(f"/key/{made['kid']}"))["provider"] == "hsm"


async def test_batches(client, post, token_folder):
    body = {"alg": "p256", "count": 5, "provider": "hsm"}
    keys = (await post("/key/generate/batch", body))["keys"]
    assert [key["provider"] for key in keys] == ["hsm"] * 5
    assert len(token_folder.keys) == 5
    items = [{"data": b64(b"%d" % number)} for number in range(20)]
    signed = await post("/sign/batch", {"kid": keys[0]["kid"], "items": items})
    pairs = [
        {**item, "sig": each["sig"]} for item, each in zip(items, signed["results"], strict=True)
    ]
    checked = await post("/verify/batch", {"jwk": keys[0]["jwk"], "items": pairs})
    assert all(each["valid"] for each in checked["results"])


async def test_tokens_messages_and_certificates(make, post):
    key = await make(alias="issuer")
    signed = await post("/jws/sign", {"alias": "issuer", "payload": DATA})
    assert (await post("/jws/verify", {"jwk": key["jwk"], "jws": signed["jws"]}))["valid"]
    signed = await post("/cose/sign", {"alias": "issuer", "payload": DATA})
    assert (await post("/cose/verify", {"jwk": key["jwk"], "cose": signed["cose"]}))["valid"]
    made = await post("/csr", {"alias": "issuer", "subject": "CN=Example"})
    assert x509.load_pem_x509_csr(made["csr"].encode()).is_signature_valid
    body = {"alias": "issuer", "profile": "self-signed", "subject": "CN=Example", "days": 10}
    certificate = x509.load_pem_x509_certificate(
        (await post("/certificate", body))["certificate"].encode()
    )
    certificate.verify_directly_issued_by(certificate)


async def test_a_rotation_makes_a_key_of_the_same_provider(make, post, token_folder):
    old = await make(alias="k")
    new = await post(f"/key/{old['kid']}/rotate", {})
    assert (new["provider"], new["aliases"]) == ("hsm", ["k"])
    assert new["kid"] != old["kid"]
    assert len(token_folder.keys) == 2
    sig = (await post("/sign", {"alias": "k", "data": DATA}))["sig"]
    assert (await post("/verify", {"jwk": new["jwk"], "data": DATA, "sig": sig}))["valid"]


async def test_rules_bind_its_keys(make, post, refuses):
    key = await make(rules={"raw": False, "jws": {"typ": ["JWT"]}})
    await refuses("/sign", {"kid": key["kid"], "data": DATA}, 403, "rule-violated")
    body = {"kid": key["kid"], "payload": b64(b"{}"), "header": {"typ": "JWT"}}
    assert (await post("/jws/sign", body))["jws"]


@pytest.mark.parametrize(
    "body",
    [
        {"alg": "p256", "provider": "hsm", "exportable": True},
        {"alg": "p256", "provider": "other"},
        {"alg": "x25519", "provider": "hsm"},
        {"alg": "a256gcm", "provider": "hsm"},
        {"alg": "ed448", "provider": "hsm"},  # an algorithm that this provider does not have
    ],
)
async def test_a_key_that_a_provider_cannot_make_is_refused(refuses, token_folder, body):
    await refuses("/key/generate", body, 422, "unsupported-option")
    await refuses("/key/generate/batch", {**body, "count": 2}, 422, "unsupported-option")
    assert not token_folder.keys


async def test_no_key_is_imported(refuses):
    body = {"alg": "p256", "secret": b64(bytes(31) + b"\1"), "provider": "hsm"}
    await refuses("/key/import", body, 422, "unsupported-option")


async def test_its_keys_do_nothing_but_sign_and_verify(client, make, refuses):
    key = await make()
    await refuses("/derive", {"kid": key["kid"], "peer": key["jwk"]}, 422, "unsupported-operation")
    exported = await client.get(f"/key/{key['kid']}/export")
    await refused(exported, 422, "unsupported-operation")
    body = {"alg": "p256", "provider": "hsm", "operations": ["derive"]}
    await refuses("/key/generate", body, 422, "unsupported-operation")


async def test_the_algorithms_name_their_providers(get):
    listed = {each["name"]: each.get("providers") for each in await get("/algorithms")}
    assert listed["p256"] == listed["rsa4096"] == ["hsm"]
    assert listed["x25519"] is listed["ed448"] is None


async def test_a_provider_that_is_away_is_felt_by_its_keys_alone(
    client, make, generate, post, refuses, get, token_folder
):
    key, other = await make(), await generate("p256")
    sig = (await post("/sign", {"kid": key["kid"], "data": DATA}))["sig"]
    assert await get("/readyz") == {"status": "ready"}
    token_folder.set("away")
    for path, more in [("/sign", {"data": DATA}), ("/jws/sign", {"payload": DATA})]:
        answer = await client.post(path, json={"kid": key["kid"], **more})
        await refused(answer, 503, "provider-unavailable")
        assert answer.headers["Retry-After"]
    await refuses("/key/generate", {"alg": "p256", "provider": "hsm"}, 503, "provider-unavailable")
    items = [{"data": DATA}] * 3
    await refuses("/sign/batch", {"kid": key["kid"], "items": items}, 503, "provider-unavailable")
    rotated = await client.post(f"/key/{key['kid']}/rotate")
    await refused(rotated, 503, "provider-unavailable")
    assert await get("/readyz") == {"status": "ready", "away": ["hsm"]}
    await post("/sign", {"kid": other["kid"], "data": DATA})
    assert (await post("/verify", {"kid": key["kid"], "data": DATA, "sig": sig}))["valid"]
    token_folder.end("away")
    await until_open(client)  # without a call
    await post("/sign", {"kid": key["kid"], "data": DATA})
    assert await get("/readyz") == {"status": "ready"}


async def test_the_next_call_after_a_loss_connects_again(client, make, post, token_folder):
    key = await make()
    for attempts in (2, 3):
        [provider] = client.app[SERVICE].operations.providers
        provider._provider._is_open = False  # a session is lost
        await post("/sign", {"kid": key["kid"], "data": DATA})
        assert token_folder.attempts >= attempts


async def test_a_service_starts_while_its_provider_is_away(start, token_folder):
    token_folder.set("away")
    options = {"provider": (token_folder.option,), "ready_needs_providers": True}
    client = await start(create_service(Config(**options)))
    await refused(await client.get("/readyz"), 503, "provider-unavailable")
    body = {"alg": "p256", "provider": "hsm"}
    answer = await client.post("/key/generate", json=body)
    await refused(answer, 503, "provider-unavailable")
    token_folder.end("away")
    await until_open(client)
    assert (await client.get("/readyz")).status == 200
    assert (await client.post("/key/generate", json=body)).status == 200


async def test_a_wrong_pin_is_tried_once(start, token_folder):
    token_folder.set("wrong-pin")
    client = await start(create_service(Config(provider=(token_folder.option,))))
    [provider] = client.app[SERVICE].operations.providers
    await until("the attempt", lambda: provider.status.detail == "The PIN is wrong.")
    body = {"alg": "p256", "provider": "hsm"}
    for _ in range(3):
        answer = await client.post("/key/generate", json=body)
        await refused(answer, 503, "provider-unavailable")
    token_folder.end("wrong-pin")
    await asyncio.sleep(0.1)  # several looks
    assert token_folder.attempts == 1
    assert not provider.status.available


async def test_the_metrics_have_its_state(client, make, token_folder):
    registry, providers = CollectorRegistry(), client.app[SERVICE].operations.providers
    metrics = ProviderMetrics(registry)

    def value(name, provider="hsm"):
        return registry.get_sample_value(f"minikms_provider_{name}", {"provider": provider})

    metrics.sample(providers, {"hsm": 3, "gone": 1}, {})
    assert (value("objects_waiting"), value("objects_waiting", "gone")) == (3, 1)
    assert [value(each) for each in ("up", "sessions", "reconnects_total")] == [1, 1, 0]
    await make()
    assert value("call_seconds_count") == 1
    token_folder.set("away")
    assert (
        await client.post("/key/generate", json={"alg": "p256", "provider": "hsm"})
    ).status == 503
    metrics.sample(providers, {"hsm": 0}, {"hsm": 2})
    assert [value(each) for each in ("up", "sessions", "reconnects_total")] == [0, 0, 0]
    token_folder.end("away")
    await until_open(client)
    for _ in range(3):  # one reconnection is counted once
        metrics.sample(providers, {"hsm": 0}, {"hsm": 2})
    assert [value(each) for each in ("up", "sessions", "reconnects_total")] == [1, 1, 1]
    assert (value("objects_waiting"), value("objects_left_total")) == (0, 2)


# Two processes of a service, of which the provider answers one.
TWO_PROCESSES = """
import os
from types import SimpleNamespace

from prometheus_client import CollectorRegistry, multiprocess

from minikms.web.provider_metrics import ProviderMetrics


def sample(up, sessions, waiting):
    status = SimpleNamespace(available=up, sessions=sessions, reconnects=1)
    provider = SimpleNamespace(name="hsm", status=status)
    ProviderMetrics(CollectorRegistry()).sample([provider], {"hsm": waiting}, {"hsm": 1})


if not os.fork():
    sample(False, 1, 2)
    os._exit(0)
os.wait()
sample(True, 4, 1)
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
for name in ("up", "sessions", "reconnects_total", "objects_waiting"):
    print(registry.get_sample_value(f"minikms_provider_{name}", {"provider": "hsm"}))
"""


@pytest.mark.process
def test_the_metrics_of_processes_are_joined(tmp_path):
    """A provider is up if it answers all processes; each process sees all waiting objects."""
    ended = subprocess.run(
        [sys.executable, "-c", TWO_PROCESSES],
        env={**os.environ, FOLDER: str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.split() == ["0.0", "5.0", "2.0", "2.0"], ended.stderr


async def test_a_full_token_makes_no_key(refuses, all_keys, token_folder):
    token_folder.set("full")
    body = {"alg": "p256", "provider": "hsm"}
    await refuses("/key/generate", body, 503, "provider-unavailable")
    await refuses("/key/generate/batch", {**body, "count": 2}, 503, "provider-unavailable")
    assert await all_keys() == []


async def test_a_key_that_the_token_lost_is_unreadable(make, refuses, token_folder):
    key = await make()
    for file in token_folder.path.glob("*.pem"):
        file.unlink()
    await refuses("/sign", {"kid": key["kid"], "data": DATA}, 500, "key-unreadable")


async def test_no_other_key_waits_for_a_slow_provider(client, make, generate, post, token_folder):
    key, other = await make(), await generate("rsa2048")  # it signs in a thread
    token_folder.set("hold")
    items = [{"data": DATA}] * 10
    slow = [
        asyncio.create_task(post("/sign", {"kid": key["kid"], "data": DATA})) for _ in range(40)
    ]
    slow += [
        asyncio.create_task(post("/sign/batch", {"kid": key["kid"], "items": items}))
        for _ in range(10)
    ]
    for _ in range(20):
        await post("/sign", {"kid": other["kid"], "data": DATA})
        await post("/sign/batch", {"kid": other["kid"], "items": items})
    assert not any(each.done() for each in slow)
    token_folder.end("hold")
    assert len(await asyncio.gather(*slow)) == 50


async def test_the_audit_log_names_the_provider(start, token_folder, tmp_path):
    file = tmp_path / "audit.log"
    client = await start(
        create_service(Config(provider=(token_folder.option,), audit_log=str(file)))
    )
    await until_open(client)
    made = await client.post("/key/generate", json={"alg": "p256", "provider": "hsm", "alias": "k"})
    assert made.status == 200
    assert (await client.post("/key/generate", json={"alg": "p256", "alias": "s"})).status == 200
    for alias in ("k", "s"):
        assert (await client.post("/sign", json={"alias": alias, "data": DATA})).status == 200
    token_folder.set("away")
    assert (await client.post("/sign", json={"alias": "k", "data": DATA})).status == 503
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = [
        (line["operation"], line["outcome"], line.get("provider"))
        for line in lines
        if line.get("operation") in ("generateKey", "sign")
    ]
    assert found == [
        ("generateKey", "success", "hsm"),
        ("generateKey", "success", None),
        ("sign", "success", "hsm"),
        ("sign", "success", None),
        ("sign", "provider-unavailable", "hsm"),
    ]


async def test_without_the_provider_its_keys_only_verify(start, make_store, token_folder, tmp_path):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    client = await start(create_service(Config(**options, provider=(token_folder.option,))))
    await until_open(client)
    made = await client.post("/key/generate", json={"alg": "p256", "provider": "hsm", "alias": "k"})
    key = await made.json()
    signed = await client.post("/sign", json={"alias": "k", "data": DATA})
    sig = (await signed.json())["sig"]
    await client.close()
    without = await start(create_service(Config(**options)))
    checked = await without.post("/verify", json={"alias": "k", "data": DATA, "sig": sig})
    assert (await checked.json())["valid"]
    answer = await without.post("/sign", json={"alias": "k", "data": DATA})
    await refused(answer, 409, "key-not-usable")
    jwks = await (await without.get("/jwks.json")).json()
    assert key["kid"] in [each["kid"] for each in jwks["keys"]]
    again = await start(create_service(Config(**options, provider=(token_folder.option,))))
    await until_open(again)
    assert (await again.post("/sign", json={"alias": "k", "data": DATA})).status == 200


@pytest.mark.parametrize("later", ["", "?after=1h"])
async def test_a_next_key_is_made_in_the_token_and_deleted_with_its_object(
    client, make, post, token_folder, later
):
    old = await make(alias="k")
    following = await post(f"/key/{old['kid']}/next", {})
    assert (following["provider"], following["state"]) == ("hsm", "next")
    assert await post(f"/key/{old['kid']}/next", {}) == following
    assert len(token_folder.keys) == 2
    signing = await client.post("/sign", json={"kid": following["kid"], "data": DATA})
    await refused(signing, 409, "key-not-usable")
    assert (await post("/csr", {"kid": following["kid"], "subject": "CN=Next"}))["csr"]
    await ok(await client.delete(f"/key/{following['kid']}{later}"))
    await until("the end of its object", lambda: len(token_folder.keys) == 1)
    second = await post(f"/key/{old['kid']}/next", {})
    new = await post(f"/key/{old['kid']}/rotate", {})
    assert new["kid"] == second["kid"] != following["kid"]
    assert len(token_folder.keys) == 2
    sig = (await post("/sign", {"alias": "k", "data": DATA}))["sig"]
    assert (await post("/verify", {"jwk": new["jwk"], "data": DATA, "sig": sig}))["valid"]
    # A deleted key takes its next key along, also if its own deletion is only scheduled.
    await post(f"/key/{new['kid']}/next", {})
    assert len(token_folder.keys) == 3
    await ok(await client.delete(f"/key/{new['kid']}{later}"))
    left = 2 if later else 1
    await until("the end of its object", lambda: len(token_folder.keys) == left)
    kids = {key["kid"] for key in await ok(await client.get("/keys"))}
    assert kids == ({old["kid"], new["kid"]} if later else {old["kid"]})


@pytest.mark.each_store
async def test_services_that_race_for_a_next_key_leave_no_object(start, token_folder, any_store):
    config = Config(provider=(token_folder.option,), provider_timeout=10_000, **any_store)
    clients = [await start(create_service(config)) for _ in range(2 if any_store else 1)]
    for each in clients:
        await until_open(each)
    body = {"alg": "p256", "provider": "hsm", "alias": "a"}
    kid = (await ok(await clients[0].post("/key/generate", json=body)))["kid"]
    answers = await asyncio.gather(
        *(each.post(f"/key/{kid}/next") for each in clients for _ in range(3))
    )
    assert len({(await ok(answer))["kid"] for answer in answers}) == 1
    await until("the end of the others", lambda: len(token_folder.keys) == 2)
    # A rotation takes the next key, whatever was made meanwhile.
    calls = [each.post(f"/key/{kid}/{step}") for each in clients for step in ("next", "rotate")]
    statuses = [answer.status for answer in await asyncio.gather(*calls)]
    assert statuses.count(200) >= 1
    await until("the end of the others", lambda: len(token_folder.keys) == 2)
    assert len(await ok(await clients[0].get("/keys"))) == 2
