"""Tokens at the Vault door: where they are read, logins, and their facts."""

import json
import time
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection

import orjson
import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, SigningKey, good
from ports import free_port

DENIED = (403, {"errors": ["permission denied"]})
LEASE = 2_764_800
LOGINS = [
    ("auth/approle/login", lambda token: {"role_id": "any", "secret_id": token}),
    ("auth/team-a/login", lambda token: {"role_id": "any", "secret_id": token}),
    ("auth/jwt/login", lambda token: {"role": "any", "jwt": token}),
    ("auth/userpass/login/bob", lambda token: {"password": token}),
]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Vault-Token": "{}"},
        {"Authorization": "Bearer {}"},
        {"X-Vault-Token": "{}", "Authorization": "Bearer wrong"},
        {"X-Vault-Token": "{}", "X-Vault-Request": "true"},
    ],
)
async def test_a_token_is_read_from_either_header(guarded, issue, headers):
    token = await issue("keys:read")
    given = {name: value.format(token) for name, value in headers.items()}
    assert (await guarded.call("LIST", "transit/keys", **given))[0] == 404  # there are no keys yet


async def test_the_first_of_several_tokens_counts(guarded, issue):
    token = await issue("keys:read")
    for tokens, status in ((token, "wrong"), 200), (("wrong", token), 403):
        headers = [("X-Vault-Token", each) for each in tokens]
        url = f"{guarded.url}/v1/auth/token/lookup-self"
        async with guarded.session.get(url, headers=headers) as answer:
            assert answer.status == status


async def test_a_missing_and_a_wrong_token_are_403(guarded):
    assert await guarded.call("GET", "auth/token/lookup-self") == DENIED
    assert await guarded.call("GET", "auth/token/lookup-self", token="wrong") == DENIED
    assert await guarded.call("POST", "transit/sign/k", {}, token="wrong") == DENIED


async def test_a_missing_scope_is_403(guarded, issue):
    token = await issue("verify")
    status, answer = await guarded.call("POST", "transit/sign/k", {"input": ""}, token=token)
    assert (status, answer) == (403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})


async def test_a_namespace_is_a_profile(guarded, issue):
    token = await issue("keys:read", "keys:write", profiles=["alice"])
    for namespace in ("alice", "alice/", "/alice"):
        found = await guarded.call(
            "GET", "auth/token/lookup-self", token=token, **{"X-Vault-Namespace": namespace}
        )
        assert found[0] == 200
    for namespace in ("", "root", "bob", "no such profile"):
        refused = await guarded.call(
            "GET", "auth/token/lookup-self", token=token, **{"X-Vault-Namespace": namespace}
        )
        assert refused == (404, {"errors": ["namespace not found"]})


async def test_a_token_is_looked_up_by_itself(guarded, issue, audit_lines):
    token = await issue("sign", name="signer")
    other = await issue("verify", name="verifier")
    for method, body, sent in (
        ("POST", {"token": token}, other),
        ("POST", {"token": token}, ""),
        ("POST", {}, token),
        ("POST", {"token": ""}, token),
        ("GET", None, token),
    ):
        found = await guarded.data(method, "auth/token/lookup", body, token=sent)
        assert (found["display_name"], found["policies"]) == ("signer", ["sign"])
        assert token not in json.dumps(found)
        assert audit_lines()[-1]["who"] == "signer"
    refused = await guarded.call("POST", "auth/token/lookup", {"token": "nobody"}, token=token)
    assert refused == (403, {"errors": ["bad token"]})
    assert audit_lines()[-1]["outcome"] == "unauthenticated"
    for method, body in (("POST", {}), ("GET", None)):
        assert await guarded.call(method, "auth/token/lookup", body) == DENIED
        assert await guarded.call(method, "auth/token/lookup", body, token="nobody") == DENIED
    other = {"X-Vault-Namespace": "alice"}
    found = await guarded.call("POST", "auth/token/lookup", {"token": token}, **other)
    assert found == (404, {"errors": ["namespace not found"]})


@pytest.mark.parametrize("namespace", ["", "root", "/root/", "/", "default"])
async def test_the_root_namespace_is_the_default_profile(guarded, issue, namespace):
    token = await issue("sign")
    found = await guarded.call(
        "GET", "auth/token/lookup-self", token=token, **{"X-Vault-Namespace": namespace}
    )
    assert found[0] == 200


@pytest.mark.parametrize(("path", "body"), LOGINS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_login_gives_back_the_token(guarded, issue, method, path, body):
    token = await issue("sign", "verify")
    status, answer = await guarded.call(method, path, body(token))
    assert (status, answer["data"]) == (200, None)
    auth = answer["auth"]
    assert auth["client_token"] == token
    assert (auth["lease_duration"], auth["renewable"]) == (LEASE, True)
    assert auth["policies"] == auth["token_policies"] == ["sign", "verify"]
    assert auth["accessor"] == token.split("_")[1]


@pytest.mark.parametrize(("path", "body"), LOGINS)
async def test_a_login_with_a_wrong_token_is_400(guarded, audit_lines, path, body):
    status, answer = await guarded.call("POST", path, body("mkms_0123456789abcdef_wrong"))
    sentence = "invalid role or secret ID"
    if "secret_id" not in body(""):
        sentence = (
            "invalid username or password" if "userpass" in path else "error validating token"
        )
    assert (status, answer) == (400, {"errors": [sentence]})
    (line,) = audit_lines()
    assert (line["who"], line["outcome"]) == ("", "unauthenticated")
    assert line["operation"] == ("vault:loginUser" if "userpass" in path else "vault:login")


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("auth/approle/login", {}, "missing secret_id"),
        ("auth/approle/login", None, "missing secret_id"),
        ("auth/jwt/login", {"jwt": ""}, "missing secret_id"),
        ("auth/userpass/login/bob", {"password": ""}, "missing password"),
    ],
)
async def test_a_login_without_a_token_is_400(vault, path, body, sentence):
    assert await vault.call("POST", path, body) == (400, {"errors": [sentence]})


async def test_a_login_is_audited_and_counted_without_the_token(guarded, issue, audit_lines, admin):
    token = await issue("sign", name="signer", profiles=["alice"])
    body = {"role_id": "any", "secret_id": token}
    status, _ = await guarded.call(
        "POST", "auth/approle/login", body, **{"X-Vault-Namespace": "alice"}
    )
    assert status == 200
    (line,) = audit_lines()
    assert {
        "operation": "vault:login",
        "outcome": "success",
        "who": "signer",
    }.items() <= line.items()
    assert line["profile"] == "alice"
    assert token not in json.dumps(line)


async def test_a_login_to_another_profile_is_refused(guarded, issue, audit_lines):
    token = await issue("sign", profiles=["default"])
    refused = await guarded.call(
        "POST", "auth/approle/login", {"secret_id": token}, **{"X-Vault-Namespace": "alice"}
    )
    assert refused == (404, {"errors": ["namespace not found"]})
    assert audit_lines()[0]["outcome"] == "profile-not-found"


async def test_wrong_logins_are_limited(start_vault, admin):
    vault = await start_vault(auth="token", admin_token_file=admin[1], max_wrong_tokens=3)
    answers = [
        (await vault.call("POST", "auth/approle/login", {"secret_id": f"wrong {n}"}))[0]
        for n in range(5)
    ]
    assert answers == [400, 400, 400, 429, 429]


async def test_without_tokens_a_login_gives_back_what_it_gets(vault):
    status, answer = await vault.call("POST", "auth/approle/login", {"secret_id": "anything"})
    assert (status, answer["auth"]["client_token"]) == (200, "anything")


@pytest.mark.parametrize("seconds", [20, 3600])
async def test_a_lease_ends_with_its_token(guarded, issue, seconds):
    expires = datetime.now(UTC) + timedelta(seconds=seconds + 1)
    token = await issue("sign", expires=expires.strftime("%Y-%m-%dT%H:%M:%SZ"))
    _, answer = await guarded.call("POST", "auth/approle/login", {"secret_id": token})
    assert seconds - 15 <= answer["auth"]["lease_duration"] <= seconds
    assert answer["auth"]["renewable"] is False
    facts = await guarded.data("GET", "auth/token/lookup-self", token=token)
    assert seconds - 15 <= facts["creation_ttl"] <= seconds + 1
    assert facts["renewable"] is False
    assert 1 <= facts["ttl"] <= seconds
    renewed = await guarded.call("POST", "auth/token/renew-self", {}, token=token)
    assert renewed == (400, {"errors": ["lease is not renewable"]})


async def test_the_lease_of_a_token_in_its_last_second_has_time(guarded, issue, monkeypatch):
    """Vault's agent logs in again and again if a lease has no time left."""
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=60)
    token = await issue("sign", expires=expires.strftime("%Y-%m-%dT%H:%M:%SZ"))
    last = int(expires.timestamp()) * 10**9 - 10**8
    monkeypatch.setattr(time, "time_ns", lambda: last)
    _, answer = await guarded.call("POST", "auth/approle/login", {"secret_id": token})
    assert answer["auth"]["lease_duration"] == 1
    assert (await guarded.data("GET", "auth/token/lookup-self", token=token))["ttl"] == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_the_facts_of_a_token_do_not_repeat_it(guarded, issue, method):
    token = await issue("sign", "keys:read", name="issuer")
    facts = await guarded.data(method, "auth/token/lookup-self", token=token)
    assert token not in json.dumps(facts)
    assert (facts["id"], facts["display_name"]) == ("", "issuer")
    assert facts["policies"] == ["keys:read", "sign"]
    assert abs(facts["creation_time"] - time.time()) < 60
    assert (facts["expire_time"], facts["ttl"], facts["renewable"]) == (None, LEASE, True)


async def test_a_token_without_an_expiry_is_renewed(guarded, issue):
    token = await issue("sign")
    _, answer = await guarded.call(
        "POST", "auth/token/renew-self", {"increment": "1h"}, token=token
    )
    assert answer["auth"]["client_token"] == token
    assert (answer["auth"]["lease_duration"], answer["auth"]["renewable"]) == (LEASE, True)


async def test_a_token_is_not_revoked(guarded, issue):
    token = await issue("sign")
    status, answer = await guarded.call("POST", "auth/token/revoke-self", {}, token=token)
    assert (status, len(answer["errors"])) == (400, 1)
    assert (await guarded.call("GET", "auth/token/lookup-self", token=token))[0] == 200


async def test_a_jwt_logs_in_and_is_used(start_vault, tmp_path):
    key = SigningKey()
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(orjson.dumps({"keys": [key.jwk]}))
    vault = await start_vault(
        auth="token", jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=str(jwks)
    )
    token = key.token({"scope": "sign other", "minikms_profiles": ["default"]})
    _, answer = await vault.call("POST", "auth/jwt/login", {"role": "any", "jwt": token})
    assert answer["auth"]["client_token"] == token
    assert 1 <= answer["auth"]["lease_duration"] <= 60
    assert answer["auth"]["policies"] == ["sign"]
    facts = await vault.data("GET", "auth/token/lookup-self", token=token)
    assert (facts["display_name"], facts["renewable"]) == (good()["sub"], False)
    assert 1 <= facts["ttl"] <= 60
    for exp in (1e300, 2**62):
        token = key.token({"exp": exp, "minikms_profiles": ["default"]})
        facts = await vault.data("GET", "auth/token/lookup-self", token=token)
        assert facts["expire_time"].startswith("9999-12-31")


async def test_the_body_of_a_login_is_bounded(vault):
    body = {"secret_id": "x" * 70_000}
    status, answer = await vault.call("POST", "auth/approle/login", body)
    assert (status, len(answer["errors"])) == (413, 1)


@pytest.mark.process
def test_the_metrics_name_logins(serve):
    ports = "--port", "0", "--vault-port", "0", "--metrics-port", str(free_port())
    service = serve(*ports, wait=False)
    service.read_until("metrics on ")
    service.wait_until_it_listens()
    port = service.read_until("Vault Transit on ").strip().rpartition(":")[2]
    vault = HTTPConnection("127.0.0.1", int(port), timeout=20)
    for path, status in {"auth/approle/login": 200, "auth/token/revoke-self": 400}.items():
        vault.request("PUT", f"/v1/{path}", b'{"secret_id": "anything"}')
        answer = vault.getresponse()
        answer.read()
        assert answer.status == status
    vault.close()
    counted = service.metrics()
    for operation, status in ("login", "200"), ("revokeSelf", "400"):
        labels = {"route": f"vault:{operation}", "status": status}
        assert counted["requests_total", frozenset(labels.items())] == 1
