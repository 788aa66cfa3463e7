"""A multitenant agent: each subwallet has a profile of its own, and a token if it needs one."""

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
            # It has no token yet, and does not borrow the agent's.
            assert agent.call("POST", "/wallet/did/create", body, token=of_wallet).is_error
            scopes = ["keys:read", "keys:write", "sign", "encrypt", "decrypt"]
            made = httpx.post(
                f"{server.url}/tokens",
                json={"name": "wallet", "scopes": scopes, "profiles": [f"acapy-{wallet}"]},
                headers={"Authorization": f"Bearer {admin.read_text().strip()}"},
            ).json()
            (tokens / wallet).write_text(made["token"])
            assert agent.new_did("key", "ed25519", token=of_wallet)["verkey"]
