"""Calls under `sys/` at the Vault door."""

import json

import pytest

from minikms.errors import StoreUnavailable
from minikms.store.keys.key_store import KeyStore

MOUNT = {"type": "transit", "description": "the keys of Mini KMS"}


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("sys/health", {"initialized": True, "sealed": False, "standby": False}),
        ("sys/seal-status", {"initialized": True, "sealed": False, "t": 1, "n": 1}),
        ("sys/leader", {"ha_enabled": False}),
        ("sys/init", {"initialized": True}),
    ],
)
async def test_status_needs_no_token_and_is_not_enveloped(guarded, path, members):
    status, answer = await guarded.call("GET", path)
    assert status == 200
    assert members.items() <= answer.items()
    assert "data" not in answer


async def test_status_is_not_in_the_audit_log(guarded, audit_lines):
    for path in ("sys/health", "sys/seal-status", "sys/leader"):
        await guarded.call("GET", path, token="wrong")
    assert audit_lines() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "sys/mounts"),
        ("GET", "sys/mounts/transit"),
        ("POST", "sys/mounts/transit"),
        ("GET", "sys/internal/ui/mounts/transit"),
        ("POST", "sys/capabilities-self"),
    ],
)
async def test_the_rest_needs_a_token(guarded, method, path):
    assert await guarded.call(method, path) == (403, {"errors": ["permission denied"]})


async def test_the_only_mount(vault):
    _, answer = await vault.call("GET", "sys/mounts")
    assert list(answer["data"]) == ["transit/"]
    assert MOUNT.items() <= answer["data"]["transit/"].items()
    assert answer["transit/"] == answer["data"]["transit/"]
    _, answer = await vault.call("GET", "sys/mounts/transit")
    assert MOUNT.items() <= answer["data"].items()
    assert answer["type"] == "transit"
    for path in ("transit", "transit/", "transit/keys/anything"):
        found = await vault.data("GET", f"sys/internal/ui/mounts/{path}")
        assert (found["path"], found["type"]) == ("transit/", "transit")
    found = await vault.data("GET", "sys/internal/ui/mounts")
    assert list(found["secret"]) == ["transit/"]


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("POST", "sys/mounts/transit", 400, "path is already in use at transit/"),
        ("PUT", "sys/mounts/transit", 400, "path is already in use at transit/"),
        ("GET", "sys/mounts/kv", 400, "No secret engine mount at kv/"),
        ("POST", "sys/mounts/transit/", 400, "cannot write to a path ending in '/'"),
        (
            "GET",
            "sys/internal/ui/mounts/kv",
            403,
            "preflight capability check returned 403, please ensure client's policies grant access"
            ' to path "kv/"',
        ),
    ],
)
async def test_a_mount_is_refused(vault, method, path, status, sentence):
    body = {"type": "transit"} if method != "GET" else None
    assert await vault.call(method, path, body) == (status, {"errors": [sentence]})


async def test_another_mount_cannot_be_made(vault):
    status, answer = await vault.call("POST", "sys/mounts/other", {"type": "transit"})
    assert status == 400
    assert "transit/" in answer["errors"][0]


async def test_capabilities_follow_from_scopes(guarded, issue):
    token = await issue("sign", "keys:read")
    expected = {
        "transit/sign/payments": ["create", "update"],
        "transit/keys/payments": ["read"],
        "transit/keys": ["list"],
        "transit/decrypt/payments": ["deny"],
        "transit/verify/payments": ["deny"],
        "sys/capabilities-self": ["create", "update"],
        "kv/data": ["deny"],
    }
    body = {"paths": list(expected)}
    _, answer = await guarded.call("POST", "sys/capabilities-self", body, token=token)
    assert answer["data"] == expected
    assert expected.items() <= answer.items()
    one = {"path": "transit/sign/payments"}
    data = await guarded.data("POST", "sys/capabilities-self", one, token=token)
    assert data == {
        "capabilities": ["create", "update"],
        "transit/sign/payments": ["create", "update"],
    }


@pytest.mark.parametrize("scope", ["verify", "mac"])
async def test_either_scope_is_enough_to_verify(guarded, issue, scope):
    token, path = await issue(scope), "transit/verify/payments"
    data = await guarded.data("POST", "sys/capabilities-self", {"path": path}, token=token)
    assert data["capabilities"] == ["create", "update"]


async def test_no_name_is_twice_in_an_answer(vault):
    paths = ["data", "auth", "warnings", "kv/data"]
    async with vault.session.post(
        f"{vault.url}/v1/sys/capabilities-self", json={"paths": paths}
    ) as answer:
        found = []
        json.loads(await answer.text(), object_pairs_hook=found.append)
    for pairs in found:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names))
    assert sorted(name for name, _ in found[0]) == sorted(paths)


async def test_the_health_is_that_of_a_sealed_vault_if_the_store_is_away(vault, monkeypatch):
    async def away(self):
        raise StoreUnavailable

    monkeypatch.setattr(KeyStore, "ping", away)
    status, answer = await vault.call("GET", "sys/health")
    assert status == 503
    assert {"initialized": True, "sealed": True, "standby": True}.items() <= answer.items()
    assert (await vault.call("HEAD", "sys/health"))[0] == 503
    status, answer = await vault.call("GET", "sys/seal-status")
    assert (status, answer["sealed"]) == (200, True)
    monkeypatch.undo()
    assert (await vault.call("HEAD", "sys/health"))[0] == 200


async def test_capabilities_need_a_path(vault):
    answer = await vault.call("POST", "sys/capabilities-self", {})
    assert answer == (400, {"errors": ["paths must be supplied"]})
