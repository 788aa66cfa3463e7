"""An agent whose token somebody renews in its file."""

import time

import httpx
from access.pods import Pod
from agents import Agent, Server


def test_an_agent_with_a_projected_token_runs_for_days(minikms_command, webhooks, tmp_path):
    pod = Pod(tmp_path)
    settings = "--plugin-config-value", f"acapy_minikms.token_file={pod.file}"
    pod.renew(600)  # for a slow start
    with (
        Server(minikms_command, "--auth", "token", "--roles", str(pod.roles)) as server,
        Agent("pod", tmp_path, webhooks, *settings, kms=server.url) as agent,
    ):
        did = agent.new_did("key", "ed25519")["did"]
        body = {"did": did, "payload": {"sub": "x"}, "headers": {}}
        first, ended = pod.renew(5), False
        while not ended:
            headers = {"Authorization": f"Bearer {first}"}
            ended = httpx.get(f"{server.url}/keys", headers=headers).status_code == 401
            pod.renew(5)
            agent.post("/wallet/jwt/sign", body)
            time.sleep(0.05)
        for content, fault in (("", "is empty"), ("secret" * 3000, "is larger than 17 KiB")):
            pod.put(content)
            refused = agent.call("POST", "/wallet/jwt/sign", body)
            assert f"The token file {pod.file} {fault}." in refused.reason_phrase, refused.text
        assert "secret" not in agent.log()
