"""JWEs by HPKE, opened by the function of docs/wallets.md.

jose_hpke_vectors.json has the vectors of integrated encryption in draft-ietf-jose-hpke-encrypt-20,
examples/jose-vectors.json of github.com/ietf-wg-jose/draft-ietf-jose-hpke-encrypt.
"""

import json
from pathlib import Path

import pytest
from pasted import ROOT, blocks, section

from minikms_client import DecryptionFailed
from minikms_client.wire import decode, encode

DOCUMENT = (ROOT / "docs/wallets.md").read_text("utf-8")
VECTORS = json.loads(Path(__file__).with_name("jose_hpke_vectors.json").read_text())
# The plaintext that the draft names, of RFC 7520 section 5.
BEGIN, END = b"You can trust us to stick with you", b"We are your friends, Frodo."


@pytest.fixture(scope="module")
def recipe():
    [program] = blocks(section(DOCUMENT, "### JWEs by HPKE"))
    names = {}
    exec(program.text, names)
    return names


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
