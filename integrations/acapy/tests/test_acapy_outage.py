"""Mini KMS away for a while and back, or not there when an agent starts."""

import pytest
from agents import Agent


def test_the_service_is_away_for_a_while(alice, server):
    did = alice.new_did("key", "ed25519")["did"]
    body = {"did": did, "payload": {"sub": "x"}, "headers": {}}
    assert alice.call("POST", "/wallet/jwt/sign", body).is_success
    with server.away():
        refused = alice.call("POST", "/wallet/jwt/sign", body)
        assert refused.is_error
        assert alice.call("GET", "/status/ready").is_success
    assert alice.call("POST", "/wallet/jwt/sign", body).is_success


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("url=http://127.0.0.1:1", "does not answer"),
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
