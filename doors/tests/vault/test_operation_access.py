"""Operations of the Transit engine: their scopes, other profiles' keys, and the audit log."""

import base64
import json

import pytest

from minikms.events import CURRENT
from minikms.store.askar.sessions import Session

INPUT = base64.b64encode(b"a message").decode()
SIGNED = "vault:v1:AAAA"

# Each call, and the scopes that it needs; None for any token.
CALLS = {
    ("sign/k", "input"): {"sign"},
    ("sign/k/sha2-512", "input"): {"sign"},
    ("verify/k", "signature"): {"verify"},
    ("verify/k", "hmac"): {"mac"},
    ("hmac/k", "input"): {"mac"},
    ("encrypt/c", "plaintext"): {"encrypt"},
    ("encrypt/made", "plaintext"): {"encrypt", "keys:write"},
    ("decrypt/c", "ciphertext"): {"decrypt"},
    ("rewrap/c", "ciphertext"): {"decrypt", "encrypt"},
    ("datakey/plaintext/c", "bits"): {"encrypt"},
    ("random", "bytes"): {"random"},
    ("hash", "input"): set(),
}


@pytest.fixture
async def guarded(start_vault, admin, tmp_path):
    """A service with tokens and an audit log; gives its client and the log's path."""
    token, path = admin
    log = tmp_path / "audit.jsonl"
    vault = await start_vault(auth="token", admin_token_file=path, audit_log=str(log))
    for name, kind in (("k", "ed25519"), ("c", "aes256-gcm96")):
        await vault.data("POST", f"transit/keys/{name}", {"type": kind}, token=token)
    return vault, token, log


async def issue(vault, token, *scopes):
    body = {"name": "caller", "scopes": scopes, "profiles": ["default"]}
    headers = {"Authorization": f"Bearer {token}"}
    made = await vault.rest.post("/tokens", json=body, headers=headers)
    assert made.status == 200, await made.text()
    return (await made.json())["token"]


async def body_of(vault, token, path, member):
    values = {"input": INPUT, "plaintext": INPUT, "bits": 256, "bytes": 8}
    if member == "ciphertext":
        sealed = await vault.data("POST", "transit/encrypt/c", {"plaintext": INPUT}, token=token)
        return {member: sealed[member]}
    if member == "signature":
        signed = await vault.data("POST", "transit/sign/k", {"input": INPUT}, token=token)
        return {"input": INPUT, member: signed[member]}
    if member == "hmac":
        made = await vault.data("POST", "transit/hmac/k", {"input": INPUT}, token=token)
        return {"input": INPUT, member: made[member]}
    return {member: values[member]}


@pytest.mark.parametrize(("path", "member"), CALLS)
async def test_a_call_needs_its_scopes_and_no_others(guarded, path, member):
    vault, token, _ = guarded
    needed = CALLS[path, member]
    body = await body_of(vault, token, path, member)
    every = {"sign", "verify", "encrypt", "decrypt", "mac", "random", "keys:write", "keys:read"}
    assert (await vault.call("POST", f"transit/{path}", body))[0] == 403
    for scope in needed:
        other = await issue(vault, token, *(every - {scope}))
        status, answer = await vault.call("POST", f"transit/{path}", body, token=other)
        assert (status, "permission denied" in answer["errors"][0]) == (403, True)
    enough = await issue(vault, token, *(needed or {"derive"}))
    assert (await vault.call("POST", f"transit/{path}", body, token=enough))[0] == 200


async def test_a_scope_that_lacks_makes_no_key(guarded):
    vault, token, _ = guarded
    caller = await issue(vault, token, "encrypt")
    body = {"plaintext": INPUT}
    assert (await vault.call("POST", "transit/encrypt/made", body, token=caller))[0] == 403
    assert (await vault.call("GET", "transit/keys/made", token=token))[0] == 404


async def test_the_audit_log_has_the_key_of_each_call(guarded):
    vault, token, log = guarded
    for kind in ("k", "c"):
        await vault.call("POST", f"transit/keys/{kind}/rotate", token=token)
    for path, member in CALLS:
        body = await body_of(vault, token, path, member)
        await vault.data("POST", f"transit/{path}", body, token=token)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kids = {}
    for line in lines:
        if (operation := line.get("operation", "")).startswith("vault:"):
            kids.setdefault(operation, set()).add(line.get("kid"))
    for operation in ("sign", "verify", "hmac", "encrypt", "decrypt", "datakey", "rewrap"):
        assert None not in kids[f"vault:{operation}"], operation


async def test_a_batch_has_a_line_for_the_key_of_each_version(guarded):
    vault, token, log = guarded
    old = await vault.data("POST", "transit/encrypt/c", {"plaintext": INPUT}, token=token)
    await vault.call("POST", "transit/keys/c/rotate", token=token)
    new = await vault.data("POST", "transit/encrypt/c", {"plaintext": INPUT}, token=token)
    items = [{"ciphertext": each["ciphertext"]} for each in (old, new, old)]
    before = len(log.read_text().splitlines())
    await vault.data("POST", "transit/decrypt/c", {"batch_input": items}, token=token)
    lines = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    assert [line["operation"] for line in lines] == ["vault:decrypt"] * 2
    assert len({line["kid"] for line in lines}) == 2


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("sign/k", "signing key not found"),
        ("verify/k", "signature verification key not found"),
        ("hmac/k", "encryption key not found"),
        ("decrypt/c", "encryption key not found"),
        ("rewrap/c", "encryption key not found"),
    ],
)
async def test_a_key_of_another_profile_looks_unknown(guarded, path, sentence):
    vault, token, _ = guarded
    headers = {"Authorization": f"Bearer {token}"}
    assert (
        await vault.rest.post("/profile", json={"name": "other"}, headers=headers)
    ).status == 200
    body = {"input": INPUT, "signature": SIGNED, "ciphertext": SIGNED}
    headers = {"X-Vault-Namespace": "other"}
    status, answer = await vault.call("POST", f"transit/{path}", body, token=token, **headers)
    assert (status, answer["errors"]) == (400, [sentence])


async def test_a_cold_decrypt_of_an_old_version_reads_two_entries(start_vault, monkeypatch):
    vault = await start_vault(cache_size=0)
    sealed = await vault.data("POST", "transit/encrypt/c", {"plaintext": INPUT})
    await vault.call("POST", "transit/keys/c/rotate")
    fetched, original = [], Session.fetch

    async def fetch(self, category, name, **more):
        if CURRENT.get() is not None:  # not by work that the service does beside calls
            fetched.append(category)
        return await original(self, category, name, **more)

    monkeypatch.setattr(Session, "fetch", fetch)
    body = {"ciphertext": sealed["ciphertext"]}
    assert (await vault.data("POST", "transit/decrypt/c", body))["plaintext"] == INPUT
    assert fetched == ["minikms.alias", "minikms.key"]
