"""JWEs of other libraries open here, and ours there: joserfc, jwcrypto, and jose of npm."""

import json

import joserfc.jwe
import pytest
from algorithm_facts import AEADS, FACTS, named, using
from base64url import b64, raw
from joserfc.drafts import jwe_chacha20, jwe_ecdh_1pu
from joserfc.jwa import JWE_ALG_MODELS, JWE_ENC_MODELS
from joserfc.jwk import import_key
from json_programs import ask
from jwcrypto import jwe as jwcrypto
from jwcrypto.jwk import JWK
from node import install

from minikms.credentials.jose.jwe_models import ALGS, ENCS

pytestmark = pytest.mark.shared_service

PLAIN = b"a payload without a full stop"
CURVES = named(lambda facts: "derive" in facts.uses and not facts.opt_in)
AGREED = tuple(alg for alg in ALGS if alg.startswith("ECDH"))
KINDS = {
    **dict.fromkeys(CURVES, AGREED),
    **{alg: (alg.upper(),) for alg in using("wrap")},
    **dict.fromkeys(named(lambda facts: facts.kty == "RSA"), ("RSA-OAEP-256",)),
    **dict.fromkeys(AEADS, ("dir",)),
}
FORMS = ("compact", "flattened", "general")
JWCRYPTO_ENCS = [enc for enc in ENCS if enc.startswith("A")]
NPM_PACKAGE = "jose@6.2.18"


class JoserfcRegistry(joserfc.jwe.JWERegistry):
    """joserfc with its drafts, which are registered nowhere else."""

    def __init__(self):
        super().__init__(algorithms=[*ALGS, *ENCS])
        algs = (*JWE_ALG_MODELS, *jwe_ecdh_1pu.JWE_ALG_MODELS)
        encs = (*JWE_ENC_MODELS, *jwe_chacha20.JWE_ENC_MODELS)
        self.algorithms = {
            "alg": {model.name: model for model in algs},
            "enc": {model.name: model for model in encs},
            "zip": {},
        }


JOSERFC = JoserfcRegistry()


def test_every_alg_and_enc_is_checked():
    assert {name for names in KINDS.values() for name in names} == {*ALGS}
    assert {*JOSERFC.algorithms["alg"]} > {*ALGS}
    assert {*JOSERFC.algorithms["enc"]} == {*ENCS}


def known_to(library):
    """The algorithms of KINDS whose keys a library knows."""
    return [alg for alg in KINDS if library in FACTS[alg].libraries]


def goes(alg, name, enc):
    """Tell whether `name` goes with an `enc`, for a key of the algorithm `alg`."""
    if name == "dir":
        return enc in FACTS[alg].jose
    return not name.startswith("ECDH-1PU+") or "CBC-HS" in enc


def combinations(alg, encs=ENCS, *, every):
    """Pair each `alg` of a key with each `enc`, or without `every`, with one of them."""
    for place, name in enumerate(KINDS[alg], [*KINDS].index(alg)):
        fitting = [enc for enc in encs if goes(alg, name, enc)]
        if every or not fitting:
            yield from ((name, enc) for enc in fitting)
        else:
            yield name, fitting[place % len(fitting)]


@pytest.fixture
def keys(get, generate):
    """Make a key here, and give it with its private JWK, by which `jose_algs` do not bind it."""

    async def make(alg):
        made = await generate(alg, exportable=True)
        jwk = (await get(f"/key/{made['kid']}/export"))["jwk"]
        return made, {member: jwk[member] for member in jwk if member != "alg"}

    return make


@pytest.fixture
def encrypt(post):
    async def call(made, name, enc, form, **more):
        by = {"jwk": made["jwk"]} if made["jwk"] else {"kid": made["kid"]}
        body = {"plaintext": b64(PLAIN), "enc": enc, "recipients": [{**by, "alg": name}]}
        header = {"apu": "QWxpY2U", "apv": "Qm9i"} if name.startswith("ECDH") else {}
        body |= {"serialization": form, "header": header, **more}
        return (await post("/jwe/encrypt", body))["jwe"]

    return call


@pytest.fixture
def opens(post):
    async def call(made, jwe, **more):
        answer = await post("/jwe/decrypt", {"jwe": jwe, "kid": made["kid"], **more})
        assert raw(answer["plaintext"]) == PLAIN

    return call


async def agree_with_joserfc(keys, encrypt, opens, alg, *, every):
    (made, jwk), (sender, sender_jwk) = await keys(alg), await keys(alg)
    theirs, their_sender = import_key(jwk), import_key(sender_jwk)
    public = import_key(made["jwk"] or jwk)
    for number, (name, enc) in enumerate(combinations(alg, every=every)):
        has_sender = name.startswith("ECDH-1PU")
        with_sender = {"sender_key": their_sender} if has_sender else {}
        form = FORMS[number % 3]
        ours = await encrypt(
            made, name, enc, form, **({"from": sender["kid"]} if has_sender else {})
        )
        decrypt = joserfc.jwe.decrypt_compact if form == "compact" else joserfc.jwe.decrypt_json
        assert decrypt(ours, theirs, registry=JOSERFC, **with_sender).plaintext == PLAIN

        header = {"alg": name, "enc": enc}
        if form == "compact":
            made_there = joserfc.jwe.encrypt_compact(
                header, PLAIN, public, registry=JOSERFC, **with_sender
            )
        else:
            forms = {
                "flattened": joserfc.jwe.FlattenedJSONEncryption,
                "general": joserfc.jwe.GeneralJSONEncryption,
            }
            obj = forms[form](header, PLAIN, aad=b"bound")
            obj.add_recipient({"kid": "theirs"}, public)
            made_there = joserfc.jwe.encrypt_json(obj, None, registry=JOSERFC, **with_sender)
        await opens(made, made_there, **({"from": sender["jwk"]} if has_sender else {}))


@pytest.mark.parametrize("alg", known_to("joserfc"))
async def test_joserfc_opens_ours_and_we_open_its(keys, encrypt, opens, alg):
    await agree_with_joserfc(keys, encrypt, opens, alg, every=False)


@pytest.mark.slow
@pytest.mark.parametrize("alg", known_to("joserfc"))
async def test_joserfc_with_every_enc(keys, encrypt, opens, alg):
    await agree_with_joserfc(keys, encrypt, opens, alg, every=True)


async def test_jwcrypto_reads_and_makes_several_recipients(keys, encrypt, opens, post):
    kinds = {"p256": "ECDH-ES+A256KW", "a128kw": "A128KW", "rsa2048": "RSA-OAEP-256"}
    pairs = [(await keys(alg), name) for alg, name in kinds.items()]
    recipients = [{"kid": made["kid"], "alg": name} for (made, _), name in pairs]
    body = {"plaintext": b64(PLAIN), "enc": "A256GCM", "recipients": recipients}
    ours = (await post("/jwe/encrypt", {**body, "aad": b64(b"bound")}))["jwe"]
    writer = jwcrypto.JWE(PLAIN, json.dumps({"enc": "A256GCM"}), algs=[*ALGS, *ENCS])
    for (made, jwk), name in pairs:
        reader = jwcrypto.JWE(algs=[*ALGS, *ENCS])
        reader.deserialize(json.dumps(ours), key=JWK(**jwk))
        assert reader.payload == PLAIN
        public = JWK(**(made["jwk"] or jwk))
        writer.add_recipient(public, json.dumps({"alg": name, "kid": made["kid"]}))
    for (made, _), _ in pairs:
        await opens(made, json.loads(writer.serialize()))


async def test_a_header_as_no_writer_here_would_write_it(keys, opens):
    """With blanks, in another order, and with characters beyond ASCII as they stand."""
    made, _ = await keys("x25519")
    header = '{\n "enc" : "A256GCM",\r\n "cty": "Büro",  "alg":"ECDH-ES+A128KW" }'
    writer = jwcrypto.JWE(PLAIN, header, recipient=JWK(**made["jwk"]), algs=[*ALGS, *ENCS])
    jwe = json.loads(writer.serialize())
    assert raw(jwe["protected"]).decode() == header
    await opens(made, jwe)


# Reads {"decrypt": [{jwk, jwe}], "encrypt": [{jwk, alg, enc, form}]}, writes the result of each.
SCRIPT = """
import * as jose from "jose";
import { readFileSync } from "node:fs";

const asked = JSON.parse(readFileSync(0, "utf8"));
const decoder = new TextDecoder();
const key = (jwk, alg) => jose.importJWK(jwk, alg);
const decrypted = [];
for (const { jwk, alg, jwe } of asked.decrypt) {
  const decrypt = typeof jwe === "string" ? jose.compactDecrypt
    : "recipients" in jwe ? jose.generalDecrypt : jose.flattenedDecrypt;
  decrypted.push(decoder.decode((await decrypt(jwe, await key(jwk, alg))).plaintext));
}
const encrypted = [];
for (const { jwk, alg, enc, form, plaintext } of asked.encrypt) {
  const bytes = new TextEncoder().encode(plaintext);
  if (form === "compact") {
    encrypted.push(await new jose.CompactEncrypt(bytes)
      .setProtectedHeader({ alg, enc }).encrypt(await key(jwk, alg)));
  } else if (form === "flattened") {
    encrypted.push(await new jose.FlattenedEncrypt(bytes)
      .setProtectedHeader({ alg, enc }).encrypt(await key(jwk, alg)));
  } else {
    encrypted.push(await new jose.GeneralEncrypt(bytes).setProtectedHeader({ enc })
      .addRecipient(await key(jwk, alg)).setUnprotectedHeader({ alg }).encrypt());
  }
}
console.log(JSON.stringify({ decrypted, encrypted }));
"""


@pytest.fixture(scope="module")
def npm_jose(tmp_path_factory):
    """A folder in which node finds jose."""
    return install(tmp_path_factory.mktemp("npm"), NPM_PACKAGE)


@pytest.mark.slow
@pytest.mark.timeout(180)  # npm installs a package
async def test_jose_of_npm_opens_ours_and_we_open_its(keys, encrypt, opens, npm_jose):
    (npm_jose / "run.mjs").write_text(SCRIPT)
    asked = {"decrypt": [], "encrypt": []}
    owners = []
    for alg in known_to("jose"):
        made, jwk = await keys(alg)
        for number, (name, enc) in enumerate(combinations(alg, JWCRYPTO_ENCS, every=True)):
            if name.startswith("ECDH-1PU"):
                continue
            form = FORMS[number % 3]
            jwe = await encrypt(made, name, enc, form)
            bound = enc if name == "dir" else name
            asked["decrypt"].append({"jwk": jwk, "alg": bound, "jwe": jwe})
            public = made["jwk"] or jwk
            form = "flattened" if form == "general" and name in ("dir", "ECDH-ES") else form
            asked["encrypt"].append(
                {"jwk": public, "alg": name, "enc": enc, "form": form, "plaintext": PLAIN.decode()}
            )
            owners.append(made)
    found = await ask("node", "run.mjs", asked=asked, cwd=npm_jose)
    assert found["decrypted"] == [PLAIN.decode()] * len(asked["decrypt"])
    assert len(found["encrypted"]) == len(owners) > 100
    for made, jwe in zip(owners, found["encrypted"], strict=True):
        await opens(made, jwe)
