"""No answer has a secret in it, but those that are for that."""

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from itertools import product

import base58
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikms.registry import AlgorithmRegistry
from minikms.web.routes import ROUTES

ALGS = [entry.algorithm.name for entry in AlgorithmRegistry.from_installed()]
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "seed"}
GIVES = {"exportKey", "unwrap", "derive", "decrypt"}
DATA = "aGVsbG8="


def raw(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encodings(secret):
    """Every form in which bytes go into text, without what padding would hide."""
    yield secret.hex()
    yield secret.hex().upper()
    yield b64encode(secret).decode().rstrip("=")
    yield urlsafe_b64encode(secret).decode().rstrip("=")
    yield base58.b58encode(secret).decode()


def members(node):
    """The names of every object in a JSON document."""
    if isinstance(node, dict):
        yield from node
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from members(child)


def bodies(kid, jwk):
    """A body for each operation, whether the key can do it or not."""
    by = {"kid": kid}
    return {
        "sign": by | {"data": DATA},
        "verify": by | {"data": DATA, "sig": DATA},
        "signBatch": by | {"items": [{"data": DATA}]},
        "verifyBatch": by | {"items": [{"data": DATA, "sig": DATA}]},
        "encrypt": by | {"plaintext": DATA},
        "decrypt": by | {"ciphertext": DATA, "nonce": DATA, "tag": DATA},
        "wrap": by | {"key": "AAECAwQFBgcICQoLDA0ODw=="},
        "unwrap": by | {"wrapped": "A" * 32},
        "derive": by | {"peer": jwk or {}},
        "mac": by | {"data": DATA},
        "verifyMac": by | {"data": DATA, "mac": DATA},
        "signJws": by | {"payload": DATA},
        "verifyJws": by | {"jws": "a.b.c"},
        "associateAlias": {"alias": "a"},
        "updateKey": {"labels": {"a": "b"}},
        "random": {"length": 1},
        "createProfile": {"name": "p"},
        "generateKey": {"alg": "ed25519"},
        "importKey": {"jwk": jwk or {}},
    }


@pytest.mark.parametrize("alg", ALGS)
async def test_of_every_call_with_every_algorithm(client, post, generate, alg):
    key = await generate(alg, exportable=True)
    async with client.get(f"/key/{key['kid']}/export") as response:
        exported = (await response.json())["jwk"]
    secrets = [raw(exported[name]) for name in PRIVATE & exported.keys()]
    assert secrets
    forms = {form for secret in secrets for form in encodings(secret)}
    called = set()
    last = {"rotateKey": 1, "deleteKey": 2}
    for route in sorted(ROUTES, key=lambda route: last.get(route.name, 0)):
        if route.name in GIVES or route.name == "deleteProfile":
            continue
        path = route.path.partition("{")[0] + (
            key["kid"] + route.path.rpartition("}")[2] if "{" in route.path else ""
        )
        query = {"alias": "a"} if route.name in ("findKey", "dissociateAlias") else None
        body = bodies(key["kid"], key["jwk"]).get(route.name)
        async with client.request(route.method, path, json=body, params=query) as response:
            text = await response.text()
            assert response.status < 500
        called.add(route.name)
        document = json.loads(text)
        if route.name != "openapi":
            assert PRIVATE.isdisjoint(members(document)), (route.name, text)
        assert not [form for form in forms if form in text], route.name
        headers = str(dict(response.headers))
        assert not [form for form in forms if form in headers], route.name
    assert called == {route.name for route in ROUTES} - GIVES - {"deleteProfile"}


@pytest.mark.parametrize(
    ("alg", "field"), [*product(["p256", "a256gcm", "hs256"], ["secret", "jwk", "seed"])]
)
async def test_of_a_refused_import(client, alg, field):
    """What was sent to be kept, and could not be, is not sent back either."""

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(secret=st.binary(min_size=24, max_size=31) | st.binary(min_size=70, max_size=90))
    def collect(secret):
        found.append(secret)

    found = []
    collect()
    for secret in found:
        text = urlsafe_b64encode(secret).decode()
        value = {"kty": "EC", "crv": "P-256", "d": text, "x": text} if field == "jwk" else text
        body = {"alg": alg, field: value, "surplus": text}
        for sent in (body, {name: body[name] for name in ("alg", field)}):
            async with client.post("/key/import", json=sent) as response:
                answer = await response.text()
            if response.status == 200:
                continue  # HMAC takes a long secret
            assert response.status == 422
            assert not [form for form in encodings(secret) if form in answer]
