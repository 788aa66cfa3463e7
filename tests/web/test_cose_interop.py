"""Independent libraries agree on COSE: python-cwt, pycose and cose-kit, in both directions."""

import asyncio
import json

import cbor2
import pytest
from algorithm_facts import FACTS
from cwt import COSE, COSEKey
from encoded import b64, raw
from node import install
from pycose import algorithms, headers, keys, messages

pytestmark = pytest.mark.shared_service

PAYLOAD, AAD = b"This is the content.", b"external"
# The algorithms of each library; neither has ML-DSA, and pycose takes no longer HMAC keys.
CWT = ["ed25519", "ed448", "p256", "p384", "p521", "k256", "rsa2048", "hs256", "hs384", "hs512"]
PYCOSE = {
    "ed25519": algorithms.EdDSA,
    "p256": algorithms.Es256,
    "p384": algorithms.Es384,
    "p521": algorithms.Es512,
    "hs256": algorithms.HMAC256,
}


@pytest.fixture
def key(get, generate):
    """Make a key; gives how the API names it, its COSE_Key, and its private JWK."""

    async def make(alg):
        kid = (await generate(alg, exportable=True))["kid"]
        public = (await get(f"/key/{kid}"))["cose_key"]
        private = (await get(f"/key/{kid}/export"))["jwk"]
        return {"kid": kid}, public and cbor2.loads(raw(public)), private

    return make


@pytest.mark.parametrize("alg", CWT)
async def test_python_cwt_agrees(post, key, alg):
    by, public, private = await key(alg)
    jwk = {name: value for name, value in private.items() if name != "alg"}
    for name in FACTS[alg].signing:
        theirs = COSEKey.from_jwk({**jwk, "alg": name, "kid": by["kid"]})
        verifier = theirs
        if public:
            verifier = COSEKey.new({**public, 2: by["kid"].encode(), 3: theirs.alg})
        body = {**by, "payload": b64(PAYLOAD), "alg": name, "external_aad": b64(AAD)}
        for option, more in (({}, {}), ({"detached": True}, {"detached_payload": PAYLOAD})):
            cose = raw((await post("/cose/sign", body | option))["cose"])
            assert COSE.new().decode(cose, verifier, external_aad=AAD, **more) == PAYLOAD

        protected = {1: theirs.alg, 3: "text/plain"}
        made = COSE.new().encode(PAYLOAD, theirs, protected, {4: b"1"}, external_aad=AAD)
        body = {**by, "cose": b64(made), "external_aad": b64(AAD)}
        result = await post("/cose/verify", body)
        assert (result["valid"], result["payload"]) == (True, b64(PAYLOAD))
        assert cbor2.loads(raw(result["protected"])) == protected
        assert not (await post("/cose/verify", body | {"external_aad": ""}))["valid"]


@pytest.mark.parametrize("alg", PYCOSE)
async def test_pycose_agrees(post, key, alg):
    by, public, private = await key(alg)
    if public:
        theirs = keys.CoseKey.from_dict({**public, -4: raw(private["d"])})
        kind = messages.Sign1Message
    else:
        theirs = keys.CoseKey.from_dict({1: 4, -1: raw(private["k"])})
        kind = messages.Mac0Message
    body = {**by, "payload": b64(PAYLOAD), "external_aad": b64(AAD)}
    ways = [({}, {}), ({"detached": True}, {"detached_payload": PAYLOAD})]
    for option, more in ways if public else ways[:1]:  # pycose has no detached codes
        cose = raw((await post("/cose/sign", body | option))["cose"])
        message = messages.CoseMessage.decode(cose)
        assert isinstance(message, kind)
        message.key, message.external_aad = theirs, AAD
        verify = message.verify_signature if public else message.verify_tag
        assert verify(**more)
        assert message.phdr == {headers.Algorithm: PYCOSE[alg]}
        assert message.uhdr == {headers.KID: by["kid"].encode()}

    made = kind({headers.Algorithm: PYCOSE[alg]}, {headers.KID: b"1"}, PAYLOAD, external_aad=AAD)
    made.key = theirs
    body = {**by, "cose": b64(made.encode()), "external_aad": b64(AAD)}
    assert (await post("/cose/verify", body))["valid"]


async def test_pycose_reads_rsa_keys(get, post, generate):
    found = await get(f"/key/{(await generate('rsa2048'))['kid']}")
    theirs = keys.CoseKey.decode(raw(found["cose_key"]))
    assert isinstance(theirs, keys.RSAKey)
    cose = await post("/cose/sign", {"kid": found["kid"], "payload": b64(PAYLOAD), "alg": "PS256"})
    message = messages.CoseMessage.decode(raw(cose["cose"]))
    message.key = theirs
    assert message.verify_signature()


NPM_PACKAGES = ("cose-kit@1.7.1", "jose@5.10.0")
# The algorithms of cose-kit, in the names of JOSE.
COSE_KIT = {"ed25519": "EdDSA", "p256": "ES256", "p384": "ES384", "p521": "ES512"}
SCRIPT = """
import { text } from "node:stream/consumers";
import { coseSign, coseVerify } from "cose-kit";
import { importJWK } from "jose";

const asked = JSON.parse(await text(process.stdin));
const verified = [], signed = [];
for (const { alg, jwk, cose, payload } of asked) {
  const { d, ...publicJwk } = jwk;
  const message = Buffer.from(cose, "base64url");
  verified.push((await coseVerify(message, await importJWK(publicJwk, alg))).isValid);
  const header = [{ alg }, { kid: Buffer.from("1") }];
  const made = await coseSign(...header, Buffer.from(payload), await importJWK(jwk, alg));
  signed.push(Buffer.from(made).toString("base64url"));
}
console.log(JSON.stringify({ verified, signed }));
"""


@pytest.fixture(scope="module")
def npm(tmp_path_factory):
    """A folder with the packages of npm."""
    return install(tmp_path_factory.mktemp("npm"), *NPM_PACKAGES)


async def run(*command, cwd, given=b""):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe
    )
    output, errors = await process.communicate(given)
    assert process.returncode == 0, errors.decode()
    return output


@pytest.mark.slow
@pytest.mark.timeout(180)  # npm installs packages
async def test_cose_kit_agrees(post, key, npm):
    (npm / "run.mjs").write_text(SCRIPT)
    owners, asked = [], []
    for alg, name in COSE_KIT.items():
        by, _, private = await key(alg)
        cose = (await post("/cose/sign", {**by, "payload": b64(PAYLOAD)}))["cose"]
        owners.append(by)
        asked.append({"alg": name, "jwk": private, "cose": cose, "payload": PAYLOAD.decode()})
    found = json.loads(await run("node", "run.mjs", cwd=npm, given=json.dumps(asked).encode()))
    assert found["verified"] == [True] * len(asked)
    for by, cose in zip(owners, found["signed"], strict=True):
        result = await post("/cose/verify", {**by, "cose": cose})
        assert (result["valid"], result["payload"]) == (True, b64(PAYLOAD))
