"""`GET /key` and `GET /key/{kid}` with `Accept: application/x-pem-file`: the public key in PEM."""

import pytest
from algorithm_facts import FACTS
from base64url import raw
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.jwk import import_key
from problems import refused

pytestmark = pytest.mark.shared_service

PEM = {"Accept": "application/x-pem-file"}
PUBLIC = [name for name, facts in FACTS.items() if facts.kty != "oct"]
WITH_SPKI = [name for name in PUBLIC if not name.startswith("bls")]


async def pem_of(client, path):
    async with client.get(path, headers=PEM) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-pem-file")
        return await answer.read()


@pytest.mark.parametrize("alg", WITH_SPKI)
async def test_other_libraries_read_the_public_key(client, generate, alg):
    key = await generate(alg)
    pem = await pem_of(client, f"/key/{key['kid']}")
    assert pem.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert pem.endswith(b"\n-----END PUBLIC KEY-----\n")
    if "joserfc" in FACTS[alg].libraries:
        assert import_key(pem, FACTS[alg].kty).thumbprint() == key["kid"]
    if "pyca" not in FACTS[alg].libraries:
        return
    public, jwk = load_pem_public_key(pem), key["jwk"]
    match public:
        case rsa.RSAPublicKey():
            assert public.public_numbers().n == int.from_bytes(raw(jwk["n"]))
        case ec.EllipticCurvePublicKey():
            numbers = public.public_numbers()
            given = [int.from_bytes(raw(jwk[name])) for name in "xy"]
            assert [numbers.x, numbers.y] == given
        case _:
            assert public.public_bytes_raw() == raw(jwk.get("x") or jwk["pub"])


async def test_an_alias_leads_to_the_same(client, generate):
    key = await generate("p256", alias="did:example:1#pem")
    found = await pem_of(client, "/key?alias=did:example:1%23pem")
    assert found == await pem_of(client, f"/key/{key['kid']}")


@pytest.mark.parametrize("alg", [name for name in FACTS if name not in WITH_SPKI])
async def test_a_key_without_such_a_form_is_refused(client, generate, alg):
    key = await generate(alg)
    async with client.get(f"/key/{key['kid']}", headers=PEM) as answer:
        await refused(answer, 422, "unsupported-option")


async def test_problems_stay_json(client):
    async with client.get(f"/key/{'Z' * 43}", headers=PEM) as answer:
        await refused(answer, 404, "key-not-found")
    async with client.get("/key?alias=nope", headers=PEM) as answer:
        await refused(answer, 404, "alias-not-found")


async def test_other_callers_get_json(client, generate):
    key = await generate("p256")
    for accept in ("application/json", "*/*"):
        async with client.get(f"/key/{key['kid']}", headers={"Accept": accept}) as answer:
            assert (await answer.json())["kid"] == key["kid"]
