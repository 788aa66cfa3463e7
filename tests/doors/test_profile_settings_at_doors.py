"""The settings of a profile hold at every door."""

import json
import time

import pytest
from aiohttp import ClientSession
from http_answers import bearer, ok

from minikms.basics import rates

DAY = 24 * 3600
WEEK = 7 * DAY
AWS = {"Content-Type": "application/x-amz-json-1.1"}


class Doors:
    """A client of the doors of a service, each with its own name of a key."""

    def __init__(self, session, urls, rest):
        self.session, self.urls, self.rest = session, urls, rest

    async def call(self, door, method, path, body=None, token="", **headers):
        """The status and the JSON of an answer, None without a body."""
        if token:
            name = {"vault": "X-Vault-Token", "aws": "X-Amz-Security-Token"}.get(door)
            headers |= {name: token} if name else bearer(token)
        content = None if body is None else json.dumps(body)
        url = str(self.urls[door]).rstrip("/") + path
        async with self.session.request(method, url, data=content, headers=headers) as answer:
            return answer.status, json.loads(await answer.read() or b"null")

    async def aws(self, operation, token="", **members):
        target = {**AWS, "X-Amz-Target": f"TrentService.{operation}"}
        return await self.call("aws", "POST", "/", members, token, **target)

    async def make(self, door, name, token=""):
        """Make a key; gives the status, the JSON, and the name that the door gives it."""
        if door == "aws":
            spec = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
            status, body = await self.aws("CreateKey", token, **spec)
            name = body.get("KeyMetadata", {}).get("KeyId", name)
        elif door == "vault":
            body = {"type": "ecdsa-p256"}
            status, body = await self.call(door, "POST", f"/v1/transit/keys/{name}", body, token)
            await self.call(
                door, "POST", f"/v1/transit/keys/{name}/config", {"deletion_allowed": True}, token
            )
        else:
            body = {"kid": name, "alg": "ES256"}
            status, body = await self.call(door, "POST", "/keys", body, token)
        return status, body, name

    async def delete(self, door, name, token=""):
        if door == "aws":
            return await self.aws("ScheduleKeyDeletion", token, KeyId=name, PendingWindowInDays=7)
        path = f"/v1/transit/keys/{name}" if door == "vault" else f"/keys/{name}"
        return await self.call(door, "DELETE", path, None, token)

    async def keys(self, **headers):
        return await ok(await self.rest.get("/keys", headers=headers))

    async def set(self, headers=None, **settings):
        await ok(await self.rest.patch("/profile/default", json=settings, headers=headers))


@pytest.fixture
async def start_all(start_with_doors):
    async with ClientSession() as session:

        async def run(**options):
            client, urls = await start_with_doors("aws", "vault", "eudiplo", **options)
            return Doors(session, urls, client)

        yield run


DOORS = ("aws", "vault", "eudiplo")


@pytest.mark.parametrize("door", DOORS)
async def test_a_door_makes_as_many_keys_as_allowed(start_all, door):
    doors = await start_all()
    await doors.set(max_keys=1)
    assert (await doors.make(door, "one"))[0] == 200
    status, body, _ = await doors.make(door, "two")
    assert "at most 1 keys" in json.dumps(body)
    assert status == {"aws": 400, "vault": 400, "eudiplo": 422}[door]
    if door == "aws":
        assert body["__type"] == "LimitExceededException"


@pytest.mark.parametrize("door", DOORS)
async def test_a_deletion_waits(start_all, door):
    doors = await start_all()
    await doors.set(min_deletion_delay=30 * DAY)
    _, _, name = await doors.make(door, "one")
    status, body = await doors.delete(door, name)
    assert status in (200, 204)
    [key] = await doors.keys()
    assert key["deletes"]
    if door == "aws":
        assert body["PendingWindowInDays"] == 30
        assert body["DeletionDate"] >= time.time() + 29 * DAY
    await ok(await doors.rest.post(f"/key/{key['kid']}/restore"))
    await doors.set(min_deletion_delay=None)
    assert (await doors.delete(door, name))[0] in (200, 204)
    left = await doors.keys()
    assert not left if door != "aws" else left[0]["deletes"]


async def test_vaults_versions_wait_with_their_name(start_all):
    doors = await start_all()
    _, _, name = await doors.make("vault", "one")
    for _ in range(2):
        await doors.call("vault", "POST", f"/v1/transit/keys/{name}/rotate", {})
    await doors.set(min_deletion_delay=WEEK)
    least = {"min_decryption_version": 2, "min_encryption_version": 2}
    await doors.call("vault", "POST", f"/v1/transit/keys/{name}/config", least)
    trim = {"min_available_version": 2}
    assert (await doors.call("vault", "POST", f"/v1/transit/keys/{name}/trim", trim))[0] == 200
    assert [bool(key["deletes"]) for key in await doors.keys()] == [True, False, False]
    assert await doors.delete("vault", name) == (204, None)
    keys = await doors.keys()
    assert [bool(key["deletes"]) for key in keys] == [True, True, True]
    # The name stays with its key, which may be restored.
    assert (await doors.call("vault", "GET", f"/v1/transit/keys/{name}"))[0] == 200
    for key in keys:
        await ok(await doors.rest.post(f"/key/{key['kid']}/restore"))
    signed = {"input": "aGk="}
    assert (await doors.call("vault", "POST", f"/v1/transit/sign/{name}", signed))[0] == 200


async def test_a_name_of_vault_that_is_deleted_twice_leaves_the_versions_of_another(start_all):
    doors = await start_all()
    await doors.make("vault", "one")
    [shared] = await doors.keys()
    moved = {"alias": "two"}
    await ok(await doors.rest.post(f"/key/{shared['kid']}/associate", json=moved))
    other = await ok(await doors.rest.post("/key/generate", json={"alg": "p256"}))
    await ok(await doors.rest.post(f"/key/{other['kid']}/associate", json=moved))
    await doors.call("vault", "POST", "/v1/transit/keys/one/rotate", {})
    await doors.set(min_deletion_delay=WEEK)
    for _ in range(2):
        assert await doors.delete("vault", "one") == (204, None)
    due = {key["kid"]: bool(key["deletes"]) for key in await doors.keys()}
    assert not due[shared["kid"]]
    assert list(due.values()).count(True) == 1


@pytest.mark.parametrize("door", DOORS)
async def test_a_profile_may_require_the_scope_to_delete(start_all, admin, door):
    doors = await start_all(auth="token", admin_token_file=admin[1])
    everything = bearer(admin[0])

    async def issue(*scopes):
        body = {"name": "t", "scopes": ["keys:read", *scopes], "profiles": ["default"]}
        made = await ok(await doors.rest.post("/tokens", json=body, headers=everything))
        return made["token"]

    writer, deleter, reader = await issue("keys:write"), await issue("keys:delete"), await issue()
    refusals = []
    for turn, may in enumerate((False, True)):
        await doors.set(everything, delete_scope=may)
        for token in (reader, writer, deleter):
            _, _, name = await doors.make(door, f"k{turn}{token[5:21]}", writer)
            status, _ = await doors.delete(door, name, token)
            refusals.append(status not in (200, 204))
    assert refusals == [True, False, False, True, True, False]


async def test_vault_trims_only_with_the_scope_to_delete(start_all, admin):
    doors = await start_all(auth="token", admin_token_file=admin[1])
    everything = bearer(admin[0])
    body = {"name": "t", "scopes": ["keys:write", "keys:read"], "profiles": ["default"]}
    writer = (await ok(await doors.rest.post("/tokens", json=body, headers=everything)))["token"]
    _, _, name = await doors.make("vault", "one", writer)
    path = f"/v1/transit/keys/{name}"
    await doors.call("vault", "POST", f"{path}/rotate", {}, writer)
    least = {"min_decryption_version": 2, "min_encryption_version": 2}
    await doors.call("vault", "POST", f"{path}/config", least, writer)
    await doors.set(everything, delete_scope=True)
    trim = {"min_available_version": 2}
    assert (await doors.call("vault", "POST", f"{path}/trim", trim, writer))[0] == 403
    # Nothing is deleted by this.
    assert (await doors.call("vault", "POST", f"{path}/config", least, writer))[0] == 200
    assert (await doors.call("vault", "POST", f"{path}/trim", trim, admin[0]))[0] == 200


@pytest.mark.parametrize("door", DOORS)
async def test_a_call_over_the_rate_is_refused(start_all, monkeypatch, door):
    now = time.monotonic_ns()
    monkeypatch.setattr(rates, "now_ns", lambda: now)
    doors = await start_all()
    await doors.set(calls_per_second=1)
    await doors.keys()
    status, body, _ = await doors.make(door, "one")
    assert (status, "calls_per_second" in json.dumps(body)) == (
        {"aws": 400, "vault": 429, "eudiplo": 429}[door],
        True,
    )
    if door == "aws":
        assert body["__type"] == "ThrottlingException"


@pytest.mark.parametrize("rule", ["per_minute", "per_day"])
@pytest.mark.parametrize("door", DOORS)
async def test_the_rate_of_a_key_holds_at_every_door(start_all, door, rule):
    doors = await start_all()
    _, _, name = await doors.make(door, "one")
    [key] = await doors.keys()
    rules = {"rules": {rule: 2}}
    await ok(await doors.rest.patch(f"/key/{key['kid']}", json=rules))
    signed = {"kid": key["kid"], "data": "aGk"}
    await ok(await doors.rest.post("/sign", json=signed))

    async def sign():
        if door == "aws":
            algorithm = {"Message": "aGk=", "SigningAlgorithm": "ECDSA_SHA_256"}
            return await doors.aws("Sign", KeyId=name, **algorithm)
        if door == "vault":
            body = {"batch_input": [{"input": "aGk="}]}
            return await doors.call(door, "POST", f"/v1/transit/sign/{name}", body)
        body = {"data": "aGk=", "alg": "ES256"}
        return await doors.call(door, "POST", f"/keys/{name}/sign", body)

    assert (await sign())[0] == 200
    status, body = await sign()
    assert (status, rule in json.dumps(body)) == ({"aws": 400}.get(door, 429), True)
    assert (await doors.rest.post("/sign", json=signed)).status == 429


async def test_no_door_changes_a_frozen_profile(start_all):
    doors = await start_all()
    names = {}
    for door in DOORS:
        status, _, names[door] = await doors.make(door, f"{door}-key")
        assert status == 200
    await doors.set(frozen=True)
    before = await doors.keys()
    for door in DOORS:
        refused = 409 if door == "eudiplo" else 400
        assert (await doors.make(door, "another"))[0] == refused
        status, body = await doors.delete(door, names[door])
        assert status == refused
        if door == "aws":
            assert body["__type"] == "KMSInvalidStateException"
    assert await doors.keys() == before
    await doors.set(frozen=False)
    for door in DOORS:
        assert (await doors.delete(door, names[door]))[0] in (200, 204)
