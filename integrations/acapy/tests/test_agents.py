"""Two agents, one with its keys in Mini KMS: they connect, talk, and trust each other's proofs."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime

import base58
import httpx
import pytest
from acapy_agent.vc.ld_proofs.document_loader import StaticCacheJsonLdDownloader
from agents import RAW_KEY, decode_multibase, public_key, wait_for
from aries_askar import Store
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pyld import jsonld

CONTEXT = "https://www.w3.org/2018/credentials/v1"
SUITE = "https://w3id.org/security/suites/ed25519-2020/v1"


def credential(did):
    return {
        "@context": [CONTEXT, SUITE],
        "type": ["VerifiableCredential"],
        "issuer": did,
        "issuanceDate": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "credentialSubject": {"id": "did:example:alice"},
    }


def test_agents_connect_and_send_messages(alice, bob, webhooks):
    of_alice, of_bob = alice.connect(bob)
    alice.post(f"/connections/{of_alice}/send-message", {"content": "hello"})
    bob.post(f"/connections/{of_bob}/send-message", {"content": "welcome"})
    wait_for("message to bob", lambda: "hello" in webhooks.messages("bob"))
    wait_for("message to alice", lambda: "welcome" in webhooks.messages("alice"))
    # The other way around, invited by the other agent.
    of_bob, of_alice = bob.connect(alice)
    bob.post(f"/connections/{of_bob}/send-message", {"content": "once more"})
    wait_for("message to alice", lambda: "once more" in webhooks.messages("alice"))


def test_an_agent_rotates_the_key_of_a_did(alice, server):
    made = alice.new_did("sov", "ed25519")
    alice.patch("/wallet/did/local/rotate-keypair", did=made["did"])
    [found] = alice.get("/wallet/did", did=made["did"])["results"]
    assert found["verkey"] != made["verkey"]
    assert {made["verkey"], found["verkey"]} <= verkeys(server)


def verkeys(server, profile="default"):
    """The public keys that Mini KMS has."""
    keys = httpx.get(f"{server.url}/keys?limit=1000", headers={"X-Profile": profile}).json()
    return {key["b58"] for key in keys}


def test_a_key_of_each_type_is_in_mini_kms(alice, server):
    for method, key_type in (("key", "ed25519"), ("key", "p256"), ("sov", "ed25519")):
        assert alice.new_did(method, key_type)["verkey"] in verkeys(server)
    made = alice.post("/wallet/keys", {"alg": "ed25519", "kid": "did:web:example.org#key-1"})
    assert base58.b58encode(decode_multibase(made["multikey"])[2:]).decode() in verkeys(server)
    [found] = [alice.get(f"/wallet/keys/{made['multikey']}")]
    assert "did:web:example.org#key-1" in found["kid"]


def test_a_seed_gives_its_key(alice, bob):
    body = {
        "method": "key",
        "seed": "00000000000000000000000000000001",
        "options": {"key_type": "ed25519"},
    }
    made = [agent.post("/wallet/did/create", body)["result"] for agent in (alice, bob, alice)]
    assert made[0]["verkey"] == made[1]["verkey"] == made[2]["verkey"]


def test_a_jsonld_credential_is_issued_and_presented(alice, bob):
    issuer = alice.new_did("key", "ed25519")
    options = {"options": {"proofType": "Ed25519Signature2020"}}
    issued = alice.post(
        "/vc/credentials/issue", {"credential": credential(issuer["did"]), **options}
    )["verifiableCredential"]
    verify_ed25519_2020(issued, issuer["did"])
    body = {"verifiableCredential": issued, "options": {}}
    assert bob.post("/vc/credentials/verify", body)["verified"]
    holder = alice.new_did("key", "ed25519")
    presentation = {
        "@context": [CONTEXT, SUITE],
        "type": ["VerifiablePresentation"],
        "holder": holder["did"],
        "verifiableCredential": [issued],
    }
    options = {
        "proofType": "Ed25519Signature2020",
        "proofPurpose": "authentication",
        "challenge": "nonce",
    }
    body = {"presentation": presentation, "options": options}
    presented = alice.post("/vc/presentations/prove", body)["verifiablePresentation"]
    verify_ed25519_2020(presented, holder["did"])
    body = {"verifiablePresentation": presented, "options": {"challenge": "nonce"}}
    assert bob.post("/vc/presentations/verify", body)["verified"]


def verify_ed25519_2020(document, did, method=None):
    """Check the proof of a document by pyld and pyca alone (Ed25519Signature2020).

    The did:key gives the key; `method` is the verification method if it belongs to another DID.
    """
    document = json.loads(json.dumps(document))
    proof = document.pop("proof")
    signature = decode_multibase(proof.pop("proofValue"))
    load = StaticCacheJsonLdDownloader().load
    options = {"algorithm": "URDNA2015", "format": "application/n-quads", "documentLoader": load}
    digests = [
        hashlib.sha256(jsonld.normalize(part, options).encode()).digest()
        for part in ({"@context": SUITE, **proof}, document)
    ]
    assert proof["verificationMethod"] == (method or f"{did}#{did.removeprefix('did:key:')}")
    key = Ed25519PublicKey.from_public_bytes(public_key(did))
    key.verify(signature, b"".join(digests))
    with pytest.raises(InvalidSignature):
        key.verify(signature, b"".join(reversed(digests)))


def test_a_credential_is_issued_over_didcomm(alice, bob):
    of_alice, _ = alice.connect(bob)
    issuer = alice.new_did("key", "ed25519")
    filter_ = {
        "credential": credential(issuer["did"]),
        "options": {"proofType": "Ed25519Signature2020"},
    }
    body = {"connection_id": of_alice, "filter": {"ld_proof": filter_}}
    alice.post("/issue-credential-2.0/send", body)
    found = wait_for(
        "credential", lambda: bob.post("/credentials/w3c", {"issuer_id": issuer["did"]})["results"]
    )
    verify_ed25519_2020(found[0]["cred_value"], issuer["did"])


def test_a_proof_of_eddsa_jcs_2022(alice, bob):
    issuer = alice.new_did("key", "ed25519")
    method = f"{issuer['did']}#{issuer['did'].removeprefix('did:key:')}"
    options = {
        "type": "DataIntegrityProof",
        "cryptosuite": "eddsa-jcs-2022",
        "proofPurpose": "assertionMethod",
        "verificationMethod": method,
    }
    body = {"document": {"hello": "world", "a": 1}, "options": options}
    secured = alice.post("/vc/di/add-proof", body)["securedDocument"]
    verified = bob.post("/vc/di/verify", {"securedDocument": secured})
    assert verified["verificationResults"]["verified"], verified
    [proof] = secured["proof"]
    signature = decode_multibase(proof.pop("proofValue"))
    document = {name: value for name, value in secured.items() if name != "proof"}
    digests = [hashlib.sha256(jcs(part)).digest() for part in (proof, document)]
    key = Ed25519PublicKey.from_public_bytes(public_key(issuer["did"]))
    key.verify(signature, b"".join(digests))


def jcs(document):
    """The canonical form (RFC 8785) of a document of texts and whole numbers."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_jwt_is_signed_and_verified_by_agents(alice, bob):
    issuer = alice.new_did("key", "ed25519")
    body = {"did": issuer["did"], "payload": {"sub": "alice"}, "headers": {}}
    response = alice.call("POST", "/wallet/jwt/sign", body)
    assert response.is_success, response.text
    token = response.json()
    assert bob.post("/wallet/jwt/verify", {"jwt": token})["valid"]
    signed, _, signature = token.rpartition(".")
    key = Ed25519PublicKey.from_public_bytes(public_key(issuer["did"]))
    key.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode())


def test_the_store_of_the_agent_has_no_private_key(alice, bob):
    """Last, since the agents have made keys by now; the other one shows that the search finds."""
    assert count_keys(alice) == 0
    assert count_keys(bob) > 0


def count_keys(agent):
    """Count the private keys in an agent's own store."""

    async def count():
        uri = f"sqlite://{agent.store}"
        store = await Store.open(uri, "raw", RAW_KEY)
        try:
            async with store.session() as session:
                return len(await session.fetch_all_keys())
        finally:
            await store.close()

    return asyncio.run(count())
