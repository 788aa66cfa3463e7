"""Project Wycheproof's vectors over HTTP, all 11,024 of them; what fails is told by its number."""

import orjson
import pytest
from wycheproof import (
    AEADS,
    AGREEMENTS,
    DECRYPTIONS,
    KEMS,
    SIGNATURES,
    WRAPPINGS,
    aeads,
    agreements,
    decapsulations,
    decryptions,
    encapsulations,
    signatures,
    wrappings,
)

from minikms.encodings import b64url, b64url_decode

# One of each kind in the quick part; all take 11 s of a processor.
SAMPLES = {"ed25519", "ecdh_secp256r1_webcrypto", "a128gcm", "rsa_oaep_2048_sha256_mgf1sha256"}


def each(names):
    """Run a test for each name, as slow unless it is a sample."""
    marks = [() if name in SAMPLES else pytest.mark.slow for name in names]
    params = [pytest.param(name, marks=mark) for name, mark in zip(names, marks, strict=True)]
    return pytest.mark.parametrize("name", params)


@pytest.fixture
def call(connection):
    """Make a call; gives a member of its answer, or the slug of its problem."""

    async def post(path, body, member):
        sent = orjson.dumps(body)
        answer = await connection.call("POST", path, sent, "Content-Type: application/json")
        if answer.status == 200:
            return orjson.loads(answer.body)[member], None
        return None, answer.problem()[1]

    return post


@each(SIGNATURES)
async def test_signatures(call, name):
    wrong, results = {}, set()
    for number, jwk, message, signature, right in signatures(name):
        body = {"jwk": jwk, "data": b64url(message), "sig": b64url(signature)}
        found, slug = await call("/verify", body | {"alg": SIGNATURES[name][1]}, "valid")
        assert slug in (None, "invalid-key"), number
        results.add(bool(found))
        if bool(found) not in right:
            wrong[number] = found, slug, right
    assert wrong == {}
    assert results == {True, False}


@each(AGREEMENTS)
async def test_agreement(call, name):
    wrong, results, kids = {}, set(), {}
    for number, private, public, right in agreements(name):
        if (secret := private["d"]) not in kids:
            kids[secret], slug = await call("/key/import", {"jwk": private}, "kid")
            assert slug is None
        text, slug = await call("/derive", {"kid": kids[secret], "peer": public}, "secret")
        assert slug in (None, "invalid-key"), number
        found = text and b64url_decode(text)
        results.add(found)
        if found not in right:
            wrong[number] = found, slug, right
    assert wrong == {}
    assert None in results
    assert len(results) > 100


@each(DECRYPTIONS)
async def test_decryption(call, name):
    wrong, results, kids = {}, [], {}
    for number, private, ciphertext, right in decryptions(name):
        if (secret := private["d"]) not in kids:
            kids[secret], slug = await call("/key/import", {"jwk": private}, "kid")
            assert slug is None
        body = {"kid": kids[secret], "ciphertext": b64url(ciphertext)}
        text, slug = await call("/decrypt", body, "plaintext")
        assert slug in (None, "decryption-failed"), number
        found = None if text is None else b64url_decode(text)
        results.append(found)
        if found not in right:
            wrong[number] = found, slug, right
    assert wrong == {}
    assert None in results
    assert len(results) > 30


@each(AEADS)
async def test_authenticated_encryption(call, name):
    wrong, results = {}, []
    for number, key, sealed, aad, right in aeads(name):
        kid, slug = await call("/key/import", {"alg": name, "secret": b64url(key)}, "kid")
        assert slug is None
        body = {
            "ciphertext": sealed.ciphertext,
            "nonce": sealed.nonce,
            "tag": sealed.tag,
            "aad": aad,
        }
        sent = {"kid": kid} | {member: b64url(value) for member, value in body.items()}
        text, slug = await call("/decrypt", sent, "plaintext")
        assert slug in (None, "decryption-failed"), number
        found = None if text is None else b64url_decode(text)
        results.append(found)
        if found not in right:
            wrong[number] = found, slug, right
    assert wrong == {}
    assert None in results
    assert len(results) > 50


@each(WRAPPINGS)
async def test_key_wrap(call, name):
    wrong, results = {}, []
    for number, key, wrapped, right in wrappings(name):
        source = {"alg": WRAPPINGS[name][0], "secret": b64url(key)}
        kid, slug = await call("/key/import", source, "kid")
        assert slug is None
        text, slug = await call("/unwrap", {"kid": kid, "wrapped": b64url(wrapped)}, "key")
        assert slug in (None, "decryption-failed"), number
        found = None if text is None else b64url_decode(text)
        results.append(found)
        if found not in right:
            wrong[number] = found, slug, right
    assert wrong == {}
    assert None in results
    assert len(results) > 30


@each(KEMS)
async def test_key_encapsulation(call, name):
    wrong, results, kids = {}, [], {}
    for number, seed, ciphertext, right in decapsulations(name):
        if seed not in kids:
            source = {"alg": KEMS[name], "seed": b64url(seed)}
            kids[seed], slug = await call("/key/import", source, "kid")
            assert (slug is None) == (len(seed) == 64), number
            assert slug in (None, "invalid-key"), number
        found = None
        if kids[seed] is not None:
            body = {"kid": kids[seed], "ciphertext": b64url(ciphertext)}
            text, slug = await call("/decapsulate", body, "secret")
            assert slug in (None, "decryption-failed"), number
            found = None if text is None else b64url_decode(text)
        results.append(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    assert None in results
    assert len(results) > 100


@each(KEMS)
async def test_keys_to_encapsulate_to(call, name):
    results = set()
    for number, jwk, right in encapsulations(name):
        ciphertext, slug = await call("/encapsulate", {"to": jwk}, "ciphertext")
        assert slug in (None, "invalid-key"), number
        assert (ciphertext is not None) == right, number
        results.add(right)
    assert results == {True, False}
