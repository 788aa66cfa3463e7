"""The EUDIPLO door answers the calls of EUDIPLO's http-kms.adapter.ts."""

import base64
import contextlib
import json

import pytest
from aiohttp import ClientSession
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from minikms.errors import StoreUnavailable
from minikms.store.keys.key_store import KeyStore

KID = "0c4de2c6-4a63-4ac8-a1e1-0f5b1c6d3a11"
HELLO = base64.b64encode(b"hello").decode()
ES256 = {"alg": "ES256"}


class Eudiplo:
    """A client of the door; `rest` is the client of the service's own API."""

    def __init__(self, session, url, rest):
        self.session, self.url, self.rest = session, url, rest

    async def call(self, method, path, body=None, token=""):
        """The status and the JSON of an answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        sent = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        async with self.session.request(
            method, f"{self.url}{path}", data=sent, headers=headers
        ) as answer:
            return answer.status, json.loads(await answer.read() or b"null")


@pytest.fixture
async def start_eudiplo(start_with_doors):
    async with contextlib.AsyncExitStack() as sessions:

        async def run(**options):
            client, urls = await start_with_doors("eudiplo", **options)
            session = await sessions.enter_async_context(ClientSession())
            return Eudiplo(session, urls["eudiplo"], client)

        yield run


@pytest.fixture
async def eudiplo(start_eudiplo):
    return await start_eudiplo()


def check(jwk, signature):
    """Verify a signature of `hello` in base64url without padding, of r and s."""
    assert not set(signature) & set("=+/")
    raw = base64.urlsafe_b64decode(signature + "==")
    x, y = (int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=="), "big") for name in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    key.verify(utils.encode_dss_signature(r, s), b"hello", ec.ECDSA(hashes.SHA256()))


async def test_a_key_is_made_used_and_deleted(eudiplo):
    status, made = await eudiplo.call("POST", "/keys", {"kid": KID, **ES256})
    assert status == 200
    assert (made["publicJwk"]["kty"], made["publicJwk"]["crv"]) == ("EC", "P-256")
    assert "d" not in made["publicJwk"]
    status, signed = await eudiplo.call("POST", f"/keys/{KID}/sign", {"data": HELLO, **ES256})
    assert status == 200
    check(made["publicJwk"], signed["signature"])
    found = await eudiplo.rest.get("/key", params={"alias": KID})
    assert (await found.json())["jwk"] == made["publicJwk"]
    assert await eudiplo.call("DELETE", f"/keys/{KID}") == (204, None)
    status, refused = await eudiplo.call("POST", f"/keys/{KID}/sign", {"data": HELLO, **ES256})
    assert (status, refused["error"]) == (404, "alias-not-found")
    assert (await eudiplo.call("DELETE", f"/keys/{KID}"))[0] == 404


async def test_a_name_signs_by_its_key_and_after_the_rotation_by_the_next_key(eudiplo):
    await eudiplo.call("POST", "/keys", {"kid": KID, **ES256})
    async with eudiplo.rest.get("/key", params={"alias": KID}) as answer:
        jwk, kid = (found := await answer.json())["jwk"], found["kid"]
    async with eudiplo.rest.post(f"/key/{kid}/next") as answer:
        following = await answer.json()
    path = f"/keys/{following['kid']}/sign"
    assert (await eudiplo.call("POST", path, {"data": HELLO, **ES256}))[0] == 404
    for signing in (jwk, following["jwk"]):
        _, signed = await eudiplo.call("POST", f"/keys/{KID}/sign", {"data": HELLO, **ES256})
        check(signing, signed["signature"])
        async with eudiplo.rest.post(f"/key/{kid}/rotate") as answer:
            assert answer.status == (200 if signing is jwk else 409)


def private_jwk(crv="P-256", curve=ec.SECP256R1):
    """A new private JWK."""
    secret = ec.generate_private_key(curve()).private_numbers()
    public, size = secret.public_numbers, (curve.key_size + 7) // 8
    numbers = {"x": public.x, "y": public.y, "d": secret.private_value}
    texts = {
        name: base64.urlsafe_b64encode(number.to_bytes(size, "big")).decode().rstrip("=")
        for name, number in numbers.items()
    }
    return {"kty": "EC", "crv": crv, **texts}


def public_jwk(jwk):
    return {name: value for name, value in jwk.items() if name != "d"}


async def test_a_key_is_imported(eudiplo):
    private = private_jwk()
    jwk, body = public_jwk(private), {"privateJwk": private, **ES256}
    assert await eudiplo.call("POST", f"/keys/{KID}/import", body) == (200, {"publicJwk": jwk})
    _, signed = await eudiplo.call("POST", f"/keys/{KID}/sign", {"data": HELLO, **ES256})
    check(jwk, signed["signature"])
    status, refused = await eudiplo.call("POST", "/keys/other/import", body)
    assert (status, refused["error"]) == (409, "key-exists")
    # Another key does not take the kid away.
    other = {"privateJwk": private_jwk(), **ES256}
    status, refused = await eudiplo.call("POST", f"/keys/{KID}/import", other)
    assert (status, refused["error"]) == (409, "alias-exists")
    _, signed = await eudiplo.call("POST", f"/keys/{KID}/sign", {"data": HELLO, **ES256})
    check(jwk, signed["signature"])


async def test_a_key_of_another_algorithm_is_not_imported(eudiplo):
    body = {"privateJwk": private_jwk("P-384", ec.SECP384R1), **ES256}
    status, refused = await eudiplo.call("POST", f"/keys/{KID}/import", body)
    assert (status, refused["error"]) == (422, "invalid-key")
    assert (await eudiplo.rest.get("/key", params={"alias": KID})).status == 404


async def test_no_web_page_calls_the_door(eudiplo):
    url = f"{eudiplo.url}/keys"
    body = {"kid": KID, **ES256}
    async with eudiplo.session.post(url, json=body, headers={"Origin": "null"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (403, "forbidden")
    assert (await eudiplo.rest.get("/key", params={"alias": KID})).status == 404


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"{", "malformed-json"),
        (b"[]", "validation-failed"),
        ({"alg": "ES256"}, "validation-failed"),
        ({"kid": "a/b", **ES256}, "validation-failed"),
        ({"kid": "", **ES256}, "validation-failed"),
        ({"kid": "a" * 257, **ES256}, "validation-failed"),
        ({"kid": "a\0b", **ES256}, "validation-failed"),
        ({"kid": "a\nb", **ES256}, "validation-failed"),
        ({"kid": f"aws:{KID}", **ES256}, "validation-failed"),
        ({"kid": "vault:wrapping-key", **ES256}, "validation-failed"),
        ({"kid": KID}, "validation-failed"),
        ({"kid": KID, "alg": "EdDSA"}, "validation-failed"),
        ({"kid": KID, "alg": 7}, "validation-failed"),
    ],
)
async def test_a_wrong_body_is_refused(eudiplo, body, slug):
    status, refused = await eudiplo.call("POST", "/keys", body)
    assert 400 <= status < 500
    assert refused["error"] == slug


async def test_the_refusal_names_a_member_that_is_missing(eudiplo):
    for body, name in (({"kid": None, **ES256}, "kid"), ({"kid": KID}, "alg")):
        _, refused = await eudiplo.call("POST", "/keys", body)
        assert refused["message"] == f"{name} is missing."


@pytest.mark.parametrize("body", [{"data": "*", **ES256}, {**ES256}, {"data": HELLO, "alg": "x"}])
async def test_a_wrong_signature_is_refused(eudiplo, body):
    await eudiplo.call("POST", "/keys", {"kid": KID, **ES256})
    _, refused = await eudiplo.call("POST", f"/keys/{KID}/sign", body)
    assert refused["error"] == "validation-failed"


PUBLIC = public_jwk(private_jwk())


@pytest.mark.parametrize("jwk", [1, None, [], {}, PUBLIC])
async def test_a_key_without_its_private_part_is_not_imported(eudiplo, jwk):
    body = {"privateJwk": jwk, **ES256}
    _, refused = await eudiplo.call("POST", f"/keys/{KID}/import", body)
    assert refused["error"] == "validation-failed"


async def test_a_large_body_with_many_values_is_refused(eudiplo):
    body = {"kid": KID, **ES256, "padding": [{}] * 30_000}
    status, refused = await eudiplo.call("POST", "/keys", body)
    assert (status, refused["error"]) == (413, "body-too-large")


async def test_a_kid_names_one_key(eudiplo):
    await eudiplo.call("POST", "/keys", {"kid": KID, **ES256})
    status, refused = await eudiplo.call("POST", "/keys", {"kid": KID, **ES256})
    assert (status, refused["error"]) == (409, "alias-exists")
    # encodeURIComponent of the kid `did:example:1#a b`.
    await eudiplo.call("POST", "/keys", {"kid": "did:example:1#a b", **ES256})
    path = "/keys/did%3Aexample%3A1%23a%20b/sign"
    assert (await eudiplo.call("POST", path, {"data": HELLO, **ES256}))[0] == 200


async def test_a_caller_needs_a_token_except_for_the_health(start_eudiplo, admin):
    eudiplo = await start_eudiplo(auth="token", admin_token_file=admin[1])
    assert await eudiplo.call("GET", "/health") == (200, {"ok": True})
    body = {"kid": KID, **ES256}
    for token in ("", "another"):
        status, refused = await eudiplo.call("POST", "/keys", body, token)
        assert (status, refused["error"]) == (401, "unauthenticated")
    assert (await eudiplo.call("POST", "/keys", body, admin[0]))[0] == 200


async def test_the_health_is_that_of_the_store(eudiplo, monkeypatch):
    async def away(self):
        raise StoreUnavailable

    monkeypatch.setattr(KeyStore, "ping", away)
    status, refused = await eudiplo.call("GET", "/health")
    assert (status, refused["error"]) == (503, "store-unavailable")


async def test_the_path_begins_with_a_profile(eudiplo):
    await eudiplo.rest.post("/profile", json={"name": "alice"})
    assert (await eudiplo.call("POST", "/alice/keys", {"kid": KID, **ES256}))[0] == 200
    sign = {"data": HELLO, **ES256}
    assert (await eudiplo.call("POST", f"/alice/keys/{KID}/sign", sign))[0] == 200
    assert (await eudiplo.call("POST", f"/keys/{KID}/sign", sign))[0] == 404
    status, refused = await eudiplo.call("POST", "/bob/keys", {"kid": KID, **ES256})
    assert (status, refused["error"]) == (404, "profile-not-found")
    assert (await eudiplo.call("GET", "/alice/health"))[0] == 200
    assert (await eudiplo.call("GET", "/alice"))[0] == 404


@pytest.mark.parametrize("rules", [{"raw": False}, "sd-jwt-vc"], ids=str)
async def test_a_signature_is_raw_to_the_rules_of_the_key(eudiplo, rules):
    assert (await eudiplo.call("POST", "/keys", {"kid": KID, **ES256}))[0] == 200
    async with eudiplo.rest.get("/key", params={"alias": KID}) as answer:
        kid = (await answer.json())["kid"]
    async with eudiplo.rest.patch(f"/key/{kid}", json={"rules": rules}) as answer:
        assert answer.status == 200
    status, body = await eudiplo.call("POST", f"/keys/{KID}/sign", {**ES256, "data": HELLO})
    assert (status, body["error"]) == (403, "rule-violated")
