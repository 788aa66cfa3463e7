"""Published COSE messages: of its working group, RFC 9052, RFC 8392 and ISO/IEC 18013-5."""

import json
from pathlib import Path

import cbor2
import pytest
from base64url import b64, jose
from cryptography.x509 import load_der_x509_certificate

pytestmark = pytest.mark.shared_service

FILE = json.loads((Path(__file__).parent / "cose_vectors.json").read_text("utf-8"))
VECTORS = {vector["name"]: vector for vector in FILE["vectors"]}

# The algorithm is unprotected, which no message of the service has (RFC 9052 section 3.1: it MUST
# be authenticated where that is possible); or the key is not for it here: a code cut to 64 bits,
# AES-CBC-MAC, SHA-512 on P-256.
OTHERS = {
    *(f"mac0-tests/mac-pass-0{number}.json" for number in (1, 2, 3)),
    "sign1-tests/sign-pass-01.json",
    "hmac-examples/HMac-enc-05.json",
    "RFC8152/Appendix_C_6_1.json",
    "ecdsa-examples/ecdsa-sig-04.json",
}
# The CBOR tag is another one.
MALFORMED = {"sign1-tests/sign-fail-01.json", "mac0-tests/mac-fail-01.json"}


@pytest.mark.parametrize("name", VECTORS)
async def test_an_example_of_the_working_group(client, post, refuses, name):
    vector = VECTORS[name]
    body = {"cose": b64(bytes.fromhex(vector["cose"]))}
    if "external_aad" in vector:
        body["external_aad"] = b64(bytes.fromhex(vector["external_aad"]))
    if vector["key"]["kty"] == "oct":
        imported = {"alg": vector["key"]["alg"].lower()[:5], "secret": vector["key"]["k"]}
        if not imported["alg"].startswith("hs"):
            imported["alg"] = "hs256"
        body["kid"] = (await post("/key/import", imported))["kid"]
    else:
        body["jwk"] = vector["key"]
    if name in MALFORMED:
        await refuses("/cose/verify", body, 422, "invalid-cose")
        return
    result = await post("/cose/verify", body)
    assert result["valid"] is (not vector["fails"] and name not in OTHERS)


async def test_the_issuer_authentication_of_an_mdoc(post):
    cose = bytes.fromhex(FILE["issuer_auth"]["cose"])
    certificate = load_der_x509_certificate(cbor2.loads(cose)[1][33])
    point = certificate.public_key().public_numbers()
    x, y = (jose(number.to_bytes(32)) for number in (point.x, point.y))
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    result = await post("/cose/verify", {"jwk": jwk, "cose": b64(cose)})
    assert result["valid"]
    assert result["protected"] == b64(cbor2.dumps({1: -7}))
