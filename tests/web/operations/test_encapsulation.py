"""Key encapsulation by ML-KEM (FIPS 203)."""

import pytest
from algorithm_facts import FACTS, using
from kyber_py.ml_kem import ML_KEM_768, ML_KEM_1024
from problems import refused

from minikms.encodings import b64url, b64url_decode, jose_b64url

pytestmark = pytest.mark.shared_service

KYBER_PY = {"mlkem768": ML_KEM_768, "mlkem1024": ML_KEM_1024}
SEED = bytes(range(64))

each = pytest.mark.parametrize("alg", using("decapsulate"))


def test_every_kem_is_checked():
    assert sorted(KYBER_PY) == sorted(using("decapsulate"))


@each
async def test_kyber_py_agrees_on_secrets(post, alg):
    theirs = KYBER_PY[alg]
    public, private = theirs.key_derive(SEED)
    key = await post("/key/import", {"alg": alg, "seed": b64url(SEED)})
    assert b64url_decode(key["jwk"]["pub"]) == public
    secret, ciphertext = theirs.encaps(public)
    body = {"kid": key["kid"], "ciphertext": b64url(ciphertext)}
    assert await post("/decapsulate", body) == {"secret": b64url(secret)}
    made = await post("/encapsulate", {"to": key["jwk"]})
    assert theirs.decaps(private, b64url_decode(made["ciphertext"])) == b64url_decode(
        made["secret"]
    )
    misfit = bytes(FACTS[alg].enc)
    body = {"kid": key["kid"], "ciphertext": b64url(misfit)}
    assert await post("/decapsulate", body) == {"secret": b64url(theirs.decaps(private, misfit))}


@each
async def test_the_forms_of_a_key(get, generate, alg):
    key = await generate(alg, exportable=True)
    assert key["jwk"].keys() == {"kty", "alg", "pub"}
    assert (key["jwk"]["kty"], key["jwk"]["alg"]) == ("AKP", f"ML-KEM-{alg.removeprefix('mlkem')}")
    assert len(b64url_decode(key["jwk"]["pub"])) == FACTS[alg].public
    assert key["did"] is None
    assert key["operations"] == ["decapsulate", "hpke-open"]
    jwk = (await get(f"/key/{key['kid']}/export"))["jwk"]
    assert jwk.keys() - key["jwk"].keys() == {"priv"}
    assert len(b64url_decode(jwk["priv"])) == 64
    assert (await get("/jwks.json?kty=AKP"))["keys"] == [
        {**key["jwk"], "use": "enc", "kid": key["kid"]}
    ]


@each
async def test_a_ciphertext_that_does_not_fit(client, post, generate, alg):
    ours, other = await generate(alg), await generate(alg)
    made = await post("/encapsulate", {"to": ours["jwk"]})
    ciphertext = b64url_decode(made["ciphertext"])
    assert len(ciphertext) == FACTS[alg].enc
    details = set()
    for wrong in (b"", ciphertext[:-1], ciphertext + b"\0", ciphertext * 2, bytes(30_000)):
        body = {"kid": ours["kid"], "ciphertext": b64url(wrong)}
        response = await client.post("/decapsulate", json=body)
        details.add((await refused(response, 422, "decryption-failed"))["detail"])
    assert len(details) == 1
    # FIPS 203 section 6.3: another secret, and always the same.
    changed = b64url(bytes([ciphertext[0] ^ 1]) + ciphertext[1:])
    for kid, given in ((ours["kid"], changed), (other["kid"], made["ciphertext"])):
        body = {"kid": kid, "ciphertext": given}
        found = await post("/decapsulate", body)
        assert found["secret"] != made["secret"]
        assert found == await post("/decapsulate", body)


async def test_a_jwk_that_cannot_be_is_refused(refuses, post, generate):
    key = await generate("mlkem768")
    jwk, pub = key["jwk"], b64url_decode(key["jwk"]["pub"])
    overflow = b"\xff\xff\xff" + pub[3:]  # a coefficient that is not reduced: section 7.2
    for wrong in (
        *({**jwk, "pub": jose_b64url(data)} for data in (b"", pub[:-1], pub + b"\0", overflow)),
        *({**jwk, "pub": value} for value in ("*", 1, None)),
        {**jwk, "priv": b64url(SEED)},
        {**jwk, "alg": "ML-KEM-1024"},
        {**jwk, "alg": "ML-KEM-512"},
        {},
    ):
        await refuses("/encapsulate", {"to": wrong}, 422, "invalid-key")
    for alg in ("mldsa44", "x25519", "rsa2048"):
        body = {"to": (await generate(alg))["jwk"]}
        await refuses("/encapsulate", body, 422, "unsupported-operation")
    for body in ({}, {"to": "a"}, {"kid": key["kid"]}, {"to": jwk, "kid": key["kid"]}):
        await refuses("/encapsulate", body, 422, "validation-failed")
    misfit = {**jwk, "priv": jose_b64url(SEED)}
    await refuses("/key/import", {"jwk": misfit}, 422, "invalid-key")
    body = {"alg": "mlkem768", "seed": b64url(bytes(32))}
    await refuses("/key/import", body, 422, "invalid-key")
