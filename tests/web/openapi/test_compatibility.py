"""The service to a client written for the original mini-kms, which it must not notice."""

import base64

import pytest


class MiniKmsClient:
    """Calls as older clients do: it needs a status of 2xx, and every field that it reads."""

    def __init__(self, session, profile=None):
        self._session = session
        self._headers = {"X-Profile": profile or "default"}

    async def _call(self, method, path, **kwargs):
        async with self._session.request(method, path, headers=self._headers, **kwargs) as response:
            assert response.status == 200
            assert response.headers.getone("Content-Type").startswith("application/json")
            return await response.json()

    async def create_profile_if_not_exists(self, name):
        async with self._session.post("/profile", json={"name": name}) as response:
            if response.ok:
                assert (await response.json())["success"] is True
                return "created"
            assert response.status == 400
            assert "json" in response.headers.getone("Content-Type")
            body = await response.json(content_type=None)
            assert "already exists" in body.get("detail")
            return "already exists"

    async def generate_key(self, alg):
        return await self._call("POST", "/key/generate", json={"alg": alg})

    async def associate_key(self, kid, alias):
        return await self._call("POST", f"/key/{kid}/associate", json={"alias": alias})

    async def get_key(self, kid):
        return await self._call("GET", f"/key/{kid}")

    async def get_key_by_alias(self, alias):
        return await self._call("GET", "/key", params={"alias": alias})

    async def sign(self, kid, data):
        encoded = base64.urlsafe_b64encode(data).decode()
        answer = await self._call("POST", "/sign", json={"kid": kid, "data": encoded})
        # Without padding, this fails.
        return base64.b64decode(answer["sig"], altchars=b"-_", validate=True)

    async def verify(self, kid, data, sig):
        encode = base64.urlsafe_b64encode
        body = {"kid": kid, "data": encode(data).decode(), "sig": encode(sig).decode()}
        return (await self._call("POST", "/verify", json=body))["valid"]

    async def delete(self, kid):
        return await self._call("DELETE", f"/key/{kid}")


@pytest.fixture
async def wallet(client):
    kms = MiniKmsClient(client)
    assert await kms.create_profile_if_not_exists("wallet") == "created"
    assert await kms.create_profile_if_not_exists("wallet") == "already exists"
    return MiniKmsClient(client, "wallet")


@pytest.mark.parametrize("alg", ["ed25519", "p256", "p384", "k256", "secp256k1"])
async def test_a_wallet_that_signs(wallet, alg):
    key = await wallet.generate_key(alg)
    assert (await wallet.get_key(key["kid"]))["jwk"] == key["jwk"]
    alias = "did:web:example.com%3A8443#key-1"
    named = await wallet.associate_key(key["kid"], alias)
    assert (named["kid"], named["alias"]) == (key["kid"], alias)
    found = await wallet.get_key_by_alias(alias)
    assert {name: found[name] for name in ("kid", "jwk", "b58")} == {
        name: key[name] for name in ("kid", "jwk", "b58")
    }
    sig = await wallet.sign(key["kid"], b"a message")
    assert await wallet.verify(key["kid"], b"a message", sig) is True
    assert await wallet.verify(key["kid"], b"another", sig) is False
    assert (await wallet.delete(key["kid"]))["message"] == "Key deleted"


@pytest.mark.parametrize("alg", ["x25519", "bls12-381g1", "bls12-381g2", "bls12381g1"])
async def test_a_wallet_that_keeps_other_keys(wallet, alg):
    key = await wallet.generate_key(alg)
    assert isinstance(key["jwk"], dict)
    assert isinstance(key["b58"], str)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/profile", {"name": ""}, 422),
        ("/key/generate", {"alg": "invalid"}, 422),
        ("/sign", {"kid": "non_existent_key", "data": "SGVsbG8="}, 404),
    ],
)
async def test_refusals_keep_their_status(client, path, body, status):
    assert (await client.post(path, json=body)).status == status
