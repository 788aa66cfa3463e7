"""A multitenant agent: each subwallet has a profile of its own, and a token if it needs one."""

from datetime import datetime, timedelta

import httpx
import pytest
from agents import RAW_KEY, Agent, Server


@pytest.fixture(scope="module")
def agent(server, webhooks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tenants")
    options = ("--multitenant", "--multitenant-admin", "--jwt-secret", "secret of the tests")
    with Agent("tenants", folder, webhooks, *options, kms=server.url) as agent:
        yield agent


def new_subwallet(agent, name):
    """The id and the token of a new subwallet."""
    body = {
        "wallet_name": name,
        "wallet_key": RAW_KEY,
        "wallet_key_derivation": "RAW",
        "wallet_type": "askar",
    }
    made = agent.post("/multitenancy/wallet", body)
    return made["wallet_id"], made["token"]


def profiles(server):
    return httpx.get(f"{server.url}/profiles").json()["profiles"]


def verkeys(server, profile):
    keys = httpx.get(f"{server.url}/keys", headers={"X-Profile": profile}).json()
    return {key["b58"] for key in keys}


def test_subwallets_do_not_share_keys(agent, server):
    (one, of_one), (other, of_other) = (new_subwallet(agent, name) for name in ("one", "other"))
    did = agent.new_did("key", "ed25519", token=of_one)
    assert did["verkey"] in verkeys(server, f"acapy-{one}")
    agent.new_did("key", "ed25519", token=of_other)
    assert did["verkey"] not in verkeys(server, f"acapy-{other}")
    assert did["verkey"] not in verkeys(server, "default")
    body = {"did": did["did"], "payload": {"sub": "x"}, "headers": {}}
    assert agent.call("POST", "/wallet/jwt/sign", body, token=of_one).is_success
    for token in (of_other, None):
        assert agent.call("POST", "/wallet/jwt/sign", body, token=token).is_error


def test_the_keys_of_a_removed_subwallet_are_removed(agent, server):
    (wallet, token), (other, of_other) = (new_subwallet(agent, name) for name in ("a", "b"))
    for one in (token, of_other):
        agent.new_did("key", "ed25519", token=one)
    with server.away():
        refused = agent.call("DELETE", f"/multitenancy/wallet/{wallet}")
    assert refused.status_code == 400
    assert "Mini KMS" in refused.reason_phrase
    # The wallet can still be used, and its removal be tried again.
    agent.new_did("key", "ed25519", token=token)
    assert agent.call("DELETE", f"/multitenancy/wallet/{wallet}").is_success
    assert f"acapy-{wallet}" not in profiles(server)
    assert f"acapy-{other}" in profiles(server)
    agent.new_did("key", "ed25519", token=of_other)


def test_a_subwallet_that_made_no_keys_is_removed(agent, server):
    wallet, _ = new_subwallet(agent, "unused")
    assert agent.call("DELETE", f"/multitenancy/wallet/{wallet}").is_success
    assert f"acapy-{wallet}" not in profiles(server)


def test_the_keys_of_a_removed_subwallet_may_be_kept_for_a_while(server, webhooks, tmp_path):
    options = (
        *("--multitenant", "--multitenant-admin", "--jwt-secret", "secret of the tests"),
        *("--plugin-config-value", "acapy_minikms.subwallet_retention_days=30"),
    )
    with Agent("patient", tmp_path, webhooks, *options, kms=server.url) as agent:
        (wallet, token), (unused, _) = (new_subwallet(agent, name) for name in ("a", "b"))
        for _ in range(2):
            agent.new_did("key", "ed25519", token=token)
        for one in (wallet, unused):
            assert agent.call("DELETE", f"/multitenancy/wallet/{one}").is_success
    profile = {"X-Profile": f"acapy-{wallet}"}
    keys = httpx.get(f"{server.url}/keys", headers=profile).json()
    assert len(keys) == 2
    for key in keys:
        made, deletes = (datetime.fromisoformat(key[name]) for name in ("created", "deletes"))
        assert deletes - made >= timedelta(days=30)
        restored = httpx.post(f"{server.url}/key/{key['kid']}/restore", headers=profile)
        assert restored.json()["deletes"] is None


def test_a_subwallet_has_its_own_token(minikms_command, webhooks, tmp_path):
    """Mini KMS asks for tokens: the agent's may do everything, a subwallet's alone its profile."""
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    admin = tmp_path / "admin"
    admin.write_text(Server.output([*minikms_command, "token", "generate"]))
    admin.chmod(0o600)
    options = ("--auth", "token", "--admin-token-file", str(admin))
    with Server(minikms_command, *options) as server:
        agent_options = (
            *("--multitenant", "--multitenant-admin", "--jwt-secret", "secret of the tests"),
            *("--plugin-config-value", f"acapy_minikms.token_file={admin}"),
            *("--plugin-config-value", f"acapy_minikms.subwallet_token_folder={tokens}"),
        )
        with Agent("guarded", tmp_path, webhooks, *agent_options, kms=server.url) as agent:
            wallet, of_wallet = new_subwallet(agent, "wallet")
            body = {"method": "key", "options": {"key_type": "ed25519"}}
            # The subwallet has no token yet, and does not use the agent's.
            assert agent.call("POST", "/wallet/did/create", body, token=of_wallet).is_error
            scopes = ["keys:read", "keys:write", "sign", "encrypt", "decrypt"]
            made = httpx.post(
                f"{server.url}/tokens",
                json={"name": "wallet", "scopes": scopes, "profiles": [f"acapy-{wallet}"]},
                headers={"Authorization": f"Bearer {admin.read_text().strip()}"},
            ).json()
            (tokens / wallet).write_text(made["token"])
            assert agent.new_did("key", "ed25519", token=of_wallet)["verkey"]
