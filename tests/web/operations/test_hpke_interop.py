"""Independent libraries agree on HPKE with AAD, both ways: npm's hpke, hpke-js, and COSE-HPKE."""

from pathlib import Path

import cbor2
import pytest
from base64url import b64, raw
from environments import environment
from json_programs import ask
from node import install

pytestmark = [pytest.mark.shared_service, pytest.mark.slow]

PLAIN, INFO, AAD = b"hello", b"info", b"header"
BOUND = {"info": b64(INFO), "aad": b64(AAD)}

NPM_PACKAGES = ("hpke@1.1.7", "@hpke/core@1.9.0")
# KEMs and AEADs by the names of both packages.
NPM = {
    "p256": ("P256_HKDF_SHA256", "P256HkdfSha256"),
    "p384": ("P384_HKDF_SHA384", "P384HkdfSha384"),
    "p521": ("P521_HKDF_SHA512", "P521HkdfSha512"),
    "x25519": ("X25519_HKDF_SHA256", "X25519HkdfSha256"),
    "x448": ("X448_HKDF_SHA512", "X448HkdfSha512"),
}
AEADS = {"AES-128-GCM": ("AES_128_GCM", "Aes128Gcm"), "AES-256-GCM": ("AES_256_GCM", "Aes256Gcm")}
SCRIPT = """
import { text } from "node:stream/consumers";
import * as hpke from "hpke";
import * as core from "@hpke/core";

const asked = JSON.parse(await text(process.stdin));
const decoded = (part) => new Uint8Array(Buffer.from(part, "base64url"));
const encoded = (part) => Buffer.from(part).toString("base64url");
const bytes = (part) => new Uint8Array(Buffer.from(part));
const plain = bytes(asked.plain), info = bytes(asked.info), aad = bytes(asked.aad);

async function byHpke({ kem, aead, jwk, made }) {
  const suite = new hpke.CipherSuite(
    hpke[`KEM_DHKEM_${kem[0]}`], hpke.KDF_HKDF_SHA256, hpke[`AEAD_${aead[0]}`],
  );
  const point = jwk.y ? [4, ...decoded(jwk.x), ...decoded(jwk.y)] : decoded(jwk.x);
  const publicKey = await suite.DeserializePublicKey(new Uint8Array(point));
  const pair = { publicKey, privateKey: await suite.DeserializePrivateKey(decoded(jwk.d)) };
  const opened = await suite.Open(pair, decoded(made.enc), decoded(made.ciphertext), { info, aad });
  const sealed = await suite.Seal(publicKey, plain, { info, aad });
  const enc = encoded(sealed.encapsulatedSecret);
  return { opened: encoded(opened), enc, ciphertext: encoded(sealed.ciphertext) };
}

async function byCore({ kem, aead, jwk, made }) {
  const { d, ...to } = jwk;
  const suite = new core.CipherSuite({
    kem: new core[`Dhkem${kem[1]}`](), kdf: new core.HkdfSha256(), aead: new core[aead[1]](),
  });
  const recipientKey = await suite.kem.importKey("jwk", jwk, false);
  const enc = decoded(made.enc);
  const opened = await suite.open({ recipientKey, enc, info }, decoded(made.ciphertext), aad);
  const recipientPublicKey = await suite.kem.importKey("jwk", to, true);
  const sealed = await suite.seal({ recipientPublicKey, info }, plain, aad);
  return { opened: encoded(opened), enc: encoded(sealed.enc), ciphertext: encoded(sealed.ct) };
}

const found = [];
for (const each of asked.questions) found.push([await byHpke(each), await byCore(each)]);
console.log(JSON.stringify(found));
"""


@pytest.mark.timeout(180)  # npm installs packages
async def test_hpke_and_hpke_js_agree(post, get, generate, tmp_path):
    folder = install(tmp_path, *NPM_PACKAGES)
    (folder / "run.mjs").write_text(SCRIPT)
    questions, suites = [], []
    for alg, kem in NPM.items():
        for aead, names in AEADS.items():
            key = await generate(alg, exportable=True)
            made = await post(
                "/hpke/seal", {"to": key["jwk"], "plaintext": b64(PLAIN), "aead": aead, **BOUND}
            )
            jwk = (await get(f"/key/{key['kid']}/export"))["jwk"]
            questions.append({"kem": kem, "aead": names, "jwk": jwk, "made": made})
            suites.append({"kid": key["kid"], "aead": aead, **BOUND})
    asked = {"plain": PLAIN.decode(), "info": INFO.decode(), "aad": AAD.decode()}
    found = await ask("node", "run.mjs", asked={**asked, "questions": questions}, cwd=folder)
    for suite, answers in zip(suites, found, strict=True):
        for answer in answers:
            assert raw(answer.pop("opened")) == PLAIN
            assert await post("/hpke/open", suite | answer) == {"plaintext": b64(PLAIN)}


# draft-ietf-cose-hpke: the numbers of integrated encryption, with name, key, KDF and AEAD.
COSE = {
    35: ("HPKE-0", "p256", "HKDF-SHA256", "AES-128-GCM"),
    37: ("HPKE-1", "p384", "HKDF-SHA384", "AES-256-GCM"),
    39: ("HPKE-2", "p521", "HKDF-SHA512", "AES-256-GCM"),
    41: ("HPKE-3", "x25519", "HKDF-SHA256", "AES-128-GCM"),
    42: ("HPKE-4", "x25519", "HKDF-SHA256", "ChaCha20Poly1305"),
    43: ("HPKE-5", "x448", "HKDF-SHA512", "AES-256-GCM"),
    44: ("HPKE-6", "x448", "HKDF-SHA512", "ChaCha20Poly1305"),
    45: ("HPKE-7", "p256", "HKDF-SHA256", "AES-256-GCM"),
}
EK = -4  # the header with the encapsulated key


def enc_structure(protected):
    """The AAD of a COSE_Encrypt0 (RFC 9052 section 5.3)."""
    return b64(cbor2.dumps(["Encrypt0", protected, AAD]))


@pytest.mark.timeout(200)  # installs python-cwt
async def test_python_cwt_agrees_on_cose_hpke(post, get, generate, tmp_path):
    # python-cwt admits no cbor2 6.
    python = environment(tmp_path / "venv", "cwt==3.3.0", "cbor2<6")
    questions, keys = [], []
    for number, (name, alg, kdf, aead) in COSE.items():
        key, protected = await generate(alg, exportable=True), cbor2.dumps({1: number})
        options = {"kdf": kdf, "aead": aead}
        body = {"to": key["jwk"], "plaintext": b64(PLAIN), "aad": enc_structure(protected)}
        made = await post("/hpke/seal", body | options)
        message = [protected, {EK: raw(made["enc"])}, raw(made["ciphertext"])]
        jwk = (await get(f"/key/{key['kid']}/export"))["jwk"]
        cose = cbor2.dumps(cbor2.CBORTag(16, message)).hex()
        asked = {"alg": number, "name": name, "jwks": [jwk, key["jwk"]], "cose": cose}
        questions.append(asked)
        keys.append({"kid": key["kid"], **options})
    asked = {"plain": PLAIN.hex(), "aad": AAD.hex(), "questions": questions}
    script = Path(__file__).with_name("cose_hpke_peer.py")
    found = await ask(python, "-W", "ignore", script, asked=asked)
    for key, answer in zip(keys, found, strict=True):
        assert bytes.fromhex(answer["opened"]) == PLAIN
        protected, unprotected, ciphertext = cbor2.loads(bytes.fromhex(answer["made"])).value
        sealed = {"enc": b64(unprotected[EK]), "ciphertext": b64(ciphertext)}
        body = {**key, **sealed, "aad": enc_structure(protected)}
        assert await post("/hpke/open", body) == {"plaintext": b64(PLAIN)}
