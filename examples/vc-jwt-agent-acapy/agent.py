# /// script
# requires-python = ">=3.13,<3.14"
# dependencies = ["acapy-agent>=1.7,<1.8", "acapy-minikms", "httpx", "minikms-client", "pyjwt"]
# [tool.uv.sources]
# acapy-minikms = { path = "../../integrations/acapy" }
# minikms-client = { path = "../../clients/python" }
# ///
"""Run an agent of ACA-Py whose keys are in Mini KMS, let it issue a VC-JWT, and verify that."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time

import base58
import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minikms_client import Client

PLUGIN = "--plugin", "acapy_minikms"  # finds the service by MINIKMS_URL, as this program does
WALLET = "--wallet-type", "askar", "--wallet-name", "issuer", "--wallet-key", "key of the records"


@contextlib.contextmanager
def agent():
    """Start an agent, and yield a client of its API."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "acapy_agent", "start", "--label", "issuer", "--no-ledger"]
    command += ["--no-transport", "--admin", "127.0.0.1", str(port), "--admin-insecure-mode"]
    with (
        tempfile.TemporaryDirectory() as home,  # its wallet: a trial's, as the service's keys are
        open("agent.log", "w") as log,
        subprocess.Popen(
            [*command, *WALLET, "--auto-provision", *PLUGIN],
            env=os.environ | {"HOME": home},
            stdout=log,
            stderr=log,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as api,
    ):
        try:
            wait_until_ready(process, api)
            yield api
        finally:
            process.terminate()


def wait_until_ready(process, api):
    """Return when the agent answers; raise an error if it ends."""
    while process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if api.get("/status/ready").is_success:
                return
        time.sleep(0.2)
    raise RuntimeError("The agent did not start: see agent.log.")


def issue(api):
    """Make a DID, and return it with a credential that it issues."""
    body = {"method": "key", "options": {"key_type": "ed25519"}}
    did = api.post("/wallet/did/create", json=body).raise_for_status().json()["result"]["did"]
    now, subject = int(time.time()), {"id": "did:example:erika", "degree": "Bachelor of Science"}
    credential = {
        "@context": ["https://www.w3.org/2018/credentials/v1"],
        "type": ["VerifiableCredential"],
        "credentialSubject": subject,
    }
    claims = {"iss": did, "sub": subject["id"], "nbf": now, "exp": now + 86400, "vc": credential}
    body = {"did": did, "headers": {}, "payload": claims}
    return did, api.post("/wallet/jwt/sign", json=body).raise_for_status().json()


with agent() as api:
    did, credential = issue(api)
public_key = Ed25519PublicKey.from_public_bytes(base58.b58decode(did.removeprefix("did:key:z"))[2:])
claims = jwt.decode(credential, public_key, ["EdDSA"], issuer=did)
print("PyJWT has verified the claim", claims["vc"]["credentialSubject"]["degree"])
with Client() as kms:
    print("Keys of the DID in Mini KMS:", sum(key.did == did for key in kms.keys(alg="ed25519")))
