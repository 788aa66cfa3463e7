"""JWEs by HPKE, opened by the recipe that docs/wallets.md links.

jose_hpke_vectors.json has the vectors of integrated encryption in draft-ietf-jose-hpke-encrypt-20,
examples/jose-vectors.json of github.com/ietf-wg-jose/draft-ietf-jose-hpke-encrypt.
"""

import json
import runpy
from pathlib import Path

import pytest

from minikms_client import DecryptionFailed
from minikms_client.wire import decode, encode

RECIPE = Path(__file__).parents[1] / "recipes/jose_hpke.py"
VECTORS = json.loads(Path(__file__).with_name("jose_hpke_vectors.json").read_text())
# The plaintext that the draft names, of RFC 7520 section 5.
BEGIN, END = b"You can trust us to stick with you", b"We are your friends, Frodo."


@pytest.fixture(scope="module")
def recipe():
    return runpy.run_path(str(RECIPE))


def test_the_vectors_are_of_every_suite(recipe):
    assert [vector["alg"] for vector in VECTORS] == [*recipe["SUITES"]]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["alg"])
def test_the_recipe_opens_the_vectors_of_the_draft(minikms, recipe, vector):
    minikms.import_key(jwk=vector["jwk"], alias="verifier")
    plaintext = recipe["open_jwe"](minikms, vector["compact"], "verifier")
    assert plaintext.startswith(BEGIN)
    assert plaintext.endswith(END)
    _, *rest = vector["compact"].split(".")
    header = encode(json.dumps({"alg": vector["alg"], "kid": "other"}).encode())
    with pytest.raises(DecryptionFailed):
        recipe["open_jwe"](minikms, ".".join((header, *rest)), "verifier")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["alg"])
def test_the_aad_of_a_json_serialization_is_after_the_header(minikms, recipe, vector):
    minikms.import_key(jwk=vector["jwk"], alias="verifier")
    jwe = vector["flattened"]
    kdf, aead = recipe["SUITES"][vector["alg"]]
    plaintext = minikms.open_hpke(
        decode(jwe["encrypted_key"]),
        decode(jwe["ciphertext"]),
        alias="verifier",
        aad=f"{jwe['protected']}.{jwe['aad']}".encode(),
        kdf=kdf,
        aead=aead,
    )
    assert plaintext.startswith(BEGIN)


# The examples of OpenID4VP 1.1, "Encryption using HPKE".
NONCE = "exc7gBkxjx1rdc9udRrveKvSsJIq80avlXeLHhGwqtA"
PAGE = ("OpenID4VPDCAPI-si", "https://example.com", NONCE)
REDIRECT = ("OpenID4VP-si", "x509_san_dns:example.com", NONCE, "https://example.com/response")
OF_PAGE = (
    "4f70656e494434565044434150492d7369ff68747470733a2f2f6578616d706c652e636f6dff6578633767426b78"
    "6a7831726463397564527276654b7653734a4971383061766c58654c48684777717441"
)
OF_REDIRECT = (
    "4f70656e49443456502d7369ff783530395f73616e5f646e733a6578616d706c652e636f6dff6578633767426b78"
    "6a7831726463397564527276654b7653734a4971383061766c58654c48684777717441ff68747470733a2f2f6578"
    "616d706c652e636f6d2f726573706f6e7365"
)


@pytest.mark.parametrize(("parts", "expected"), [(PAGE, OF_PAGE), (REDIRECT, OF_REDIRECT)])
def test_session_info_is_as_in_the_examples_of_openid4vp(recipe, parts, expected):
    assert recipe["session_info"](*parts).hex() == expected


def test_a_response_to_another_session_does_not_open(minikms, recipe):
    key = minikms.generate_key("p256", alias="session")
    info = recipe["session_info"](*PAGE)
    header = encode(json.dumps({"alg": "HPKE-0", "kid": "session"}).encode())
    sealed = minikms.seal_hpke(
        b"response",
        key.jwk,
        info=info,
        aad=header.encode(),
        kdf="HKDF-SHA256",
        aead="AES-128-GCM",
    )
    jwe = f"{header}.{encode(sealed.enc)}..{encode(sealed.ciphertext)}."
    assert recipe["open_jwe"](minikms, jwe, "session", info) == b"response"
    for other in (b"", recipe["session_info"](*PAGE[:2], "another")):
        with pytest.raises(DecryptionFailed):
            recipe["open_jwe"](minikms, jwe, "session", other)
