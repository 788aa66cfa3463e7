"""Mini KMS away for a while and back, with its keys in a file."""

import pytest
from agents import Agent, Server


@pytest.fixture
def durable(minikms_command, tmp_path):
    store = {
        "MINIKMS_STORE": f"sqlite://{tmp_path}/keys.db",
        "MINIKMS_STORE_KEY_FILE": str(tmp_path / "store.key"),
    }
    Server.output([*minikms_command, "store", "init", "--generate-key"], **store)
    with Server(minikms_command, "--auth", "none", **store) as server:
        yield server


def test_the_service_is_away_for_a_while(durable, webhooks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outage")
    with Agent("outage", folder, webhooks, kms=durable.url) as agent:
        did = agent.new_did("key", "ed25519")["did"]
        body = {"did": did, "payload": {"sub": "x"}, "headers": {}}
        assert agent.call("POST", "/wallet/jwt/sign", body).is_success
        durable.stop()
        refused = agent.call("POST", "/wallet/jwt/sign", body)
        assert refused.is_error
        assert agent.call("GET", "/status/ready").is_success
        durable.start()
        assert agent.call("POST", "/wallet/jwt/sign", body).is_success


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("url=http://127.0.0.1:1", "gives no answer"),
        ("profile=nobody", "There is no such profile"),
        ("urls=http://127.0.0.1:1", "has no setting urls"),
    ],
)
def test_an_agent_that_cannot_start_says_why_in_a_sentence(
    server, webhooks, tmp_path, setting, sentence
):
    plugin = ["--plugin", "acapy_minikms", "--plugin-config-value"]
    values = [f"acapy_minikms.{value}" for value in (f"url={server.url}", setting)]
    agent = Agent("lonely", tmp_path, webhooks, *plugin, *values)
    with pytest.raises(AssertionError, match=sentence), agent:
        pass
    assert "Traceback" not in agent.log()
