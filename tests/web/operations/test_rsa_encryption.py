"""encrypt and decrypt by an RSA key: RSA-OAEP with SHA-256 (RFC 8017 section 7.1)."""

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from problems import refused

from minikms.encodings import b64url, b64url_decode
from minikms.plugin.registry import AlgorithmRegistry

pytestmark = pytest.mark.shared_service

RSA2048 = AlgorithmRegistry.from_installed().get("rsa2048")
MOST = 256 - 2 * 32 - 2


def oaep(mgf=SHA256, digest=SHA256, label=None):
    return padding.OAEP(padding.MGF1(mgf()), digest(), label)


@pytest.fixture(scope="module")
def theirs():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def ours(post, theirs):
    return await post("/key/import", {"jwk": RSA2048.export_jwk(theirs), "alias": "ours"})


async def test_pyca_decrypts_ours_and_we_decrypt_its(post, ours, theirs):
    for plaintext in (b"", b"hello", bytes(MOST)):
        for by in ({"kid": ours["kid"]}, {"alias": "ours"}, {"jwk": ours["jwk"]}):
            made = await post("/encrypt", by | {"plaintext": b64url(plaintext)})
            assert (made["nonce"], made["tag"]) == (None, None)
            assert theirs.decrypt(b64url_decode(made["ciphertext"]), oaep()) == plaintext
        body = {"kid": ours["kid"], **made}  # as it was answered
        assert await post("/decrypt", body) == {"plaintext": b64url(plaintext)}
        ciphertext = b64url(theirs.public_key().encrypt(plaintext, oaep()))
        body = {"alias": "ours", "ciphertext": ciphertext}
        assert await post("/decrypt", body) == {"plaintext": b64url(plaintext)}


async def test_any_mismatch_is_refused_and_no_more_is_said(client, generate, ours, theirs):
    public = theirs.public_key()
    good = public.encrypt(b"hello", oaep())
    other = await generate("rsa2048")
    modulus = public.public_numbers().n.to_bytes(256, "big")
    wrong = [
        *(
            good[:-1],
            good[1:],
            b"\0" + good,
            good + b"\0",
            good * 2,
            b"",
            bytes(256),
            bytes(100_000),
        ),
        *(bytes([good[0] ^ 1]) + good[1:], good[:-1] + bytes([good[-1] ^ 1])),
        *(modulus, b"\xff" * 256),
        public.encrypt(b"hello", oaep(label=b"label")),
        public.encrypt(b"hello", oaep(mgf=SHA1)),
        public.encrypt(b"hello", oaep(SHA1, SHA1)),
        public.encrypt(b"hello", padding.PKCS1v15()),
    ]
    calls = [(ours["kid"], ciphertext) for ciphertext in wrong] + [(other["kid"], good)]
    details = set()
    for kid, ciphertext in calls:
        body = {"kid": kid, "ciphertext": b64url(ciphertext)}
        response = await client.post("/decrypt", json=body)
        details.add((await refused(response, 422, "decryption-failed"))["detail"])
    assert len(details) == 1


async def test_options_of_aeads_are_refused_for_rsa(refuses, post, generate, ours):
    kid, data = ours["kid"], b64url(b"hello")
    made = await post("/encrypt", {"kid": kid, "plaintext": data})
    for extra in ({"nonce": data}, {"tag": data}, {"aad": data}, {"nonce": ""}, {"aad": ""}):
        await refuses("/decrypt", {"kid": kid, **made, **extra}, 422, "unsupported-option")
    for aad in (data, ""):
        await refuses(
            "/encrypt", {"kid": kid, "plaintext": data, "aad": aad}, 422, "unsupported-option"
        )
    for body, slug in (
        ({"kid": kid, "plaintext": b64url(bytes(MOST + 1))}, "validation-failed"),
        ({"jwk": {**ours["jwk"], "alg": "RSA-OAEP"}, "plaintext": data}, "unsupported-option"),
        ({"jwk": {**ours["jwk"], "alg": "PS256"}, "plaintext": data}, "unsupported-option"),
        ({"jwk": {**ours["jwk"], "d": "AQAB"}, "plaintext": data}, "invalid-key"),
        ({"jwk": {**ours["jwk"], "e": "Aw"}, "plaintext": data}, "invalid-key"),
        ({"jwk": {"kty": "oct", "k": data}, "plaintext": data}, "invalid-key"),
        ({"jwk": (await generate("p256"))["jwk"], "plaintext": data}, "unsupported-operation"),
    ):
        await refuses("/encrypt", body, 422, slug)
    await refuses("/decrypt", {"jwk": ours["jwk"], **made}, 422, "validation-failed")


async def test_a_nonce_and_a_tag_are_needed_where_there_are_such(refuses, post, generate):
    kid = (await generate("a256gcm"))["kid"]
    made = await post("/encrypt", {"kid": kid, "plaintext": b64url(b"hello")})
    for part in ("nonce", "tag"):
        for body in ({**made, part: None}, {name: made[name] for name in made if name != part}):
            found = await refuses("/decrypt", {"kid": kid, **body}, 422, "validation-failed")
            assert [error["pointer"] for error in found["errors"]] == [f"#/{part}"]


async def test_a_public_key_alone_encrypts(refuses, post, theirs):
    jwk = RSA2048.public_jwk(theirs)
    key = await post("/key/import", {"jwk": {**jwk, "alg": "RSA-OAEP-256"}})
    assert key["operations"] == ["verify", "encrypt"]
    made = await post("/encrypt", {"kid": key["kid"], "plaintext": b64url(b"hello")})
    assert theirs.decrypt(b64url_decode(made["ciphertext"]), oaep()) == b"hello"
    await refuses("/decrypt", {"kid": key["kid"], **made}, 422, "unsupported-operation")


async def test_a_key_for_encryption_is_in_the_jwk_set(get, generate):
    key = await generate("rsa2048", operations=["encrypt", "decrypt"])
    assert (await get("/jwks.json"))["keys"] == [{**key["jwk"], "use": "enc", "kid": key["kid"]}]
