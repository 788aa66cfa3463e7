"""Independent libraries agree: joserfc on JWS, dilithium-py on ML-DSA, PyNaCl on X25519."""

import json
import os

import pytest
from algorithm_facts import FACTS, named, using
from base64url import b64, raw
from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87
from joserfc import jws
from joserfc.jwk import KeySet, import_key

pytestmark = pytest.mark.shared_service

PAYLOAD = b"payload without a full stop"
JOSE = named(lambda facts: facts.signing and "joserfc" in facts.libraries, every_size=True)
ML_DSA = {"mldsa44": ML_DSA_44, "mldsa65": ML_DSA_65, "mldsa87": ML_DSA_87}


def test_every_algorithm_that_signs_is_checked():
    by_pyca = named(lambda facts: facts.crv and "pyca" in facts.libraries)  # test_operations.py
    assert {*using("sign", "mac", every_size=True)} <= {*JOSE, *ML_DSA, *by_pyca}


# RFC 9864 deprecates EdDSA, which is nevertheless the name that most libraries know.
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("alg", JOSE)
async def test_joserfc_verifies_ours_and_we_verify_its(get, post, generate, alg):
    key = await generate(alg, exportable=True)
    private = (await get(f"/key/{key['kid']}/export"))["jwk"]
    theirs = import_key({name: value for name, value in private.items() if name != "alg"})
    if key["jwk"]:
        assert theirs.thumbprint() == key["kid"]
    for name in FACTS[alg].signing:
        body = {"kid": key["kid"], "payload": b64(PAYLOAD), "alg": name}
        ours = (await post("/jws/sign", body))["jws"]
        assert jws.deserialize_compact(ours, theirs, algorithms=[name]).payload == PAYLOAD
        ours = (await post("/jws/sign", body | {"detached": True}))["jws"]
        found = jws.deserialize_compact(ours, theirs, payload=PAYLOAD, algorithms=[name])
        assert found.payload == PAYLOAD

        made = jws.serialize_compact({"alg": name}, PAYLOAD, theirs, algorithms=[name])
        result = await post("/jws/verify", {"kid": key["kid"], "jws": made})
        assert result == {"valid": True, "header": {"alg": name}, "payload": b64(PAYLOAD)}
        if key["jwk"]:
            assert await post("/jws/verify", {"jwk": key["jwk"], "jws": made}) == result
        header = {"alg": name, "b64": False, "crit": ["b64"]}
        protected, _, signature = jws.serialize_compact(
            header, PAYLOAD, theirs, algorithms=[name]
        ).split(".")
        detached = {"kid": key["kid"], "jws": f"{protected}..{signature}", "payload": b64(PAYLOAD)}
        assert (await post("/jws/verify", detached))["valid"]


async def test_joserfc_reads_the_jwk_set(client, generate):
    made = [await generate(alg) for alg in ("ed25519", "p256", "rsa2048", "x25519", "k256")]
    async with client.get("/jwks.json") as response:
        keys = KeySet.import_key_set(json.loads(await response.text()))
    assert [key.kid for key in keys] == [key["kid"] for key in made]


@pytest.mark.parametrize("alg", ML_DSA)
async def test_dilithium_py_agrees_on_ml_dsa(post, alg):
    theirs = ML_DSA[alg]
    seed = os.urandom(32)
    public, secret = theirs.key_derive(seed)
    key = await post("/key/import", {"alg": alg, "seed": b64(seed)})
    assert raw(key["jwk"]["pub"]) == public
    signed = await post("/sign", {"kid": key["kid"], "data": b64(PAYLOAD)})
    assert theirs.verify(public, PAYLOAD, raw(signed["sig"]))
    body = {"kid": key["kid"], "data": b64(PAYLOAD), "sig": b64(theirs.sign(secret, PAYLOAD))}
    assert await post("/verify", body) == {"valid": True}
    context = b64(theirs.sign(secret, PAYLOAD, ctx=b"some"))
    assert await post("/verify", body | {"sig": context}) == {"valid": False}
