"""The rates of a key: how often its private part is used in a minute and in a day."""

import asyncio
import json
import time

import pytest
from http_answers import ok
from problems import refused, slug_of

from minikms.basics import rates
from minikms.config import Config
from minikms.errors import KeyNotFound
from minikms.keys import key_rates
from minikms.serve.assembly import create_service
from minikms.store.categories import DAY_USES
from minikms.store.keys.day_leases import lease_uses
from minikms.web.state import SERVICE, STORE

DATA = "aGk"

# The key pair of RFC 8037, appendix A.1.
D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


@pytest.fixture
def clock(monkeypatch):
    """The clock of rates, which a test moves, in seconds."""
    now = [time.monotonic_ns()]
    monkeypatch.setattr(rates, "now_ns", lambda: now[0])

    def move(seconds):
        now[0] += int(seconds * 10**9)

    return move


async def uses(client, path, number, body):
    """The slugs of so many calls, "" for successes."""
    return [await slug_of(await client.post(path, json=body)) for _ in range(number)]


async def test_a_key_signs_so_often_in_a_minute(client, generate, clock):
    key = await generate(rules={"per_minute": 3})
    body = {"kid": key["kid"], "data": DATA}
    assert await uses(client, "/sign", 5, body) == ["", "", "", "over-rate", "over-rate"]
    answer = await client.post("/sign", json=body)
    problem = await refused(answer, 429, "over-rate")
    assert "per_minute" in problem["detail"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    clock(int(answer.headers["Retry-After"]))
    assert (await uses(client, "/sign", 1, body)) == [""]
    # Another key has its own.
    other = await generate(rules={"per_minute": 3})
    assert await uses(client, "/sign", 1, {"kid": other["kid"], "data": DATA}) == [""]


async def test_every_use_of_the_private_part_counts(client, generate, clock):
    key = await generate("p256", alias="k", rules={"per_minute": 4}, exportable=True)
    signed = {"kid": key["kid"], "data": DATA}
    verified = {**signed, "sig": DATA}
    assert await uses(client, "/verify", 9, verified) == [""] * 9
    for path, body in (
        ("/jws/sign", {"alias": "k", "payload": DATA}),
        ("/cose/sign", {"kid": key["kid"], "payload": DATA}),
        ("/csr", {"kid": key["kid"], "subject": "CN=x"}),
        ("/sign", signed),
    ):
        assert await uses(client, path, 1, body) == [""]
    assert await uses(client, "/sign", 1, signed) == ["over-rate"]
    export = await client.get(f"/key/{key['kid']}/export")
    await refused(export, 429, "over-rate")
    assert await uses(client, "/verify", 1, verified) == [""]


async def test_decryption_counts(client, generate, clock):
    key = await generate("a256gcm", rules={"per_minute": 2})
    by = {"kid": key["kid"]}
    made = await ok(await client.post("/encrypt", json={**by, "plaintext": DATA}))
    body = {**by, **{name: made[name] for name in ("ciphertext", "nonce", "tag")}}
    assert await uses(client, "/decrypt", 2, body) == ["", "over-rate"]


async def test_encryption_to_a_secret_key_counts(client, generate, clock):
    key = await generate("a256kw", rules={"per_minute": 2})
    recipient = {"kid": key["kid"], "alg": "A256KW"}
    body = {"plaintext": DATA, "enc": "A256GCM", "recipients": [recipient]}
    assert await uses(client, "/jwe/encrypt", 3, body) == ["", "", "over-rate"]


@pytest.mark.parametrize("rate", ["per_minute", "per_day"])
async def test_to_verify_a_code_counts_no_use_of_its_secret(client, generate, clock, rate):
    key = await generate("hs256", rules={rate: 2})
    signed = {"kid": key["kid"], "data": DATA}
    code = await ok(await client.post("/mac", json=signed))
    assert await uses(client, "/mac/verify", 4, {**signed, **code}) == [""] * 4
    jws = await ok(await client.post("/jws/sign", json={"kid": key["kid"], "payload": DATA}))
    assert await uses(client, "/jws/verify", 4, {"kid": key["kid"], **jws}) == [""] * 4
    assert await uses(client, "/mac", 1, signed) == ["over-rate"]


async def test_a_batch_counts_as_its_items(client, generate, clock):
    key = await generate(rules={"per_minute": 10})

    def batch(number):
        return {"kid": key["kid"], "items": [{"data": DATA}] * number}

    for number, slug in ((7, ""), (4, "over-rate"), (3, ""), (1, "over-rate")):
        assert await uses(client, "/sign/batch", 1, batch(number)) == [slug]


@pytest.mark.parametrize("rate", ["per_minute", "per_day"])
async def test_a_batch_that_is_larger_than_a_rate_is_told_the_limit(client, generate, clock, rate):
    key = await generate(rules={rate: 3})
    body = {"kid": key["kid"], "items": [{"data": DATA}] * 4}
    answer = await client.post("/sign/batch", json=body)
    problem = await refused(answer, 422, "validation-failed")
    assert "Retry-After" not in answer.headers
    [error] = problem["errors"]
    assert error["pointer"] == "#/items"
    assert "3" in error["detail"]
    body["items"].pop()
    assert await uses(client, "/sign/batch", 1, body) == [""]


async def test_a_call_that_one_rate_refuses_is_not_counted_by_the_other(client, clock):
    new = {"alg": "ed25519", "rules": {"per_minute": 4, "per_day": 6}}
    key = await ok(await client.post("/key/generate", json=new))

    async def batch(number):
        body = {"kid": key["kid"], "items": [{"data": DATA}] * number}
        answer = await client.post("/sign/batch", json=body)
        return answer.status if answer.status == 200 else (await answer.json())["detail"][:99]

    assert await batch(4) == 200
    assert "per_minute" in await batch(1)
    clock(120)
    assert "per_day" in await batch(3)
    assert await batch(2) == 200  # the minute has four uses, and the day two are left


async def test_an_item_that_cannot_be_read_does_not_count(client, generate, clock):
    key = await generate(rules={"per_minute": 3})
    body = {"kid": key["kid"], "items": [{"data": DATA}, {"data": "!"}, {"data": DATA}]}
    made = await ok(await client.post("/sign/batch", json=body))
    assert [list(each) for each in made["results"]] == [["sig"], ["problem"], ["sig"]]
    one = {"kid": key["kid"], "data": DATA}
    assert await uses(client, "/sign", 2, one) == ["", "over-rate"]


async def test_a_call_that_another_rule_refuses_does_not_count(client, generate, clock):
    key = await generate("p256", rules={"raw": False, "per_minute": 1})
    signed = {"kid": key["kid"], "data": DATA}
    assert await uses(client, "/sign", 3, signed) == ["rule-violated"] * 3
    assert await uses(client, "/jws/sign", 1, {"kid": key["kid"], "payload": DATA}) == [""]


async def test_the_audit_log_names_the_rate(start, tmp_path, clock):
    log = tmp_path / "audit.log"
    client = await start(create_service(Config(audit_log=str(log))))
    made = {"alg": "ed25519", "rules": {"per_minute": 1, "per_day": 3}}
    key = await ok(await client.post("/key/generate", json=made))
    body = {"kid": key["kid"], "data": DATA}
    for _ in range(5):
        await uses(client, "/sign", 2, body)
        clock(120)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    found = [
        (line["outcome"], line.get("rule")) for line in lines if line.get("operation") == "sign"
    ]
    minute, day = ("over-rate", "per_minute"), ("over-rate", "per_day")
    assert found == [("success", None), minute] * 3 + [day] * 4


@pytest.mark.each_store
async def test_a_key_signs_so_often_in_a_day(client, generate):
    key = await generate(rules={"per_day": 5})
    body = {"kid": key["kid"], "data": DATA}
    assert await uses(client, "/sign", 7, body) == [""] * 5 + ["over-rate"] * 2
    answer = await client.post("/sign", json=body)
    await refused(answer, 429, "over-rate")
    assert 80_000 < int(answer.headers["Retry-After"]) <= 86_400


@pytest.mark.each_store
async def test_a_tightened_rate_of_a_day_ends_what_was_leased(client, generate):
    key = await generate(rules={"per_day": 100})
    path, body = f"/key/{key['kid']}", {"kid": key["kid"], "data": DATA}
    assert await uses(client, "/sign", 1, body) == [""]  # and two more were leased
    await ok(await client.patch(path, json={"rules": {"per_day": 2}}))
    assert await uses(client, "/sign", 1, body) == ["over-rate"]
    await ok(await client.patch(path, json={"rules": {"per_day": 1}}))
    assert await uses(client, "/sign", 1, body) == ["over-rate"]


@pytest.mark.each_store
async def test_a_key_that_another_service_has_deleted_leaves_no_uses(client, generate):
    """Uses that are left would count for a key that is imported again."""
    kid, store = (await generate(rules={"per_day": 5}))["kid"], client.app[STORE]
    await ok(await client.delete(f"/key/{kid}"))
    with pytest.raises(KeyNotFound):
        await lease_uses(store.database, "default", kid, 5, 1)
    assert await store.database.run("default", lambda session: session.count(DAY_USES)) == 0


async def test_a_call_over_the_rate_of_a_day_does_not_ask_the_store(client, generate, monkeypatch):
    key = await generate(rules={"per_day": 1})
    body = {"kid": key["kid"], "data": DATA}
    assert await uses(client, "/sign", 2, body) == ["", "over-rate"]
    monkeypatch.setattr(key_rates, "lease_uses", None)
    assert await uses(client, "/sign", 2, body) == ["over-rate"] * 2


async def test_a_batch_over_the_rate_of_a_day_leaves_the_rest_to_others(
    start, tmp_path, make_store, monkeypatch
):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    one, other = [await start(create_service(Config(**options))) for _ in range(2)]
    made = {"alg": "ed25519", "rules": {"per_day": 100}}
    kid = (await ok(await one.post("/key/generate", json=made)))["kid"]

    async def sign(client, *numbers):
        bodies = [{"kid": kid, "items": [{"data": DATA}] * number} for number in numbers]
        return [await slug_of(await client.post("/sign/batch", json=body)) for body in bodies]

    # 60, and two more to keep.
    assert await sign(one, 60, 50) == ["", "over-rate"]
    with monkeypatch.context() as patched:  # nor is the store asked for as many again
        patched.setattr(key_rates, "lease_uses", None)
        assert await sign(one, 50, 60, 2) == ["over-rate", "over-rate", ""]
    assert await sign(other, 36) == [""]
    # Of the last two, the other service keeps one.
    assert await sign(one, 2, 1, 1) == ["over-rate", "", "over-rate"]
    assert await sign(other, 1, 1) == ["", "over-rate"]


@pytest.mark.each_store
async def test_a_restart_and_other_services_do_not_renew_a_day(start, any_store, client, generate):
    if not any_store:
        pytest.skip("a store in memory has one service")
    key = await generate(rules={"per_day": 100})
    body = {"kid": key["kid"], "data": DATA}
    services = [client, await start(create_service(Config(**any_store)))]
    passed = 0
    for _ in range(3):  # each time with a new service, as after a kill
        calls = [service.post("/sign", json=body) for service in services for _ in range(20)]
        slugs = [await slug_of(answer) for answer in await asyncio.gather(*calls)]
        passed += slugs.count("")
        services = [services[1], await start(create_service(Config(**any_store)))]
    assert 90 <= passed <= 100


@pytest.mark.each_store
async def test_a_deleted_key_leaves_no_uses(client, generate):
    key = await generate(rules={"per_day": 5})
    await uses(client, "/sign", 1, {"kid": key["kid"], "data": DATA})
    database = client.app[SERVICE].operations.store.database

    async def work(session):
        return await session.count("minikms.uses")

    assert await database.run("default", work) == 1
    await ok(await client.delete(f"/key/{key['kid']}"))
    assert await database.run("default", work) == 0


@pytest.mark.parametrize("rule", ["per_minute", "per_day"])
async def test_tenants_with_the_same_key_have_rates_of_their_own(client, clock, rule):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": X, "d": D}
    body = {"alg": "ed25519", "jwk": jwk, "rules": {rule: 1}}
    slugs = []
    for name in ("alice", "bob"):
        await ok(await client.post("/profile", json={"name": name}))
        headers = {"X-Profile": name}
        kid = (await ok(await client.post("/key/import", json=body, headers=headers)))["kid"]
        signed = {"kid": kid, "data": DATA}
        for _ in range(2):
            slugs.append(await slug_of(await client.post("/sign", json=signed, headers=headers)))
    assert slugs == ["", "over-rate"] * 2
