"""Key management at the Vault door: scopes, other profiles' keys, the audit log, no secrets."""

import json

import pytest

# Each call of key management, and its scope.
CALLS = {
    "POST transit/keys/new": "keys:write",
    "GET transit/keys/k": "keys:read",
    "LIST transit/keys": "keys:read",
    "GET transit/keys?list=true": "keys:read",
    "POST transit/keys/k/config": "keys:write",
    "POST transit/keys/k/rotate": "keys:write",
    "POST transit/keys/k/trim": "keys:delete",
    "DELETE transit/keys/k/soft-delete": "keys:write",
    "POST transit/keys/k/soft-delete-restore": "keys:write",
    "DELETE transit/keys/k": "keys:delete",
    "POST transit/keys/new/import": "keys:write",
    "POST transit/keys/k/import_version": "keys:write",
    "GET transit/export/signing-key/k": "keys:export",
    "GET transit/export/public-key/k": "keys:read",
    "GET transit/export/public-key/k/latest": "keys:read",
    "GET transit/export/certificate-chain/k": "keys:read",
    "GET transit/export/hmac-key/k/1": "keys:export",
    "GET transit/export/other-key/k": "keys:export",
    "GET transit/backup/k": "keys:export",
    "POST transit/restore/k": "keys:write",
    "GET transit/wrapping_key": "keys:write",
    "GET transit/cache-config": "keys:read",
    "POST transit/cache-config": "keys:write",
    "GET transit/config/keys": "keys:read",
    "POST transit/config/keys": "keys:write",
    "POST transit/keys/k/csr": "sign",
    "POST transit/keys/k/set-certificate": "keys:write",
}
SCOPES = {"keys:read", "keys:write", "keys:export", "keys:delete", "sign", "decrypt"}
# A scope, and another scope that also suffices.
ALSO = {"keys:delete": "keys:write"}


@pytest.fixture
async def guarded(start_vault, admin, tmp_path):
    """A service with tokens and an audit log; gives its client, the admin's token and the log."""
    token, path = admin
    log = tmp_path / "audit.jsonl"
    vault = await start_vault(auth="token", admin_token_file=path, audit_log=str(log))
    body = {"type": "ed25519", "exportable": True}
    await vault.data("POST", "transit/keys/k", body, token=token)
    return vault, token, log


async def issue(vault, token, *scopes, profile="default"):
    body = {"name": "caller", "scopes": scopes, "profiles": [profile]}
    headers = {"Authorization": f"Bearer {token}"}
    made = await vault.rest.post("/tokens", json=body, headers=headers)
    assert made.status == 200, await made.text()
    return (await made.json())["token"]


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_needs_its_scope(guarded, call):
    vault, token, _ = guarded
    method, path = call.split()
    enough = {CALLS[call], ALSO.get(CALLS[call], CALLS[call])}
    lacking = await issue(vault, token, *(SCOPES - enough))
    for other in ("", "wrong", lacking):
        status, answer = await vault.call(method, path, token=other)
        assert (status, "permission denied" in answer["errors"][0]) == (403, True)
    for scope in sorted(enough):
        status, _ = await vault.call(method, path, token=await issue(vault, token, scope))
        assert status in (200, 204, 400)


@pytest.mark.parametrize("call", CALLS)
async def test_another_profile_does_not_have_the_key(guarded, call):
    vault, token, _ = guarded
    headers = {"Authorization": f"Bearer {token}"}
    await vault.rest.post("/profile", json={"name": "other"}, headers=headers)
    before = await vault.data("GET", "transit/keys/k", token=token)
    method, path = call.split()
    body = {"deletion_allowed": True, "min_available_version": 1}
    await vault.call(method, path, body, token=token, **{"X-Vault-Namespace": "other"})
    assert await vault.data("GET", "transit/keys/k", token=token) == before
    # A caller of another profile alone is refused.
    stranger = await issue(vault, token, *SCOPES, profile="other")
    status, _ = await vault.call(method, path, body, token=stranger)
    assert status in (403, 404)
    assert await vault.data("GET", "transit/keys/k", token=token) == before


async def test_changes_are_audited_with_the_key_that_they_concern(guarded):
    vault, token, log = guarded

    async def kid():
        headers = {"Authorization": f"Bearer {token}"}
        answer = await vault.rest.get("/key", params={"alias": "k"}, headers=headers)
        return (await answer.json())["kid"]

    def last():
        """The first line of the last call; lines for the other removed keys follow it."""
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        last = lines[-1]["request_id"]
        return next(line for line in lines if line.get("request_id") == last)

    for method, path, body, operation in (
        ("POST", "keys/k/rotate", None, "rotateKey"),
        ("POST", "keys/k/config", {"deletion_allowed": True}, "configureKey"),
        ("GET", "keys/k", None, "readKey"),
        ("GET", "export/signing-key/k/2", None, "exportKey"),
        ("DELETE", "keys/k", None, "deleteKey"),
    ):
        concerned = await kid()
        status, _ = await vault.call(method, f"transit/{path}", body, token=token)
        assert status in (200, 204)
        event = last()
        assert (event["operation"], event["outcome"]) == (f"vault:{operation}", "success")
        # A rotation concerns the key that it replaces, as at the REST port.
        assert event["kid"] == concerned
        assert event.get("new_kid") == (await kid() if operation == "rotateKey" else None)


async def test_an_export_names_every_key_in_the_audit_log(guarded):
    vault, token, log = guarded
    for _ in range(2):
        await vault.data("POST", "transit/keys/k/rotate", token=token)
    before = len(log.read_text().splitlines())
    await vault.data("GET", "transit/export/signing-key/k", token=token)
    events = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    exported = [event for event in events if event["operation"] == "vault:exportKey"]
    assert len({event["kid"] for event in exported}) == 3


async def test_no_exported_or_imported_secret_is_logged(guarded, caplog):
    vault, token, log = guarded
    exported = await vault.data("GET", "transit/export/signing-key/k", token=token)
    secret = exported["keys"]["1"]
    body = {"ciphertext": secret, "type": "ed25519"}
    await vault.call("POST", "transit/keys/other/import", body, token=token)
    assert secret not in log.read_text()
    assert secret not in caplog.text


async def test_the_audit_log_names_each_key_that_is_destroyed(guarded):
    vault, token, log = guarded

    async def call(method, path, body=None):
        """Call, and give the kids that its lines in the audit log have."""
        before = len(log.read_text().splitlines())
        status, answer = await vault.call(method, f"transit/keys/k{path}", body, token)
        assert status in (200, 204), answer
        lines = [json.loads(line) for line in log.read_text().splitlines()[before:]]
        assert {line["outcome"] for line in lines} == {"success"}
        assert all(line["alg"] == "ed25519" for line in lines)
        return {line["kid"] for line in lines}

    kids = {kid for _ in range(3) for kid in await call("POST", "/rotate")}
    least = {"min_decryption_version": 3, "min_encryption_version": 3, "deletion_allowed": True}
    (newest,) = await call("POST", "/config", least)
    kids.add(newest)
    trimmed = await call("POST", "/trim", {"min_available_version": 3})
    assert len(trimmed) == 3
    deleted = await call("DELETE", "")
    assert trimmed & deleted == {newest}
    assert trimmed | deleted == kids
    assert len(kids) == 4
