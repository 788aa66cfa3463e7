"""Rotation in three steps: a key is published, signs after the rotation, and retires later."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from problems import refused
from prometheus_client import CollectorRegistry

from minikms.config import Config
from minikms.key_bounds import SECOND
from minikms.serve.assembly import create_service
from minikms.store.keys.entries import load_record, replace_scheduled
from minikms.web.state import SERVICE, STORE
from minikms.web.state_metrics import StateMetrics

DATA = "aGVsbG8"
HOUR, DAY = 3600, 86_400
STEPS = {"rotate_every": 30 * DAY, "publish_ahead": DAY, "retire_after": 2 * DAY}


@pytest.fixture
async def own_client(start_swept, any_store):
    """A client of a service that has looked once for due keys, as it does when it starts."""
    return await start_swept(create_service(Config(**any_store)))


@pytest.fixture
def sweep(client):
    """Look for due keys, as the service does every few minutes; give the lines of the audit log."""

    async def call(service=None):
        lines = []

        def sink(events, outcome):
            lines.extend((each.operation, each.kid, each.new_kid) for each in events)

        await (service or client.app[SERVICE]).sweep(sink)
        return lines

    return call


@pytest.fixture
def call(client):
    """Make a call that succeeds, and give its answer."""

    async def make(method, path, body=None, **kwargs):
        async with client.request(method, path, json=body, **kwargs) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    return make


@pytest.fixture
def published(client):
    """The kids and aliases in the profile's JWK Set."""

    async def read():
        async with client.get("/jwks.json") as response:
            return {each["kid"] for each in (await response.json())["keys"]}

    return read


def seconds(earlier, later):
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


@pytest.mark.each_store
@pytest.mark.parametrize("alg", ["ed25519", "rsa2048", "hs256", "a256gcm", "x25519"])
async def test_a_next_key_is_there_once_and_takes_the_place_of_its_key(
    call, generate, published, alg
):
    rules = {"raw": True} if alg in ("ed25519", "rsa2048") else None
    given = {} if rules is None else {"rules": rules}
    old = await generate(alg, alias="a", labels={"n": "1"}, exportable=True, **given)
    following = await call("post", f"/key/{old['kid']}/next")
    own = ("kid", "jwk", "b58", "multikey", "did", "created")
    assert following == old | {name: following[name] for name in own} | {
        "aliases": [],
        "state": "next",
        "follows": old["kid"],
    }
    again = await asyncio.gather(*(call("post", f"/key/{old['kid']}/next") for _ in range(4)))
    assert again == [following] * 4
    assert (await call("get", f"/key/{old['kid']}"))["next"] == following["kid"]
    assert await call("get", "/keys?state=next") == [following]
    if alg not in ("hs256", "a256gcm"):
        assert await published() == {old["kid"], "a", following["kid"]}
    new = await call("post", f"/key/{old['kid']}/rotate")
    left = ("follows", "aliases", "state")
    assert new == {
        **{name: value for name, value in following.items() if name not in left},
        "aliases": ["a"],
        "state": "enabled",
    }
    assert await call("get", "/keys?state=next") == []
    replaced = await call("get", f"/key/{old['kid']}")
    assert (replaced["state"], replaced["next"]) == ("verify-only", None)
    if alg not in ("hs256", "a256gcm"):
        assert await published() == {old["kid"], "a", new["kid"]}


@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("alg", "path", "body"),
    [
        ("ed25519", "/sign", {"data": DATA}),
        ("ed25519", "/jws/sign", {"payload": DATA}),
        ("hs256", "/mac", {"data": DATA}),
        ("a256gcm", "/encrypt", {"plaintext": DATA}),
        ("a256gcm", "/decrypt", {"ciphertext": DATA, "nonce": "A" * 16, "tag": "A" * 22}),
        ("a256kw", "/unwrap", {"wrapped": "A" * 32}),
        ("x25519", "/derive", {"peer": {"kty": "OKP", "crv": "X25519", "x": "A" * 43}}),
    ],
)
async def test_a_next_key_makes_and_opens_nothing(client, call, generate, alg, path, body):
    kid = (await generate(alg, exportable=True))["kid"]
    following = (await call("post", f"/key/{kid}/next"))["kid"]
    async with client.post(path, json={"kid": following, **body}) as response:
        problem = await refused(response, 409, "key-not-usable")
    assert problem["detail"] == f"The key is next, until a rotation replaces {kid}."
    await refused(await client.get(f"/key/{following}/export"), 409, "key-not-usable")


@pytest.mark.shared_service
async def test_a_next_key_verifies_and_gets_its_certificate_before_it_begins(
    client, call, generate
):
    old = (await generate("p256", alias="a"))["kid"]
    following = (await call("post", f"/key/{old}/next"))["kid"]
    assert (await call("post", "/verify", {"kid": following, "data": DATA, "sig": "A" * 86})) == {
        "valid": False
    }
    body = {"kid": following, "subject": "CN=Next"}
    csr = x509.load_pem_x509_csr((await call("post", "/csr", body))["csr"].encode())
    assert csr.is_signature_valid
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(csr.subject, csr.subject, csr.public_key(), 1, now, now)
    issued = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    own = issued.public_bytes(serialization.Encoding.PEM).decode()
    await call("put", f"/key/{following}/certificates", {"certificates": [own]})
    new = await call("post", f"/key/{old}/rotate")
    assert (new["kid"], len(new["certificates"])) == (following, 1)


@pytest.mark.each_store
@pytest.mark.parametrize("delay", [None, HOUR])
async def test_a_next_key_is_deleted_at_once_and_another_can_follow(call, generate, delay):
    await call("patch", "/profile/default", {"min_deletion_delay": delay, "max_keys": 2})
    old = (await generate(alias="a"))["kid"]
    first = (await call("post", f"/key/{old}/next"))["kid"]
    for after in ("", "?after=1h"):
        assert await call("delete", f"/key/{first}{after}") == {
            "message": "Key deleted",
            "kid": first,
        }
        assert (await call("get", f"/key/{old}"))["next"] is None
        assert len(await call("get", "/keys")) == 1
        before, first = first, (await call("post", f"/key/{old}/next"))["kid"]
        assert first != before


@pytest.mark.each_store
@pytest.mark.parametrize("path", ["", "?after=1h"])
async def test_a_deleted_key_takes_its_next_key_along(call, generate, path, sweep, clock):
    old = await generate(alias="a", **STEPS)
    following = (await call("post", f"/key/{old['kid']}/next"))["kid"]
    await call("delete", f"/key/{old['kid']}{path}")
    listed = await call("get", "/keys")
    assert [(key["kid"], key["next"]) for key in listed] == ([(old["kid"], None)] if path else [])
    if path:
        restored = await call("post", f"/key/{old['kid']}/restore")
        assert (restored["state"], restored["next"]) == ("enabled", None)
        clock(31 * DAY)
        [(operation, kid, new_kid)] = await sweep()
        assert (operation, kid) == ("nextKey", old["kid"])
        assert new_kid != following


@pytest.mark.shared_service
async def test_a_next_key_is_not_changed_and_gets_what_its_key_has(client, call, generate):
    old = (await generate(alias="a", rules={"raw": True, "per_day": 9}))["kid"]
    following = (await call("post", f"/key/{old}/next"))["kid"]
    for body in ({"state": "enabled"}, {"rules": {"raw": True, "per_day": 5}}, {"labels": {}}):
        await refused(await client.patch(f"/key/{following}", json=body), 409, "key-not-usable")
    alias = {"alias": "b"}
    path = f"/key/{following}/associate"
    await refused(await client.post(path, json=alias), 409, "key-not-usable")
    for step in ("next", "rotate"):
        path = f"/key/{following}/{step}"
        await refused(await client.post(path), 409, "key-not-usable")
    rules = {"raw": True, "per_day": 3}
    await call("patch", f"/key/{old}", {"rules": rules, "labels": {"n": "2"}})
    new = await call("post", f"/key/{old}/rotate")
    assert (new["kid"], new["rules"], new["labels"]) == (following, rules, {"n": "2"})


@pytest.mark.shared_service
@pytest.mark.parametrize("state", ["disabled", "verify-only"])
async def test_a_key_that_is_not_enabled_is_not_replaced_by_its_next_key(
    client, call, generate, state
):
    kid = (await generate(alias="a"))["kid"]
    following = (await call("post", f"/key/{kid}/next"))["kid"]
    await call("patch", f"/key/{kid}", {"state": state})
    for step in ("next", "rotate"):
        await refused(await client.post(f"/key/{kid}/{step}"), 409, "key-not-usable")
    assert (await call("get", "/key?alias=a"))["kid"] == kid
    await call("patch", f"/key/{kid}", {"state": "enabled"})
    assert (await call("post", f"/key/{kid}/rotate"))["kid"] == following


@pytest.mark.each_store
async def test_the_three_steps_come_by_themselves(call, generate, sweep, published, clock):
    old = await generate(alias="a", **STEPS)
    assert {name: old[name] for name in STEPS} == STEPS
    signed = await call("post", "/sign", {"alias": "a", "data": DATA})
    clock(29 * DAY - 60)
    assert await sweep() == []
    clock(29 * DAY + 60)
    [(operation, kid, following)] = await sweep()
    assert (operation, kid) == ("nextKey", old["kid"])
    waiting = await call("get", f"/key/{old['kid']}")
    assert (waiting["next"], waiting["state"]) == (following, "enabled")
    assert seconds(old["created"], waiting["rotates"]) == pytest.approx(30 * DAY + 60, abs=30)
    assert await published() == {old["kid"], "a", following}
    clock(30 * DAY)
    assert await sweep() == []
    clock(30 * DAY + 120)
    assert await sweep() == [("rotateKey", old["kid"], following)]
    assert await sweep() == []
    new = await call("get", "/key?alias=a")
    assert (new["kid"], new["state"]) == (following, "enabled")
    assert {name: new[name] for name in STEPS} == STEPS
    assert seconds(old["created"], new["rotates"]) == pytest.approx(60 * DAY, abs=300)
    left = await call("get", f"/key/{old['kid']}")
    assert seconds(old["created"], left["retires"]) == pytest.approx(32 * DAY, abs=300)
    assert not {"rotate_every", "publish_ahead", "retire_after"} & left.keys()
    body = {"alias": "a", "data": DATA, "sig": signed["sig"]}
    assert await call("post", "/verify", body) == {"valid": True}
    assert await published() == {old["kid"], "a", following}
    clock(32 * DAY + 240)
    # It is disabled from then on; the sweep writes it down.
    assert await published() == {"a", following}
    assert (await call("get", f"/key/{old['kid']}"))["state"] == "disabled"
    assert await sweep() == [("retireKey", old["kid"], None)]
    assert await sweep() == []
    clock(0)  # a clock that is set back brings no key back
    assert await published() == {"a", following}
    assert await call("post", "/verify", body) == {"valid": False}


@pytest.mark.each_store
async def test_a_service_that_was_down_still_publishes_first(call, generate, sweep, clock):
    old = (await generate(alias="a", **STEPS))["kid"]
    clock(300 * DAY)
    [(operation, kid, following)] = await sweep()
    assert (operation, kid) == ("nextKey", old)
    assert await sweep() == []
    clock(301 * DAY - 60)
    assert await sweep() == []
    clock(301 * DAY + 60)
    assert await sweep() == [("rotateKey", old, following)]


async def test_a_shorter_period_does_not_rotate_before_the_next_key_was_published(
    call, generate, sweep, clock
):
    old = await generate(alias="a", **STEPS)
    following = (await call("post", f"/key/{old['kid']}/next"))["kid"]
    changed = await call(
        "patch", f"/key/{old['kid']}", {"rotate_every": 2 * HOUR, "publish_ahead": HOUR}
    )
    assert seconds(old["created"], changed["rotates"]) == pytest.approx(2 * HOUR, abs=60)
    changed = await call(
        "patch", f"/key/{old['kid']}", {"rotate_every": DAY, "publish_ahead": DAY - 1}
    )
    assert seconds(old["created"], changed["rotates"]) == pytest.approx(DAY, abs=60)
    clock(DAY + 60)
    assert await sweep() == [("rotateKey", old["kid"], following)]


async def test_steps_of_sweeps_are_counted(client, call, generate, sweep, clock):
    """Not calls of others; a step that failed is counted again when it is tried again."""
    await call("patch", "/profile/default", {"max_keys": 2})
    old = (await generate(alias="a", **STEPS))["kid"]

    async def counted():
        """The nextKey, rotateKey and retireKey that were taken, and those that failed."""
        registry = CollectorRegistry()
        async with StateMetrics(registry, counts_keys=False).sampled(client.app):
            pass
        return [
            registry.get_sample_value(f"minikms_rotation_{name}_total", {"step": step})
            for name in ("steps", "steps_failed")
            for step in ("nextKey", "rotateKey", "retireKey")
        ]

    assert await counted() == [0] * 6
    spare = (await generate())["kid"]
    for hours in (1, 2):
        clock(29 * DAY + hours * HOUR + 60)
        assert await sweep() == []
        assert await sweep() == []
        assert await counted() == [0, 0, 0, hours, 0, 0]
    await call("delete", f"/key/{spare}")
    clock(29 * DAY + 4 * HOUR)
    [(_, _, following)] = await sweep()
    clock(31 * DAY)
    assert await sweep() == [("rotateKey", old, following)]
    assert await counted() == [1, 1, 0, 2, 0, 0]
    clock(34 * DAY)
    assert await sweep() == [("retireKey", old, None)]
    await call("patch", "/profile/default", {"max_keys": None})
    for step in ("next", "rotate"):
        await call("post", f"/key/{following}/{step}")
    assert await counted() == [1, 1, 1, 2, 0, 0]


@pytest.mark.each_store
async def test_two_services_make_one_next_key_and_rotate_once(
    client, call, generate, start_swept, any_store, sweep, clock
):
    old = [(await generate(alias=f"a{number}", **STEPS))["kid"] for number in range(4)]
    services = [client.app[SERVICE]]
    if any_store:
        services.append((await start_swept(create_service(Config(**any_store)))).app[SERVICE])
    for at, step in ((29 * DAY + 60, "nextKey"), (31 * DAY, "rotateKey"), (34 * DAY, "retireKey")):
        clock(at)
        sweeps = [sweep(service) for service in services for _ in range(4)]
        lines = [line for lines in await asyncio.gather(*sweeps) for line in lines]
        assert sorted((name, kid) for name, kid, _ in lines) == sorted((step, kid) for kid in old)
        if step == "nextKey":
            following = {kid: new for _, kid, new in lines}
        elif step == "rotateKey":
            assert {kid: new for _, kid, new in lines} == following
    assert len(await call("get", "/keys")) == 8


@pytest.mark.shared_service
async def test_a_rotation_can_wait_until_the_next_key_was_published(client, call, generate, clock):
    kid = (await generate(alias="a"))["kid"]
    path = f"/key/{kid}/rotate?if_published=60"
    assert (await refused(await client.post(path), 409, "too-early"))["detail"] == (
        "The key has no next key."
    )
    following = (await call("post", f"/key/{kid}/next"))["kid"]
    await refused(await client.post(path), 409, "too-early")
    clock(61)
    assert (await call("post", path))["kid"] == following
    for text in ("-1", "1.5", "x", "99999999999"):
        path = f"/key/{following}/rotate?if_published={text}"
        await refused(await client.post(path), 422, "validation-failed")


@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"publish_ahead": DAY}, "#/publish_ahead"),
        ({"rotate_every": DAY, "publish_ahead": DAY}, "#/publish_ahead"),
        ({"rotate_every": 365 * DAY, "publish_ahead": 90 * DAY + 1}, "#/publish_ahead"),
        ({"rotate_every": DAY, "publish_ahead": 59}, "#/publish_ahead"),
        ({"retire_after": 59}, "#/retire_after"),
        ({"retire_after": 3650 * DAY + 1}, "#/retire_after"),
        ({"retire_after": DAY, "delete_after": 60}, "#/delete_after"),
        ({"retire_after": DAY, "rules": {"jws": {"max_lifetime": DAY + 1}}}, "#/retire_after"),
    ],
)
async def test_numbers_that_do_not_fit_are_refused(client, call, generate, given, pointer):
    body = {"alg": "ed25519", **given}
    async with client.post("/key/generate", json=body) as response:
        problem = await refused(response, 422, "validation-failed")
    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    if "delete_after" not in given:
        kid = (await generate())["kid"]
        async with client.patch(f"/key/{kid}", json=given) as response:
            problem = await refused(response, 422, "validation-failed")
        assert [each["pointer"] for each in problem["errors"]] == [pointer]


@pytest.mark.each_store
async def test_readers_may_not_keep_the_set_longer_than_next_keys_are_published(
    client, call, generate
):
    async with client.get("/jwks.json") as response:
        assert response.headers["Cache-Control"] == "no-cache"
    kid = (await generate())["kid"]
    await call("patch", "/profile/default", {"jwks_max_age": HOUR})
    async with client.get("/jwks.json") as response:
        assert response.headers["Cache-Control"] == f"max-age={HOUR}"
    body = {"rotate_every": DAY, "publish_ahead": HOUR - 1}
    await refused(await client.patch(f"/key/{kid}", json=body), 422, "validation-failed")
    made = {"alg": "ed25519", **body}
    await refused(await client.post("/key/generate", json=made), 422, "validation-failed")
    await call("patch", f"/key/{kid}", {**body, "publish_ahead": HOUR})


@pytest.mark.each_store
async def test_a_key_is_rotated_and_disabled_though_readers_keep_the_set_for_longer_by_now(
    client, call, generate
):
    old = (await generate(rotate_every=DAY, publish_ahead=HOUR))["kid"]
    await call("patch", "/profile/default", {"jwks_max_age": 2 * HOUR})
    new = await call("post", f"/key/{old}/rotate")
    assert new["publish_ahead"] == HOUR
    assert (await call("patch", f"/key/{old}", {"state": "disabled"}))["state"] == "disabled"
    body = {"publish_ahead": HOUR + 1}
    await refused(await client.patch(f"/key/{new['kid']}", json=body), 422, "validation-failed")


@pytest.mark.each_store
async def test_a_retired_key_comes_back_only_by_a_call(call, generate, published, sweep, clock):
    old = (await generate(alias="a", retire_after=60))["kid"]
    new = (await call("post", f"/key/{old}/rotate"))["kid"]
    clock(61)
    assert await published() == {"a", new}
    back = await call("patch", f"/key/{old}", {"state": "verify-only"})
    assert (back["state"], "retires" in back) == ("verify-only", False)
    assert await published() == {"a", new, old}
    assert await sweep() == []


@pytest.mark.shared_service
async def test_the_public_key_of_others_has_no_next_key(client, generate):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    async with client.post("/key/import", json={"jwk": jwk}) as response:
        kid = (await response.json())["kid"]
    path = f"/key/{kid}/next"
    await refused(await client.post(path), 422, "unsupported-operation")
    body = {"retire_after": DAY}
    await refused(await client.patch(f"/key/{kid}", json=body), 422, "unsupported-operation")


@pytest.mark.each_store
async def test_a_replaced_key_that_gets_an_alias_signs_and_does_not_retire(
    call, generate, sweep, clock
):
    old = (await generate(alias="a", retire_after=60))["kid"]
    await call("post", f"/key/{old}/rotate")
    await call("patch", f"/key/{old}", {"state": "enabled"})
    await call("post", f"/key/{old}/associate", {"alias": "a"})
    clock(120)
    assert await sweep() == []
    found = await call("get", "/key?alias=a")
    assert (found["kid"], found["state"], "retires" in found) == (old, "enabled", False)
    await call("post", "/sign", {"alias": "a", "data": DATA})


@pytest.mark.each_store
@pytest.mark.parametrize("has_next", [False, True])
async def test_a_key_with_rules_of_a_later_version_is_not_rotated_by_a_sweep(
    client, call, generate, sweep, clock, has_next
):
    old = (await generate(alias="a", rules={"raw": True}, rotate_every=HOUR))["kid"]
    if has_next:
        await call("post", f"/key/{old}/next")
    later = {"rules": None, "unknown": {"rules": {"of_later": 1}}}
    await client.app[STORE].change("default", old, lambda record: replace(record, **later))
    clock(HOUR + 60)
    assert [kid for _, kid, new in await sweep() if new] == []
    assert (await call("get", "/key?alias=a"))["kid"] == old


async def test_a_key_whose_schedule_an_older_version_ended_can_be_changed(client, call, generate):
    """Version 0.4.0 knows `rotate_every`, and leaves `publish_ahead`."""
    kid = (await generate(**STEPS))["kid"]
    ended = {"rotate_every": None, "rotates": None}
    await client.app[STORE].change("default", kid, lambda record: replace(record, **ended))
    assert (await call("patch", f"/key/{kid}", {"labels": {"n": "1"}}))["labels"] == {"n": "1"}


@pytest.mark.each_store
async def test_a_clock_that_is_set_back_or_forward_rotates_to_no_key_too_early(
    call, generate, sweep, clock
):
    old = (await generate(alias="a", **STEPS))["kid"]
    clock(29 * DAY + 60)
    [(_, _, following)] = await sweep()
    clock(0)
    assert await sweep() == []
    kid = (await call("get", "/key?alias=a"))["kid"]
    assert kid == old
    clock(-40 * DAY)
    assert await sweep() == []
    assert (await call("post", f"/key/{old}/next"))["kid"] == following
    clock(30 * DAY)
    assert await sweep() == []
    clock(30 * DAY + 120)
    assert await sweep() == [("rotateKey", old, following)]
    clock(-40 * DAY)
    assert await sweep() == []
    assert (await call("get", f"/key/{old}"))["state"] == "verify-only"
    # A next key that was made while the clock was years ahead waits, and is not rotated to early.
    clock(3650 * DAY)
    lines = await sweep()
    assert ("nextKey", following) in [(step, kid) for step, kid, _ in lines]
    clock(61 * DAY)
    assert await sweep() == []
    assert (await call("get", "/key?alias=a"))["kid"] == following


@pytest.mark.each_store
async def test_a_frozen_profile_makes_no_next_key_and_its_keys_wait(
    client, call, generate, sweep, clock
):
    old = (await generate(alias="a", **STEPS))["kid"]
    await call("patch", "/profile/default", {"frozen": True})
    await refused(await client.post(f"/key/{old}/next"), 409, "profile-frozen")
    for at in (29 * DAY + 60, 31 * DAY):
        clock(at)
        assert await sweep() == []
    await call("patch", "/profile/default", {"frozen": False})
    [(operation, kid, following)] = await sweep()
    assert (operation, kid) == ("nextKey", old)
    await call("patch", "/profile/default", {"frozen": True})
    clock(32 * DAY + 60)
    assert await sweep() == []
    assert [each["kid"] for each in await call("get", "/keys?state=next")] == [following]
    await call("patch", "/profile/default", {"frozen": False})
    assert await sweep() == [("rotateKey", old, following)]


@pytest.mark.each_store
async def test_a_next_key_counts_as_a_key_of_the_profile(client, call, generate, sweep, clock):
    old = (await generate(alias="a", **STEPS))["kid"]
    await call("patch", "/profile/default", {"max_keys": 1})
    await refused(await client.post(f"/key/{old}/next"), 422, "too-many-keys")
    clock(30 * DAY)
    assert [new for _, _, new in await sweep()] in ([], [None])
    await call("patch", "/profile/default", {"max_keys": 2})
    clock(30 * DAY + 2 * HOUR)
    [(operation, _, following)] = await sweep()
    assert operation == "nextKey"
    other = {"alg": "ed25519"}
    await refused(await client.post("/key/generate", json=other), 422, "too-many-keys")
    # The rotation itself needs no more room.
    clock(31 * DAY + 3 * HOUR)
    assert await sweep() == [("rotateKey", old, following)]


@pytest.mark.each_store
async def test_a_longer_time_of_publication_puts_the_rotation_off(call, generate, sweep, clock):
    old = await generate(alias="a", rotate_every=30 * DAY, publish_ahead=HOUR)
    clock(30 * DAY - HOUR + 60)
    [(_, _, following)] = await sweep()
    changed = await call("patch", f"/key/{old['kid']}", {"publish_ahead": DAY})
    assert seconds(old["created"], changed["rotates"]) == pytest.approx(31 * DAY - HOUR, abs=120)
    clock(30 * DAY + HOUR)
    assert await sweep() == []
    clock(31 * DAY)
    assert await sweep() == [("rotateKey", old["kid"], following)]


async def test_a_schedule_of_an_older_version_does_not_rotate_too_early(
    client, call, generate, sweep, clock
):
    """Version 0.4.0 sets `rotates`, and does not know how long the next key has to be published."""
    old = (await generate(alias="a", rotate_every=30 * DAY, publish_ahead=DAY))["kid"]
    following = (await call("post", f"/key/{old}/next"))["kid"]

    async def shorten(session):
        record = await load_record(session, old)
        sooner = replace(record, rotates=record.created + HOUR * SECOND)
        await replace_scheduled(session, record, sooner)

    await client.app[STORE].database.write("default", shorten)
    clock(2 * HOUR)
    assert await sweep() == []
    clock(DAY + 60)
    assert await sweep() == [("rotateKey", old, following)]


@pytest.mark.each_store
async def test_few_next_keys_are_listed_among_many_keys(call, generate):
    old = (await generate(alias="a"))["kid"]
    await call("post", "/key/generate/batch", {"alg": "ed25519", "count": 400})
    following = await call("post", f"/key/{old}/next")
    assert await call("get", "/keys?state=next") == [following]
    await call("post", f"/key/{old}/rotate")
    assert await call("get", "/keys?state=next") == []


async def test_a_key_that_is_not_enabled_is_no_failed_step(client, call, generate, sweep, clock):
    kid = (await generate(alias="a", **STEPS))["kid"]
    await call("patch", f"/key/{kid}", {"state": "disabled"})
    clock(30 * DAY)
    assert [new for _, _, new in await sweep() if new] == []
    assert client.app[SERVICE].rotation.failed == {}


async def test_a_sweep_goes_on_with_the_steps_that_the_last_one_left(
    call, generate, sweep, clock, monkeypatch
):
    monkeypatch.setattr("minikms.store.keys.rotation._DUE", 2)
    kids = {(await generate(alias=f"a{number}", **STEPS))["kid"] for number in range(5)}
    clock(29 * DAY + 3 * HOUR)  # the hour in which they are due is over
    found = [kid for _ in range(4) for _, kid, _ in await sweep()]
    assert (len(found), set(found)) == (5, kids)
