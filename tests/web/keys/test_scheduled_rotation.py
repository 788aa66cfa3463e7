"""Keys that the service rotates by itself: when, once, and how callers and verifiers go on."""

import asyncio
import base64
import json
import time
from datetime import datetime

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from problems import refused

from minikms.config import Config
from minikms.errors import AuditUnavailable
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE, STORE

DATA = "aGVsbG8="
HOUR = 3600


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
            lines.extend((each.operation, each.kid, outcome) for each in events)

        await (service or client.app[SERVICE]).sweep(sink)
        return lines

    return call


@pytest.fixture
def by_alias(client):
    """Find the key that an alias names."""

    async def find(alias="a"):
        async with client.get("/key", params={"alias": alias}) as response:
            assert response.status == 200
            return await response.json()

    return find


async def schedules(client):
    """Count the stored schedules."""

    async def work(session):
        return await session.count("minikms.rotation")

    return await client.app[SERVICE].operations.store.database.run("default", work)


def seconds_of(key):
    """The seconds from a key's creation to its next rotation."""
    created, rotates = (datetime.fromisoformat(key[name]) for name in ("created", "rotates"))
    return (rotates - created).total_seconds()


async def patch(client, kid, **body):
    async with client.patch(f"/key/{kid}", json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


@pytest.mark.each_store
@pytest.mark.parametrize("alg", ["ed25519", "a256gcm", "bls12381g1", "rsa2048"])
async def test_a_due_key_is_rotated_with_all_that_it_has(
    client, generate, sweep, by_alias, clock, alg
):
    life = {"labels": {"n": "1"}, "rules": {"raw": True, "per_day": 9}, "rotate_every": HOUR}
    old = await generate(alg, alias="a", exportable=True, **life)
    assert (old["rotate_every"], seconds_of(old)) == (HOUR, HOUR)
    await client.post(f"/key/{old['kid']}/associate", json={"alias": "b"})
    clock(HOUR - 60)
    assert await sweep() == []
    assert (await by_alias())["kid"] == old["kid"]
    clock(HOUR + 1)
    assert await sweep() == [("rotateKey", old["kid"], "success")]
    new = await by_alias()
    assert new["kid"] != old["kid"]
    assert (new["alg"], new["aliases"], new["labels"]) == (alg, ["a", "b"], {"n": "1"})
    assert (new["exportable"], new["state"], new["rules"]) == (True, "enabled", life["rules"])
    assert (new["rotate_every"], seconds_of(new)) == (HOUR, HOUR)
    left = await (await client.get(f"/key/{old['kid']}")).json()
    assert (left["state"], left["aliases"], left["rules"]) == ("verify-only", [], life["rules"])
    assert "rotate_every" not in left
    assert "rotates" not in left
    assert await sweep() == []
    assert await schedules(client) == 1
    clock(2 * HOUR + 60)
    assert await sweep() == [("rotateKey", new["kid"], "success")]


@pytest.mark.each_store
async def test_it_is_rotated_once_by_many_sweeps_of_two_services(
    client, generate, start_swept, any_store, sweep, clock
):
    aliases = [f"a{number}" for number in range(5)]
    old = [(await generate(alias=alias, rotate_every=HOUR))["kid"] for alias in aliases]
    services = [client.app[SERVICE]]
    if any_store:
        services.append((await start_swept(create_service(Config(**any_store)))).app[SERVICE])
    clock(HOUR + 1)
    sweeps = [sweep(service) for service in services for _ in range(4)]
    lines = [line for lines in await asyncio.gather(*sweeps) for line in lines]
    assert sorted(lines) == sorted(("rotateKey", kid, "success") for kid in old)
    assert len(await (await client.get("/keys")).json()) == 10
    assert await schedules(client) == 5


@pytest.mark.each_store
async def test_a_period_is_set_changed_and_removed(client, generate, sweep, clock):
    kid = (await generate(alias="a"))["kid"]
    first = await patch(client, kid, rotate_every=2 * HOUR)
    assert first["rotate_every"] == 2 * HOUR
    assert 2 * HOUR <= seconds_of(first) < 2 * HOUR + 60
    clock(HOUR)
    assert await patch(client, kid, rotate_every=2 * HOUR) == first  # the time is as before
    assert seconds_of(await patch(client, kid, rotate_every=3 * HOUR)) >= 4 * HOUR
    changed = await patch(client, kid, rotate_every=HOUR)
    assert 2 * HOUR <= seconds_of(changed) < 2 * HOUR + 60
    assert await schedules(client) == 1
    assert await patch(client, kid, labels={"n": "1"}) == changed | {"labels": {"n": "1"}}
    ended = await patch(client, kid, rotate_every=None)
    assert "rotate_every" not in ended
    assert await schedules(client) == 0
    clock(9 * HOUR)
    assert await sweep() == []


async def test_a_rotation_by_a_call_begins_a_new_period(client, generate, sweep, clock):
    old = await generate(alias="a", rotate_every=2 * HOUR)
    clock(HOUR)
    async with client.post(f"/key/{old['kid']}/rotate") as response:
        new = await response.json()
    assert (new["rotate_every"], seconds_of(new)) == (2 * HOUR, 2 * HOUR)
    clock(2 * HOUR + 60)
    assert await sweep() == []
    clock(3 * HOUR + 60)
    assert await sweep() == [("rotateKey", new["kid"], "success")]


@pytest.mark.each_store
async def test_a_deleted_key_leaves_no_schedule(client, generate, sweep, clock):
    now, later = [(await generate(alias=alias, rotate_every=HOUR))["kid"] for alias in "ab"]
    assert (await client.delete(f"/key/{now}")).status == 200
    assert await schedules(client) == 1
    assert (await client.delete(f"/key/{later}?after=30m")).status == 200
    clock(HOUR + 1)
    assert await sweep() == [("sweepKey", later, "success")]
    assert await schedules(client) == 0


@pytest.mark.each_store
@pytest.mark.parametrize(
    ("method", "path", "body", "left"),
    [
        ("post", "/rotate", None, 1),
        ("patch", "", {"rotate_every": 2 * HOUR}, 1),
        ("patch", "", {"rotate_every": None}, 0),
        ("delete", "", None, 0),
    ],
)
async def test_a_schedule_that_the_store_has_lost_stops_no_call(
    client, generate, method, path, body, left
):
    kid = (await generate(alias="a", rotate_every=HOUR))["kid"]

    async def lose(session):
        await session.remove("minikms.rotation", kid)

    await client.app[STORE].database.write("default", lose)
    response = await getattr(client, method)(f"/key/{kid}{path}", json=body)
    assert response.status == 200, await response.text()
    assert await schedules(client) == left


async def test_all_deletions_come_before_rotations(client, generate, sweep, clock):
    rotated = (await generate(alias="a", rotate_every=HOUR))["kid"]
    await client.post("/profile", json={"name": "later"})
    there = {"X-Profile": "later"}
    made = await client.post("/key/generate", json={"alg": "ed25519"}, headers=there)
    deleted = (await made.json())["kid"]
    await client.delete(f"/key/{deleted}?after=30m", headers=there)
    clock(HOUR + 1)
    assert await sweep() == [("sweepKey", deleted, "success"), ("rotateKey", rotated, "success")]


async def test_a_key_without_an_alias_waits_for_one(client, generate, sweep, clock):
    kid = (await generate(rotate_every=HOUR))["kid"]
    clock(HOUR + 1)
    assert await sweep() == []
    await client.post(f"/key/{kid}/associate", json={"alias": "a"})
    assert await sweep() == []
    clock(2 * HOUR + 60)
    assert await sweep() == [("rotateKey", kid, "success")]


@pytest.mark.each_store
async def test_a_disabled_key_waits_until_it_is_enabled(client, generate, sweep, clock, by_alias):
    made = await generate(alias="a", rotate_every=HOUR)
    await patch(client, made["kid"], state="disabled")
    clock(HOUR + 1)
    assert await sweep() == []
    found = await by_alias()
    assert (found["kid"], found["rotates"]) == (made["kid"], made["rotates"])
    await patch(client, made["kid"], state="enabled")
    clock(2 * HOUR + 60)
    assert await sweep() == [("rotateKey", made["kid"], "success")]


@pytest.mark.each_store
async def test_a_key_that_is_to_be_deleted_waits_until_it_is_restored(
    client, generate, sweep, clock, by_alias, caplog
):
    kid = (await generate(alias="a", rotate_every=HOUR))["kid"]
    assert (await client.delete(f"/key/{kid}?after=7d")).status == 200
    clock(HOUR + 1)
    assert await sweep() == []
    assert (await by_alias())["kid"] == kid
    assert "cannot be rotated" not in caplog.text  # nobody has to do anything
    assert (await client.post(f"/key/{kid}/restore")).status == 200
    clock(2 * HOUR + 60)
    assert await sweep() == [("rotateKey", kid, "success")]


@pytest.mark.each_store
async def test_a_period_that_is_set_during_a_sweep_is_kept(client, generate, sweep, clock):
    """Another service found that the key cannot be rotated, and lets sweeps look later."""
    kid = (await generate(alias="a", rotate_every=HOUR))["kid"]
    clock(HOUR + 1)
    await patch(client, kid, rotate_every=2 * HOUR)
    await client.app[STORE].rotations.postpone("default", kid, time.time_ns() + 9 * HOUR * 10**9)
    clock(3 * HOUR + 60)
    assert await sweep() == [("rotateKey", kid, "success")]


async def test_a_key_that_cannot_be_rotated_does_not_hold_up_others(
    client, generate, with_aliases, sweep, clock, caplog
):
    await patch(client, await with_aliases(1001), rotate_every=HOUR)
    kid = (await generate(alias="b", rotate_every=HOUR))["kid"]
    clock(HOUR + 1)
    assert await sweep() == [("rotateKey", kid, "success")]
    assert "cannot be rotated" in caplog.text


async def test_a_damaged_key_does_not_hold_up_others(client, generate, sweep, clock, caplog):
    damaged = (await generate(alias="a", rotate_every=HOUR))["kid"]

    async def damage(session):
        await session.replace("minikms.key", damaged, b"{}")

    await client.app[STORE].database.write("default", damage)
    kid = (await generate(alias="b", rotate_every=HOUR))["kid"]
    clock(HOUR + 1)
    assert await sweep() == [("rotateKey", kid, "success")]
    assert f"{damaged}, whose rotation is due, cannot be rotated" in caplog.text
    assert await sweep() == []


async def test_a_line_that_cannot_be_written_lets_the_key_be(
    client, generate, clock, by_alias, caplog
):
    def full(events, outcome):
        raise AuditUnavailable()

    old = await generate(alias="a", rotate_every=HOUR)
    clock(HOUR + 1)
    await client.app[SERVICE].sweep(full)
    assert (await by_alias())["kid"] == old["kid"]
    assert "cannot be rotated" in caplog.text


@pytest.mark.each_store
async def test_verifiers_go_on_through_the_jwk_set(client, generate, post, sweep, clock):
    """An issuer signs by the alias; a verifier knows the keys by the kid in the header."""
    await generate("p256", alias="issuer", rotate_every=HOUR)
    body = {"alias": "issuer", "payload": DATA, "kid_header": "kid"}
    signed = []
    for rotations in range(3):
        clock(rotations * (HOUR + 60))
        await sweep()
        signed.append((await post("/jws/sign", body))["jws"])
    found = await (await client.get("/jwks.json")).json()
    keys = KeySet.import_key_set(found)
    kids = [jws.deserialize_compact(each, keys, algorithms=["ES256"]).headers() for each in signed]
    assert len({each["kid"] for each in kids}) == 3
    header = json.loads(base64.urlsafe_b64decode(signed[0].split(".")[0] + "=="))
    assert header["kid"] == kids[0]["kid"]


async def test_new_keys_of_a_batch_and_an_import_have_a_period(client, post):
    body = {"alg": "ed25519", "count": 3, "rotate_every": HOUR}
    made = (await post("/key/generate/batch", body))["keys"]
    assert [key["rotate_every"] for key in made] == [HOUR] * 3
    body = {"alg": "hs256", "secret": "A" * 43, "rotate_every": HOUR}
    assert (await post("/key/import", body))["rotate_every"] == HOUR
    assert await schedules(client) == 4


@pytest.mark.shared_service
@pytest.mark.parametrize(
    "every", [0, -1, 3599, 315_360_001, 3600.5, True, "3600", [], pytest.param(2**70, id="huge")]
)
async def test_periods_that_are_refused(client, refuses, generate, every):
    body = {"alg": "ed25519", "rotate_every": every}
    await refuses("/key/generate", body, 422, "validation-failed")
    kid = (await generate())["kid"]
    response = await client.patch(f"/key/{kid}", json={"rotate_every": every})
    await refused(response, 422, "validation-failed")


@pytest.mark.shared_service
async def test_keys_that_are_never_rotated(client, refuses, generate, post):
    jwk = (await generate("p256"))["jwk"]
    await client.post("/profile", json={"name": "rotation"})
    there = {"X-Profile": "rotation"}
    body = {"jwk": jwk}
    response = await client.post("/key/import", json=body | {"rotate_every": HOUR}, headers=there)
    await refused(response, 422, "unsupported-operation")
    response = await client.post("/key/import", json=body, headers=there)
    path = f"/key/{(await response.json())['kid']}"
    response = await client.patch(path, json={"rotate_every": HOUR}, headers=there)
    await refused(response, 422, "unsupported-operation")
    kid = (await generate())["kid"]
    for state in ("disabled", "verify-only"):
        body = {"state": state, "rotate_every": HOUR}
        await refused(await client.patch(f"/key/{kid}", json=body), 409, "key-not-usable")
    assert (await patch(client, kid, state="disabled"))["state"] == "disabled"
    body = {"state": "enabled", "rotate_every": HOUR}
    assert (await patch(client, kid, **body))["rotate_every"] == HOUR
