"""Published JWEs, opened over HTTP.

RFC 7516 appendix A and RFC 7520 section 5; RFC 7518 appendix C and RFC 8037 appendix A.6, whose
agreed keys encrypt what is opened here; draft-madden-jose-ecdh-1pu-04 appendices A and B; and the
secrets and messages of DIDComm v2.0, appendices A and C.3. The longer ones are in jwe_vectors.json.
"""

import json
from pathlib import Path

import pytest
from base64url import b64, changed, part, raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

pytestmark = pytest.mark.shared_service

VECTORS = json.loads(Path(__file__).with_name("jwe_vectors.json").read_text("utf-8"))
TEXTS = {
    "RFC 7516": "Live long and prosper.",
    "RFC 7520": (
        "You can trust us to stick with you through thick and thin–to the bitter end. And you can "
        "trust us to keep any secret of yours–closer than you keep it yourself. But you cannot "
        "trust us to let you face trouble alone, and go off without a word. We are your friends, "
        "Frodo."
    ),
}
EXAMPLES = {
    f"{source} {section}": (source, example)
    for source in TEXTS
    for section, example in VECTORS[source].items()
}


def public(jwk):
    return {name: value for name, value in jwk.items() if name != "d"}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_examples_of_the_rfcs(refuses, post, name):
    source, example = EXAMPLES[name]
    body = {"jwk": example["key"]} | ({"alg": example["alg"]} if "alg" in example else {})
    kid = (await post("/key/import", body))["kid"]
    for jwe in example["jwes"]:
        answer = await post("/jwe/decrypt", {"jwe": jwe, "kid": kid})
        assert raw(answer["plaintext"]).decode() == TEXTS[source]
        if isinstance(jwe, str):
            *parts, tag = jwe.split(".")
            forged = ".".join((*parts, changed(tag)))
        else:
            forged = {**jwe, "tag": changed(jwe["tag"])}
        await refuses("/jwe/decrypt", {"jwe": forged, "kid": kid}, 422, "decryption-failed")


@pytest.mark.parametrize("name", VECTORS["refused"])
async def test_examples_that_are_refused_for_their_alg_or_zip(refuses, generate, name):
    """RSA1_5, RSA-OAEP with SHA-1, a password, AES-GCM key wrap, and compressed content."""
    for alg in ("rsa2048", "a128kw"):
        body = {"jwe": VECTORS["refused"][name], "kid": (await generate(alg))["kid"]}
        problem = await refuses("/jwe/decrypt", body, 422, "validation-failed")
        assert problem["errors"][0]["pointer"] == "#/jwe"


def concat_kdf(z, name, apu, apv, size):
    """RFC 7518 section 4.6.2, by pyca/cryptography."""
    info = b"".join(len(one).to_bytes(4, "big") + one for one in (name.encode(), apu, apv))
    info += (size * 8).to_bytes(4, "big")
    return ConcatKDFHash(hashes.SHA256(), size, info).derive(z)


def sealed(header, cek, encrypted_key=b""):
    """A compact JWE with AES-GCM, for a given content key."""
    protected, nonce = part(json.dumps(header).encode()), bytes(12)
    whole = AESGCM(cek).encrypt(nonce, b"hello", protected.encode())
    parts = (encrypted_key, nonce, whole[:-16], whole[-16:])
    return ".".join((protected, *map(part, parts)))


# RFC 7518 appendix C.
APPENDIX_C = {
    "header": {
        "alg": "ECDH-ES",
        "enc": "A128GCM",
        "apu": "QWxpY2U",
        "apv": "Qm9i",
        "epk": {
            "kty": "EC",
            "crv": "P-256",
            "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
            "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
        },
    },
    "bob": {
        "kty": "EC",
        "crv": "P-256",
        "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
        "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
        "d": "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw",
    },
    "derived": "VqqN6vgjbSBcIijNcacQGg",
}


async def test_rfc_7518_appendix_c(post):
    kid = (await post("/key/import", {"jwk": APPENDIX_C["bob"]}))["kid"]
    jwe = sealed(APPENDIX_C["header"], raw(APPENDIX_C["derived"]))
    answer = await post("/jwe/decrypt", {"jwe": jwe, "kid": kid})
    assert answer == {"plaintext": "aGVsbG8=", "header": APPENDIX_C["header"]}


# RFC 8037 appendix A.6, with the keys of RFC 7748 section 6.1.
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
EPHEMERAL = "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


async def test_rfc_8037_appendix_a_6(post):
    key = await post("/key/import", {"alg": "x25519", "secret": b64(bytes.fromhex(BOB))})
    assert key["jwk"]["x"] == "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"
    header = {
        "alg": "ECDH-ES+A128KW",
        "epk": {"kty": "OKP", "crv": "X25519", "x": EPHEMERAL},
        "enc": "A128GCM",
        "kid": "Bob",
    }
    kek = concat_kdf(bytes.fromhex(SHARED), header["alg"], b"", b"", 16)
    cek = bytes(range(16))
    answer = await post(
        "/jwe/decrypt", {"jwe": sealed(header, cek, aes_key_wrap(kek, cek)), "kid": key["kid"]}
    )
    assert answer == {"plaintext": "aGVsbG8=", "header": header}


# draft-madden-jose-ecdh-1pu-04 appendix A: the keys of RFC 7518 appendix C, and Alice's own.
ALICE = {
    "kty": "EC",
    "crv": "P-256",
    "x": "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis",
    "y": "y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE",
}
ONE_PASS = "6caf13723d14850ad4b42cd6dde935bffd2fff00a9ba70de05c203a5e1722ca7"


async def test_appendix_a_of_ecdh_1pu(post):
    kid = (await post("/key/import", {"jwk": APPENDIX_C["bob"]}))["kid"]
    header = {**APPENDIX_C["header"], "alg": "ECDH-1PU", "enc": "A256GCM"}
    jwe = sealed(header, bytes.fromhex(ONE_PASS))
    answer = await post("/jwe/decrypt", {"jwe": jwe, "kid": kid, "from": ALICE})
    assert answer == {"plaintext": "aGVsbG8=", "header": header}


def x25519(x, d=None):
    return {"kty": "OKP", "crv": "X25519", "x": x} | ({"d": d} if d else {})


# draft-madden-jose-ecdh-1pu-04 appendix B.
APPENDIX_B = {
    "protected": (
        "eyJhbGciOiJFQ0RILTFQVStBMTI4S1ciLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwiYXB1IjoiUVd4cFkyVSIsImFw"
        "diI6IlFtOWlJR0Z1WkNCRGFHRnliR2xsIiwiZXBrIjp7Imt0eSI6Ik9LUCIsImNydiI6IlgyNTUxOSIsIngiOiJr"
        "OW9mX2NwQWFqeTBwb1c1Z2FpeFhHczluSGt3ZzFBRnFVQUZhMzlkeUJjIn19"
    ),
    "unprotected": {"jku": "https://alice.example.com/keys.jwks"},
    "recipients": [
        {
            "header": {"kid": "bob-key-2"},
            "encrypted_key": (
                "pOMVA9_PtoRe7xXW1139NzzN1UhiFoio8lGto9cf0t8PyU-sjNXH8-LIRLycq8CHJQbDwvQ"
                "eU1cSl55cQ0hGezJu2N9IY0QN"
            ),
        },
        {
            "header": {"kid": "2021-05-06"},
            "encrypted_key": (
                "56GVudgRLIMEElQ7DpXsijJVRSWUSDNdbWkdV3g0GUNq6hcT_GkxwnxlPIWrTXCqRpVKQC8"
                "fe4z3PQ2YH2afvjQ28aiCTWFE"
            ),
        },
    ],
    "iv": "AAECAwQFBgcICQoLDA0ODw",
    "ciphertext": "Az2IWsISEMDJvyc5XRL-3-d-RgNBOGolCsxFFoUXFYw",
    "tag": "HLb4fTlm8spGmij3RyOs2gJ4DpHM4hhVRwdF_hGb3WQ",
}
SENDER = x25519("Knbm_BcdQr7WIoz-uqit9M0wbcfEr6y-9UfIZ8QnBD4")
RECIPIENTS = {
    "bob-key-2": x25519(
        "BT7aR0ItXfeDAldeeOlXL_wXqp-j5FltT0vRSG16kRw", "1gDirl_r_Y3-qUa3WXHgEXrrEHngWThU3c9zj9A2uBg"
    ),
    "2021-05-06": x25519(
        "q-LsvU772uV_2sPJhfAIq-3vnKNVefNoIlvyvg1hrnE", "Jcv8gklhMjC0b-lsk5onBbppWAx5ncNtbM63Jr9xBQE"
    ),
}


@pytest.mark.parametrize("named", [True, False], ids=["by its kid", "by another name"])
@pytest.mark.parametrize("name", RECIPIENTS)
async def test_appendix_b_of_ecdh_1pu(refuses, post, name, named):
    await post("/key/import", {"jwk": RECIPIENTS[name], "alias": name if named else "other"})
    body = {"jwe": APPENDIX_B, "alias": name if named else "other", "from": SENDER}
    answer = await post("/jwe/decrypt", body)
    assert raw(answer["plaintext"]) == b"Three is a magic number."
    protected = json.loads(raw(APPENDIX_B["protected"]))
    assert answer["header"] == {**protected, **APPENDIX_B["unprotected"], "kid": name}
    for wrong in ({"from": public(RECIPIENTS[name])}, {"jwe": {**APPENDIX_B, "aad": "AAAA"}}):
        await refuses("/jwe/decrypt", body | wrong, 422, "decryption-failed")


DIDCOMM = VECTORS["DIDComm v2"]
RECEIVED = [
    (number, each["header"]["kid"])
    for number, message in enumerate(DIDCOMM["messages"])
    for each in message["recipients"]
]


async def received(post, message, kid):
    """Open an encrypted message as a wallet does, by the skid of its header."""
    skid = json.loads(raw(message["protected"])).get("skid")
    sender = {"from": public(DIDCOMM["secrets"][skid])} if skid else {}
    answer = await post("/jwe/decrypt", {"jwe": message, "alias": kid, **sender})
    assert answer["header"]["kid"] == kid
    assert answer["header"]["typ"] == "application/didcomm-encrypted+json"
    return json.loads(raw(answer["plaintext"]))


@pytest.mark.parametrize(("number", "kid"), RECEIVED)
async def test_messages_of_didcomm_v2(post, number, kid):
    for name, jwk in DIDCOMM["secrets"].items():
        if name.startswith("did:example:bob"):
            await post("/key/import", {"jwk": jwk, "alias": name, "operations": ["jwe-decrypt"]})
    found = await received(post, DIDCOMM["messages"][number], kid)
    if "ciphertext" in found:  # which was for a mediator to pass on
        found = await received(post, found, found["recipients"][0]["header"]["kid"])
    if "payload" in found:
        (signature,) = found["signatures"]
        jws = f"{signature['protected']}.{found['payload']}.{signature['signature']}"
        jwk = public(DIDCOMM["secrets"][signature["header"]["kid"]])
        verified = await post("/jws/verify", {"jws": jws, "jwk": jwk})
        assert verified["valid"]
        found = json.loads(raw(verified["payload"]))
    assert found["id"] == "1234567890"
    assert found["from"] == "did:example:alice"
    assert found["body"] == {"messagespecificattribute": "and its value"}


async def test_every_secret_of_didcomm_v2_is_imported(post):
    """Signing keys are imported as well, and each key gets its operations."""
    for name, jwk in DIDCOMM["secrets"].items():
        key = await post("/key/import", {"jwk": jwk, "alias": name})
        assert ("jwe-decrypt" in key["operations"]) == (jwk["crv"] != "Ed25519")
