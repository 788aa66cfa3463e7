import base64
import hashlib

import pytest
from algorithm_facts import ECDSA, FACTS, named
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, utils
from problems import refused

pytestmark = pytest.mark.shared_service

EDWARDS = {"ed25519": ed25519.Ed25519PublicKey, "ed448": ed448.Ed448PublicKey}
# test_interop.py has RSA and ML-DSA.
ON_CURVES = named(lambda facts: facts.crv and facts.signing and "pyca" in facts.libraries)
MESSAGES = [b"", b"\x00", b"hello", bytes(range(256)), b"m" * 100_000]


def encode(data, *, padded=True):
    text = base64.urlsafe_b64encode(data).decode()
    return text if padded else text.rstrip("=")


def pyca_accepts(alg, jwk, message, sig):
    """Verify a signature under a public JWK by pyca/cryptography."""
    x, y = (base64.urlsafe_b64decode(jwk.get(name, "") + "==") for name in "xy")
    try:
        if alg in EDWARDS:
            EDWARDS[alg].from_public_bytes(x).verify(sig, message)
        else:
            curve, digest = FACTS[alg].curve, FACTS[alg].hash
            numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve)
            half = len(sig) // 2
            der = utils.encode_dss_signature(int.from_bytes(sig[:half]), int.from_bytes(sig[half:]))
            numbers.public_key().verify(der, message, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


@pytest.fixture
def sign(client):
    async def call(**body):
        async with client.post("/sign", json=body) as response:
            answer = await response.json()
            assert (response.status, answer.keys()) == (200, {"sig", "alg", "kid"})
            return answer["sig"]

    return call


@pytest.fixture
def verify(client):
    async def call(**body):
        async with client.post("/verify", json=body) as response:
            answer = await response.json()
            assert (response.status, answer.keys()) == (200, {"valid"})
            return answer["valid"]

    return call


@pytest.mark.parametrize("alg", ON_CURVES)
@pytest.mark.parametrize("padded", [True, False])
async def test_pyca_accepts_signatures_of_every_curve(client, generate, sign, verify, alg, padded):
    key = await generate(alg)
    await client.post(f"/key/{key['kid']}/associate", json={"alias": "did:example:1#k"})
    for ref in ({"kid": key["kid"]}, {"alias": "did:example:1#k"}):
        for message in MESSAGES:
            data = encode(message, padded=padded)
            sig = await sign(**ref, data=data)
            raw = base64.urlsafe_b64decode(sig)
            assert (sig, len(raw)) == (
                encode(raw),
                FACTS[alg].signature,
            )  # padded, and of fixed length
            assert pyca_accepts(alg, key["jwk"], message, raw)
            assert await verify(**ref, data=data, sig=encode(raw, padded=padded)) is True


@pytest.mark.parametrize("alg", ON_CURVES)
async def test_signatures_that_are_not_good(generate, sign, verify, alg):
    key, other = await generate(alg), await generate(alg)
    data = encode(b"hello")
    good = base64.urlsafe_b64decode(await sign(kid=key["kid"], data=data))
    size = len(good)
    changed = [bytes([good[0] ^ 1]) + good[1:], good[:-1] + bytes([good[-1] ^ 1])]
    lengths = [b"", good[:1], good[:-1], good + b"\x00", good * 2, b"\x00" + good]
    values = [bytes(size), b"\xff" * size, good[size // 2 :] + good[: size // 2]]
    der = [] if alg in EDWARDS else [utils.encode_dss_signature(1, 1)]
    for bad in (*changed, *lengths, *values, *der):
        assert await verify(kid=key["kid"], data=data, sig=encode(bad)) is False, bad.hex()
    assert await verify(kid=key["kid"], data=encode(b"hellp"), sig=encode(good)) is False
    assert await verify(kid=key["kid"], data="", sig=encode(good)) is False
    assert await verify(kid=other["kid"], data=data, sig=encode(good)) is False
    assert await verify(kid=key["kid"], data=data, sig=encode(good)) is True


@pytest.mark.parametrize("alg", ECDSA)
async def test_both_forms_of_s_are_good(generate, sign, verify, alg):
    kid = (await generate(alg))["kid"]
    sig = base64.urlsafe_b64decode(await sign(kid=kid, data=""))
    half = len(sig) // 2
    other = (FACTS[alg].order - int.from_bytes(sig[half:])).to_bytes(half)
    assert await verify(kid=kid, data="", sig=encode(sig[:half] + other)) is True


@pytest.mark.parametrize("alg", ON_CURVES)
async def test_a_signature_made_elsewhere_is_for_the_public_key_alone(generate, verify, alg):
    kid = (await generate(alg))["kid"]
    stranger = hashlib.sha512(alg.encode()).digest() * 3
    assert await verify(kid=kid, data="", sig=encode(stranger[: FACTS[alg].signature])) is False


@pytest.mark.parametrize("alg", named(lambda facts: "sign" not in facts.uses))
async def test_keys_that_cannot_sign(client, generate, alg):
    kid = (await generate(alg))["kid"]
    signing = await client.post("/sign", json={"kid": kid, "data": ""})
    verifying = await client.post("/verify", json={"kid": kid, "data": "", "sig": ""})
    for response in (signing, verifying):
        await refused(response, 422, "unsupported-operation")
    assert (await client.get(f"/key/{kid}")).status == 200
