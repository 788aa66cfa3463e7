"""Multikey and did:key: published values come out of an import of their public key.

The values are those of W3C's did:key and Controlled Identifiers specifications and of the test
vectors of did-method-key; the G1 one is another implementation's.
"""

import json

import base58
import pytest
from algorithm_facts import ECDSA, FACTS, named
from aries_askar import Key as AskarKey
from base64url import jose
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

pytestmark = pytest.mark.shared_service

PUBLISHED = {
    "ed25519": "z6Mkf5rGMoatrSj1f4CyvuHBeXJELe9RPdzo2PKGNCKVtZxP",
    "k256": "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
    "p256": "zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
    "p384": "z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54",
    "bls12381g2": (
        "zUC7EK3ZakmukHhuncwkbySmomv3FmrkmS36E4Ks5rsb6VQSRpoCrx6Hb8e2Nk6UvJFSdyw9NK1scFXJ"
        "p21gNNYFjVWNgaqyGnkyhtagagCpQb5B7tagJu3HDbjQ8h5ypoHjwBb"
    ),
    "bls12381g1": "z3tEFS9q2WkwvvVvr1BrYwNreqcudmcCQGGRSQ8r73recEqAUHGeLPWzwK6toBdKJgX3Fs",
    "x25519": "z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F",
    "p521": (
        "z2J9gaYxrKVpdoG9A4gRnmpnRCcxU6agDtFVVBVdn1JedouoZN7SzcyREXXzWgt3gGiwpoHq7K68X4m3"
        "2D8HgzG8wv3sY5j7"
    ),
    "rsa2048": (
        "z4MXj1wBzi9jUstyPMS4jQqB6KdJaiatPkAtVtGc6bQEQEEsKTic4G7Rou3iBf9vPmT5dbkm9qsZsuVN"
        "jq8HCuW1w24nhBFGkRE4cd2Uf2tfrB3N7h4mnyPp1BF3ZttHTYv3DLUPi1zMdkULiow3M1GfXkoC6Dox"
        "DUm1jmN6GBj22SjVsr6dxezRVQc7aj9TxE7JLbMH1wh5X3kA58H3DFW8rnYMakFGbca5CB2Jf6CnGQZm"
        "L7o5uJAdTwXfy2iiiyPxXEGerMhHwhjTA1mKYobyk2CpeEcmvynADfNZ5MBvcCS7m3XkFCMNUYBS9NQ3"
        "fze6vMSUPsNa6GVYmKx2x6JrdEjCk3qRMMmyjnjCMfR4pXbRMZa3i"
    ),
}


def jwk_of(alg, public):
    """The JWK of a public key's bytes, by other code than the service's."""
    if alg in ECDSA:
        crv, curve = FACTS[alg].crv, FACTS[alg].curve
        numbers = ec.EllipticCurvePublicKey.from_encoded_point(curve, public).public_numbers()
        size = (curve.key_size + 7) // 8
        x, y = (jose(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": crv, "x": x, "y": y}
    if alg.startswith("rsa"):
        return rsa_jwk(public)
    if alg.startswith("bls"):
        return json.loads(AskarKey.from_public_bytes(alg, public).get_jwk_public())
    return {"kty": "OKP", "crv": alg.capitalize(), "x": jose(public)}


def rsa_jwk(pkcs1):
    # SubjectPublicKeyInfo (RFC 8017 appendix A.1) around the PKCS #1 form, which pyca reads.
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    bits = b"\x03" + der_length(len(pkcs1) + 1) + b"\0" + pkcs1
    body = algorithm + bits
    numbers = load_der_public_key(b"\x30" + der_length(len(body)) + body).public_numbers()
    n, e = (jose(n.to_bytes((n.bit_length() + 7) // 8, "big")) for n in (numbers.n, numbers.e))
    return {"kty": "RSA", "n": n, "e": e}


def der_length(size):
    return bytes([0x82]) + size.to_bytes(2, "big")


@pytest.mark.parametrize("alg", PUBLISHED)
async def test_the_published_multikeys_come_out(post, alg):
    multikey = PUBLISHED[alg]
    whole = base58.b58decode(multikey[1:])
    assert whole[:2].hex() == FACTS[alg].multicodec
    key = await post("/key/import", {"jwk": jwk_of(alg, whole[2:])})
    assert key["alg"] == alg
    assert key["multikey"] == multikey
    assert key["did"] == f"did:key:{multikey}"
    assert base58.b58decode(key["b58"]) == whole[2:]


@pytest.mark.parametrize("alg", named(lambda facts: facts.multicodec, every_size=True))
async def test_the_form_of_every_algorithm(generate, alg):
    key = await generate(alg)
    whole = base58.b58decode(key["multikey"][1:])
    assert key["multikey"][0] == "z"
    assert whole[:2].hex() == FACTS[alg].multicodec
    assert whole[2:] == base58.b58decode(key["b58"])
    if alg.startswith("rsa"):
        assert rsa_jwk(whole[2:]) == key["jwk"]
    # did:key has no method for these codes.
    without = alg in ("ed448", "x448") or alg.startswith(("mldsa", "mlkem"))
    expected = None if without else f"did:key:{key['multikey']}"
    assert key["did"] == expected
