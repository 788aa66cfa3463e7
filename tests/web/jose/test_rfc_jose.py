"""The JOSE examples of RFC 7515, 7520, 7797, 8037 and 9964 (in rfc_jose.json), over HTTP.

RFC 9964 prints its examples in appendix A.1 for each parameter set, RFC 7520 in section 4.
"""

import json
from pathlib import Path

import pytest
from base64url import changed

from minikms.encodings import b64url, b64url_decode

pytestmark = pytest.mark.shared_service

EXAMPLES = json.loads(Path(__file__).with_name("rfc_jose.json").read_text())
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "priv"}

PUBLIC = {name: example for name, example in EXAMPLES.items() if example["key"]["kty"] != "oct"}


def public(jwk):
    return {name: value for name, value in jwk.items() if name not in PRIVATE}


def importable(jwk):
    """A body that imports `jwk`; a secret key is named in the JWK or beside it."""
    return {"jwk": jwk} if jwk["kty"] != "oct" or "alg" in jwk else {"jwk": jwk, "alg": "HS256"}


def header_of(jws):
    return json.loads(b64url_decode(jws.split(".")[0]))


def payload_of(example):
    return example.get("payload") or example["jws"].split(".")[1]


async def check(post, example, by):
    body = {"jws": example["jws"], **by}
    if "payload" in example:
        body["payload"] = example["payload"]
    good = {
        "valid": True,
        "header": header_of(example["jws"]),
        "payload": b64url(b64url_decode(payload_of(example))),
    }
    assert await post("/jws/verify", body) == good
    protected, payload, signature = example["jws"].split(".")
    forged = {**body, "jws": f"{protected}.{payload}.{changed(signature)}"}
    assert not (await post("/jws/verify", forged))["valid"]
    other = changed(payload_of(example))
    if payload:
        forged = {**body, "jws": f"{protected}.{other}.{signature}"}
    else:
        forged = {**body, "payload": other}
    assert not (await post("/jws/verify", forged))["valid"]


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_examples_verify_by_their_private_key(get, post, name):
    example = EXAMPLES[name]
    jwk = example["key"]
    kid = (await post("/key/import", {**importable(jwk), "exportable": True}))["kid"]
    await check(post, example, {"kid": kid})
    exported = (await get(f"/key/{kid}/export"))["jwk"]
    described = {"kid", "use"} if jwk["kty"] == "AKP" else {"kid", "use", "alg"}
    assert {member: jwk[member] for member in jwk.keys() - described}.items() <= exported.items()


@pytest.mark.parametrize("name", PUBLIC)
async def test_the_examples_verify_by_their_public_key(post, name):
    example = PUBLIC[name]
    jwk = public(example["key"])
    key = await post("/key/import", {"jwk": jwk})
    assert key["operations"] == ["verify"] + ["encrypt"] * (jwk["kty"] == "RSA")
    for by in ({"kid": key["kid"]}, {"jwk": jwk}):
        await check(post, example, by)


@pytest.mark.parametrize("name", ["RFC 7520 4.1", "RFC 7520 4.4"])
async def test_made_again_where_alg_and_kid_are_the_header(post, name):
    """The others have no `kid`, or are of an algorithm that does not sign alike twice."""
    example = EXAMPLES[name]
    header = header_of(example["jws"])
    await post("/key/import", {**importable(example["key"]), "alias": header["kid"]})
    payload = payload_of(example)
    body = {"alias": header["kid"], "payload": payload, "alg": header["alg"]}
    assert await post("/jws/sign", body) == {"jws": example["jws"]}


@pytest.mark.parametrize("name", ["RFC 7515 A.1", "RFC 7515 A.2", "RFC 8037 A.4", "RFC 7797 4.2"])
async def test_the_signatures_of_the_rfcs_are_made_again(post, name):
    """Return the signature alone; the vector's header differs from the service's."""
    example = EXAMPLES[name]
    kid = (await post("/key/import", importable(example["key"])))["kid"]
    protected, payload, signature = example["jws"].split(".")
    data = f"{protected}.{payload}".encode()
    if not header_of(example["jws"]).get("b64", True):
        data = protected.encode() + b"." + b64url_decode(example["payload"])
    if example["key"]["kty"] == "oct":
        made = (await post("/mac", {"kid": kid, "data": b64url(data)}))["mac"]
    else:
        made = (await post("/sign", {"kid": kid, "data": b64url(data)}))["sig"]
    assert b64url_decode(made) == b64url_decode(signature)


@pytest.mark.parametrize(
    ("name", "kid"),
    [
        ("RFC 8037 A.4", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        *((name, e["key"]["kid"]) for name, e in EXAMPLES.items() if e["key"]["kty"] == "AKP"),
    ],
)
async def test_the_kid_is_the_thumbprint_that_the_rfc_prints(post, name, kid):
    assert (await post("/key/import", {"jwk": EXAMPLES[name]["key"]}))["kid"] == kid


@pytest.mark.parametrize("alg", ["mldsa44", "mldsa65", "mldsa87"])
async def test_rfc_9964_keys_come_from_a_seed_of_zeros(post, alg):
    name = f"RFC 9964 A.1 ML-DSA-{alg[-2:]}"
    key = await post("/key/import", {"alg": alg, "seed": b64url(bytes(32))})
    assert key["jwk"]["pub"] == EXAMPLES[name]["key"]["pub"]


async def test_the_unsecured_jws_of_rfc_7515_a_5_is_not_valid(post):
    payload = EXAMPLES["RFC 7515 A.1"]["jws"].split(".")[1]
    jws = f"eyJhbGciOiJub25lIn0.{payload}."
    for example in EXAMPLES.values():
        if example["key"]["kty"] != "oct":
            body = {"jws": jws, "jwk": public(example["key"])}
            assert not (await post("/jws/verify", body))["valid"]


AGREEMENTS = {
    "RFC 7518 C": (
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
            "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
            "d": "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo",
        },
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
            "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
        },
        "9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4",
    ),
    "RFC 8037 A.6": (
        {
            "kty": "OKP",
            "crv": "X25519",
            "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo",
            "d": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo",
        },
        {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"},
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
}


@pytest.mark.parametrize("name", AGREEMENTS)
async def test_agreements_give_the_secrets_of_the_rfcs(post, name):
    jwk, peer, secret = AGREEMENTS[name]
    kid = (await post("/key/import", {"jwk": jwk}))["kid"]
    derived = (await post("/derive", {"kid": kid, "peer": peer | {"kid": "Bob"}}))["secret"]
    assert b64url_decode(derived).hex() == secret
