"""A verifier that has cached the JWK Set, while the key rotates: PyJWT's client."""

import asyncio
from base64 import urlsafe_b64encode

import jwt
import pytest

CLAIMS = b'{"iss":"https://issuer.example","sub":"alice"}'


@pytest.fixture
def issue(post):
    """Sign a JWT by alias."""

    async def call(**options):
        payload = urlsafe_b64encode(CLAIMS).decode()
        body = {"alias": "issuer", "payload": payload, "header": {"typ": "JWT"}, **options}
        return (await post("/jws/sign", body))["jws"]

    return call


@pytest.fixture
def verifier(client):
    """Verify a JWT as a program does that asks for the set once, and again for an unknown kid."""
    url = str(client.make_url("/jwks.json"))
    # By default it waits 30 seconds from one fetch to the next.
    keys = jwt.PyJWKClient(url, lifespan=3600, cooldown_duration=0)

    def verify(token):
        key = keys.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["EdDSA", "ES256", "ES256K", "RS256"])

    async def run(token):
        return (await asyncio.to_thread(verify, token))["sub"]

    return run


async def rotate(client):
    kid = (await (await client.get("/key?alias=issuer")).json())["kid"]
    async with client.post(f"/key/{kid}/rotate") as response:
        assert response.status == 200


@pytest.mark.parametrize("alg", ["ed25519", "p256", "k256", "rsa2048"])
async def test_tokens_by_kid_verify_over_rotations(client, generate, issue, verifier, alg):
    await generate(alg, alias="issuer")
    await generate("mldsa44")  # which PyJWT does not know, and passes over
    tokens = []
    for _ in range(3):
        tokens.append(await issue(kid_header="kid"))
        assert [await verifier(token) for token in tokens] == ["alice"] * len(tokens)
        await rotate(client)
    assert len({jwt.get_unverified_header(token)["kid"] for token in tokens}) == 3


async def test_tokens_by_alias_verify_with_the_set_of_their_time(client, generate, issue, verifier):
    await generate("p256", alias="issuer")
    before = await issue(kid_header="alias")
    assert jwt.get_unverified_header(before)["kid"] == "issuer"
    assert await verifier(before) == "alice"
    await rotate(client)
    assert await verifier(before) == "alice"
    with pytest.raises(jwt.InvalidSignatureError):  # by the old key, in the set that it has
        await verifier(await issue())
