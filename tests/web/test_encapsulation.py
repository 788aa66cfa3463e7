"""Key encapsulation by ML-KEM (FIPS 203)."""

from itertools import islice

import pytest
from algorithm_facts import FACTS, using
from cryptography.hazmat.primitives.asymmetric import mlkem
from kyber_py.ml_kem import ML_KEM_768, ML_KEM_1024
from nist import nist
from problems import refused

from minikms.encodings import b64url, b64url_decode, jose_b64url

pytestmark = pytest.mark.shared_service

KYBER_PY = {"mlkem768": ML_KEM_768, "mlkem1024": ML_KEM_1024}
PYCA = {
    "mlkem768": (mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
    "mlkem1024": (mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey),
}
SEED = bytes(range(64))

each = pytest.mark.parametrize("alg", using("decapsulate"))


def test_every_kem_is_in_these_tables():
    assert sorted(KYBER_PY) == sorted(PYCA) == sorted(using("decapsulate"))


def known_answers(alg):
    """Of each key: seed, public key, a ciphertext and its secret, and another that does not fit."""
    for record in nist(f"asymmetric/MLKEM/kat_MLKEM_{alg.removeprefix('mlkem')}.rsp"):
        names = ("D", "Z", "PK", "CT", "SS", "CT_N", "SS_N")
        d, z, *rest = (bytes.fromhex(record[name]) for name in names)
        yield d + z, *rest


@each
async def test_ml_kem_gives_the_known_answers(post, alg):
    """The first 10 of 1,000; Wycheproof has others."""
    checked = 0
    for seed, public, *pairs in islice(known_answers(alg), 10):
        key = await post("/key/import", {"alg": alg, "seed": b64url(seed)})
        assert key["jwk"]["pub"] == jose_b64url(public)
        for ciphertext, secret in (pairs[:2], pairs[2:]):
            body = {"kid": key["kid"], "ciphertext": b64url(ciphertext)}
            assert await post("/decapsulate", body) == {"secret": b64url(secret)}
        checked += 1
    assert checked == 10


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
async def test_pyca_agrees_on_secrets(post, generate, alg):
    private_class, public_class = PYCA[alg]
    key = await generate(alg, alias="did:example:1#kem")
    public = public_class.from_public_bytes(b64url_decode(key["jwk"]["pub"]))
    secret, ciphertext = public.encapsulate()
    for by in ({"kid": key["kid"]}, {"alias": "did:example:1#kem"}):
        found = await post("/decapsulate", by | {"ciphertext": b64url(ciphertext)})
        assert found == {"secret": b64url(secret)}
    theirs = private_class.generate()
    pub = jose_b64url(theirs.public_key().public_bytes_raw())
    made = await post("/encapsulate", {"to": {**key["jwk"], "pub": pub}})
    assert theirs.decapsulate(b64url_decode(made["ciphertext"])) == b64url_decode(made["secret"])


@each
async def test_the_forms_of_a_key(client, generate, alg):
    key = await generate(alg, exportable=True)
    assert key["jwk"].keys() == {"kty", "alg", "pub"}
    assert (key["jwk"]["kty"], key["jwk"]["alg"]) == ("AKP", f"ML-KEM-{alg.removeprefix('mlkem')}")
    assert len(b64url_decode(key["jwk"]["pub"])) == FACTS[alg].public
    assert key["did"] is None
    assert key["operations"] == ["decapsulate", "hpke-open"]
    async with client.get(f"/key/{key['kid']}/export") as response:
        jwk = (await response.json())["jwk"]
    assert jwk.keys() - key["jwk"].keys() == {"priv"}
    assert len(b64url_decode(jwk["priv"])) == 64
    async with client.get("/jwks.json?kty=AKP") as response:
        assert (await response.json())["keys"] == [{**key["jwk"], "use": "enc", "kid": key["kid"]}]


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


async def test_a_jwk_that_cannot_be_is_refused(client, post, generate):
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
        await refused(await client.post("/encapsulate", json={"to": wrong}), 422, "invalid-key")
    for alg in ("mldsa44", "x25519", "rsa2048"):
        body = {"to": (await generate(alg))["jwk"]}
        response = await client.post("/encapsulate", json=body)
        await refused(response, 422, "unsupported-operation")
    for body in ({}, {"to": "a"}, {"kid": key["kid"]}, {"to": jwk, "kid": key["kid"]}):
        response = await client.post("/encapsulate", json=body)
        await refused(response, 422, "validation-failed")
    misfit = {**jwk, "priv": jose_b64url(SEED)}
    await refused(await client.post("/key/import", json={"jwk": misfit}), 422, "invalid-key")
    body = {"alg": "mlkem768", "seed": b64url(bytes(32))}
    await refused(await client.post("/key/import", json=body), 422, "invalid-key")


async def test_a_key_that_does_not_decapsulate(client, post, generate):
    key = await generate("mlkem768")
    made = await post("/encapsulate", {"to": key["jwk"]})
    body = {"kid": key["kid"], "ciphertext": made["ciphertext"]}
    await client.post("/profile", json={"name": "other"})
    headers = {"X-Profile": "other"}
    response = await client.post("/decapsulate", json=body, headers=headers)
    await refused(response, 404, "key-not-found")
    async with client.post("/key/import", json={"jwk": key["jwk"]}, headers=headers) as response:
        assert (await response.json())["operations"] == []
    response = await client.post("/decapsulate", json=body, headers=headers)
    await refused(response, 422, "unsupported-operation")
    body["kid"] = (await generate("x25519"))["kid"]
    await refused(await client.post("/decapsulate", json=body), 422, "unsupported-operation")
    await refused(
        await client.post("/decapsulate", json={**body, "kid": "unknown"}), 404, "key-not-found"
    )
