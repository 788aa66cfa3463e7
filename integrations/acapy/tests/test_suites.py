"""Keys of Mini KMS that somebody else has made for a DID of the agent: they sign by their alias."""

import httpx
from test_agents import credential, verify_ed25519_2020

DID = "did:web:issuer.example.org"


def test_a_key_that_is_known_by_its_alias_signs(alice, server):
    options = {"did": DID, "key_type": "ed25519"}
    alice.post("/wallet/did/create", {"method": "web", "options": options})
    made = httpx.post(f"{server.url}/key/generate", json={"alg": "ed25519"}).json()
    method = f"{DID}#key-2"
    httpx.post(f"{server.url}/key/{made['kid']}/associate", json={"alias": method})
    options = {"proofType": "Ed25519Signature2020", "verificationMethod": method}
    body = {"credential": credential(DID), "options": options}
    issued = alice.post("/vc/credentials/issue", body)["verifiableCredential"]
    assert issued["proof"]["verificationMethod"] == method
    verify_ed25519_2020(issued, made["did"], method)
