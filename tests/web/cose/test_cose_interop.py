"""Independent libraries agree on COSE: python-cwt, pycose and cose-kit, in both directions."""

from pathlib import Path

import cbor2
import pytest
from algorithm_facts import FACTS
from base64url import b64, raw
from environments import environment
from json_programs import ask
from node import install

pytestmark = pytest.mark.shared_service

PAYLOAD, AAD = b"This is the content.", b"external"
# python-cwt admits no cbor2 6, and pycose reads none, so they are in an environment of their own.
PEERS = ("cwt==3.3.0", "pycose==1.1.0", "cbor2<6")
# The algorithms of each library; neither has ML-DSA, and pycose takes no longer HMAC keys.
CWT = ["ed25519", "ed448", "p256", "p384", "p521", "k256", "rsa2048", "hs256", "hs384", "hs512"]
PYCOSE = {"ed25519": "EdDSA", "p256": "Es256", "p384": "Es384", "p521": "Es512", "hs256": "HMAC256"}


@pytest.fixture
def key(get, generate):
    """Make a key; gives how the API names it, its COSE_Key, and its private JWK."""

    async def make(alg):
        kid = (await generate(alg, exportable=True))["kid"]
        public = (await get(f"/key/{kid}"))["cose_key"]
        private = (await get(f"/key/{kid}/export"))["jwk"]
        return {"kid": kid}, public, private

    return make


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """Let a function of cose_peers.py answer several questions, in the environment of the peers."""
    python = environment(tmp_path_factory.mktemp("peers") / "venv", *PEERS)
    script = Path(__file__).with_name("cose_peers.py")

    async def answers(function, questions):
        asked = {"function": function, "questions": questions}
        return await ask(python, "-W", "ignore", script, asked=asked)

    return answers


async def signed(post, body, *options):
    """The COSE messages of a body with each of the options, in hexadecimal digits."""
    return [raw((await post("/cose/sign", body | each))["cose"]).hex() for each in options]


ATTACHED, DETACHED = {}, {"detached": True}


@pytest.mark.slow
@pytest.mark.timeout(200)  # the first installs the peers
async def test_python_cwt_agrees(post, key, peers):
    asked = []
    for alg in CWT:
        by, public, private = await key(alg)
        for name in FACTS[alg].signing:
            body = {**by, "payload": b64(PAYLOAD), "alg": name, "external_aad": b64(AAD)}
            jwk = {**private, "alg": name, "kid": by["kid"]}
            attached, detached = await signed(post, body, ATTACHED, DETACHED)
            cose = {"attached": attached, "detached": detached}
            asked.append({"jwk": jwk, "public": public and raw(public).hex(), **cose})
    for question, found in zip(asked, await peers("python_cwt", asked), strict=True):
        assert found["payloads"] == [PAYLOAD.hex()] * 2
        body = {"kid": question["jwk"]["kid"], "cose": b64(bytes.fromhex(found["made"]))}
        result = await post("/cose/verify", {**body, "external_aad": b64(AAD)})
        assert (result["valid"], result["payload"]) == (True, b64(PAYLOAD))
        assert cbor2.loads(raw(result["protected"])) == {1: found["alg"], 3: "text/plain"}
        assert not (await post("/cose/verify", body))["valid"]


@pytest.mark.slow
@pytest.mark.timeout(200)  # the first installs the peers
async def test_pycose_agrees(post, key, peers):
    asked = []
    for alg, theirs in PYCOSE.items():
        by, public, private = await key(alg)
        ways = [ATTACHED, DETACHED] if public else [ATTACHED]  # pycose makes no detached codes
        body = {**by, "payload": b64(PAYLOAD), "external_aad": b64(AAD)}
        messages = await signed(post, body, *ways)
        secret = raw(private["d" if public else "k"]).hex()
        question = {"alg": theirs, "kid": by["kid"], "secret": secret, "messages": messages}
        asked.append({**question, "public": public and raw(public).hex()})
    for question, found in zip(asked, await peers("pycose_both_ways", asked), strict=True):
        kind = "Sign1Message" if question["public"] else "Mac0Message"
        for seen in found["seen"]:
            assert seen == {
                "kind": kind,
                "valid": True,
                "alg": question["alg"],
                "kid": question["kid"],
            }
        assert len(found["seen"]) == len(question["messages"])
        body = {"kid": question["kid"], "cose": b64(bytes.fromhex(found["made"]))}
        assert (await post("/cose/verify", {**body, "external_aad": b64(AAD)}))["valid"]
        assert not (await post("/cose/verify", body))["valid"]


@pytest.mark.slow
@pytest.mark.timeout(200)  # the first installs the peers
async def test_pycose_reads_rsa_keys(post, key, peers):
    by, public, _ = await key("rsa2048")
    cose = await post("/cose/sign", {**by, "payload": b64(PAYLOAD), "alg": "PS256"})
    asked = {"public": raw(public).hex(), "cose": raw(cose["cose"]).hex()}
    assert await peers("pycose_rsa", [asked]) == [{"kind": "RSAKey", "valid": True}]


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
    found = await ask("node", "run.mjs", asked=asked, cwd=npm)
    assert found["verified"] == [True] * len(asked)
    for by, cose in zip(owners, found["signed"], strict=True):
        result = await post("/cose/verify", {**by, "cose": cose})
        assert (result["valid"], result["payload"]) == (True, b64(PAYLOAD))
