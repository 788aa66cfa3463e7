"""Thefts by a stolen token, played with the libraries that they fool.

Each is signed by a key without the rule against it, as earlier versions did with rules, to show
that the library is fooled. A key with the rule refuses it, and goes on to sign honest credentials.
"""

import asyncio
import datetime
import hashlib
import json
import random
import re
import shutil
import sys
import time
from base64 import b64decode, b64encode

import cbor2
import pytest
from base64url import b64, jose, part, raw
from joserfc.jwk import ECKey
from problems import slug_of
from web.rules.credential_libraries import LIBRARIES, PYPI, SD_JWT, install_npm

pytestmark = [
    pytest.mark.shared_service,
    pytest.mark.slow,
    pytest.mark.timeout(180),  # npm and pip install packages
]

ISSUER, VCT = "https://issuer.example", "https://issuer.example/pid"
EVIL = "https://evil.example"
TYPED = {"typ": "dc+sd-jwt"}
JWS = {
    "typ": ["dc+sd-jwt"],
    "claims": {"iss": [ISSUER], "vct": [VCT]},
    "max_lifetime": 3600,
}
RULES = {"jws": JWS}
STOLEN = {"iss": EVIL, "vct": f"{EVIL}/pid", "exp": 4_000_000_000}


def respelt(claims, stolen, *, padded):
    """JSON of `claims` that a lenient decoder of base64 reads as JSON of `stolen`.

    It skips all characters outside the alphabet. With `padded` it stops at the padding, otherwise
    it skips that, too, and what it reads of the other members has to be text within a string.
    """
    chance = random.Random(1)

    def spelt(text):
        """A text of JSON, in which the dot, which separates the parts of a JWS, is escaped."""
        return "".join(
            f"\\u{ord(each):04x}" if each == "." or (not padded and chance.random() < 0.3) else each
            for each in text
        )

    def member(name, value):
        shown = f'"{spelt(value)}"' if isinstance(value, str) else str(value)
        return f'"{spelt(name)}":{shown}'

    head = json.dumps(stolen)[:-1]
    if padded:
        text = f"{head}}}"
        name = b64encode((text + " " * (4 - len(text) % 3)).encode()).decode()
        assert name.endswith("=")
        return "{" + ",".join([f'"{name}":0', *(member(*each) for each in claims.items())]) + "}"
    head += " " * (-(len(head) + len(',"x":"')) % 3) + ',"x":"'
    parts = [f'"{b64encode(head.encode()).decode()}":""']
    for each in claims.items():
        while True:
            filler = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9)))
            tried = f'"{filler}":"",{member(*each)}'
            alphabet = re.sub(r"[^A-Za-z0-9+/]", "", tried)
            if len(alphabet) % 4 == 0 and all(
                byte >= 32 and byte not in b'"\\' for byte in b64decode(alphabet)
            ):
                break
        parts.append(tried)
    end = b64encode(b'"} ').decode()
    parts.append(f'"{end}":""')
    return "{" + ",".join(parts) + "}"


@pytest.fixture(scope="module")
def npm(tmp_path_factory):
    """The folder with the packages of npm, for each version of @sd-jwt and for all others."""
    folders = {name: tmp_path_factory.mktemp("npm") for name in (*SD_JWT, "others")}
    install_npm(folders)
    return folders


async def run(*command, given="", **options):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, **options
    )
    output, errors = await process.communicate(given.encode())
    return process.returncode, output.decode(), errors.decode()


@pytest.fixture(scope="module")
async def pypi(tmp_path_factory):
    """A folder with libraries of Python, which are apart from the ones of the tests."""
    folder = tmp_path_factory.mktemp("pypi")
    uv = shutil.which("uv")
    pip = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    into = ["--python", sys.executable] if uv else []
    status, _, errors = await run(*pip, "install", "--quiet", *into, "--target", str(folder), *PYPI)
    assert status == 0, errors
    return folder


@pytest.fixture
def claims_of(npm, pypi):
    """The claims that a library reads in a credential; None if it refuses it."""

    async def call(library, **asked):
        script, folder = LIBRARIES[library]
        if folder == "pypi":
            command, options = (sys.executable, "-c", script), {"env": {"PYTHONPATH": str(pypi)}}
        else:
            command = ("node", "--input-type=module", "--eval", script)
            options = {"cwd": npm[folder]}
        status, output, errors = await run(*command, given=json.dumps(asked), **options)
        assert "ERR_MODULE_NOT_FOUND" not in errors
        assert "ModuleNotFoundError" not in errors
        return json.loads(output) if status == 0 else None

    return call


OF_JWS = [name for name in LIBRARIES if name not in ("python-cwt", "@auth0/mdl")]


@pytest.fixture
async def keys(generate):
    """A key without rules, and one with rules."""
    return await generate("p256"), await generate("p256", rules=RULES)


def allowed(**more):
    return {"iss": ISSUER, "vct": VCT, "exp": int(time.time()) + 600, **more}


@pytest.mark.parametrize("library", OF_JWS)
async def test_a_detached_payload_is_not_read_in_another_way(
    client, post, keys, claims_of, library
):
    free, ruled = keys
    text = respelt(allowed(), STOLEN, padded="0.19" not in library)
    assert (json.loads(text)["iss"], json.loads(text)["vct"]) == (ISSUER, VCT)
    body = {"payload": b64(text.encode()), "header": TYPED, "detached": True}
    jws = (await post("/jws/sign", {**body, "kid": free["kid"]}))["jws"]
    stolen = jws.replace("..", f".{text}.") + "~"
    found = await claims_of(library, jwk=free["jwk"], credential=stolen)
    if library.endswith("0.20"):
        assert found is None  # it decodes base64url strictly
    else:
        assert found.items() >= STOLEN.items()
    answer = await client.post("/jws/sign", json={**body, "kid": ruled["kid"]})
    assert await slug_of(answer) == "rule-violated"
    assert "jws.detached" in (await answer.json())["detail"]

    honest = {"payload": part(allowed()), "header": TYPED, "kid": ruled["kid"]}
    credential = (await post("/jws/sign", honest))["jws"] + "~"
    found = await claims_of(library, jwk=ruled["jwk"], credential=credential)
    assert (found["iss"], found["vct"]) == (ISSUER, VCT)


# Disclosures


def disclosure(name, value):
    return jose(json.dumps(["c2FsdA", name, value]).encode())


def disclosed(*disclosures):
    """Allowed claims with the digests of disclosures."""
    digests = [jose(hashlib.sha256(each.encode()).digest()) for each in disclosures]
    return part(allowed(_sd=digests, _sd_alg="sha-256"))


@pytest.mark.parametrize("library", [name for name in LIBRARIES if "sd-jwt" in name])
async def test_no_disclosure_replaces_a_claim(client, post, generate, keys, claims_of, library):
    free, ruled = keys
    shown = await generate("p256", rules={"jws": {**JWS, "disclosures": "shown"}})
    none = await generate("p256", rules={"jws": {**JWS, "disclosures": "none"}})
    evil = disclosure("iss", EVIL)
    body = {"payload": disclosed(evil), "header": TYPED}
    # The rules of claims alone do not keep them: `Object.assign(payload, claims)`.
    for key in (free, ruled):
        stolen = (await post("/jws/sign", {**body, "kid": key["kid"]}))["jws"] + f"~{evil}~"
        found = await claims_of(library, jwk=key["jwk"], credential=stolen)
        if library.endswith("0.20"):
            assert found is None  # as RFC 9901 section 7.1 demands
        else:
            assert found["iss"] == EVIL
    for key in (shown, none):
        for disclosures in ([], [evil]):
            sent = {**body, "kid": key["kid"], "disclosures": disclosures}
            answer = await client.post("/jws/sign", json=sent)
            assert await slug_of(answer) == "rule-violated"
            assert "jws.disclosures" in (await answer.json())["detail"]

    name = disclosure("given_name", "Ada")
    sent = {"payload": disclosed(name), "header": TYPED, "disclosures": [name]}
    credential = (await post("/jws/sign", {**sent, "kid": shown["kid"]}))["jws"] + f"~{name}~"
    found = await claims_of(library, jwk=shown["jwk"], credential=credential)
    assert (found["iss"], found["given_name"]) == (ISSUER, "Ada")


# COSE


async def test_the_key_of_an_sd_jwt_issuer_signs_no_cwt(client, post, generate, claims_of):
    stolen = {1: EVIL, 4: STOLEN["exp"]}
    body = {"payload": b64(cbor2.dumps(stolen)), "typ": "dc+sd-jwt"}
    key = await generate("p256")
    cwt = (await post("/cose/sign", {**body, "kid": key["kid"]}))["cose"]
    found = await claims_of("python-cwt", jwk={**key["jwk"], "kid": key["kid"]}, credential=cwt)
    assert found == {"1": EVIL, "4": STOLEN["exp"]}  # whatever its type
    ruled = await generate("p256", rules="sd-jwt-vc")
    answer = await client.post("/cose/sign", json={**body, "kid": ruled["kid"]})
    assert await slug_of(answer) == "rule-violated"
    assert "The rule cose:" in (await answer.json())["detail"]

    rules = {"jws": {"typ": ["application/cwt"], "claims": {"iss": [ISSUER]}}, "cose": True}
    issuer = await generate("p256", rules=rules)
    honest = {"payload": b64(cbor2.dumps({1: ISSUER, 4: int(time.time()) + 60})),
              "typ": "application/cwt", "kid": issuer["kid"]}  # fmt: skip
    cwt = (await post("/cose/sign", honest))["cose"]
    jwk = {**issuer["jwk"], "kid": issuer["kid"]}
    assert (await claims_of("python-cwt", jwk=jwk, credential=cwt))["1"] == ISSUER


async def test_the_key_of_an_sd_jwt_issuer_signs_no_mdl(client, post, generate, claims_of):
    root, kid = await certified(client, post, generate)
    mso, named = mdl()
    body = {"kid": kid, "payload": b64(mso), "typ": "dc+sd-jwt", "kid_header": "none",
            "certificate_header": "x5chain", "tagged": False}  # fmt: skip
    signed = cbor2.loads(raw((await post("/cose/sign", body))["cose"]))
    document = {"docType": DOC_TYPE, "issuerSigned": {"nameSpaces": named, "issuerAuth": signed}}
    response = cbor2.dumps({"version": "1.0", "documents": [document], "status": 0})
    found = await claims_of("@auth0/mdl", root=root, credential=b64(response))
    assert found["docType"] == DOC_TYPE  # whatever its type
    assert int(found["until"][:4]) >= datetime.date.today().year + 9
    answer = await client.patch(f"/key/{kid}", json={"rules": "sd-jwt-vc"})
    assert answer.status == 200
    answer = await client.post("/cose/sign", json=body)
    assert await slug_of(answer) == "rule-violated"
    assert "The rule cose:" in (await answer.json())["detail"]


DOC_TYPE, NAMESPACE = "org.iso.18013.5.1.mDL", "org.iso.18013.5.1"


async def certified(client, post, generate):
    """The root's certificate, and a key with the certificate of a document signer."""
    root, key = (await generate("p256"))["kid"], (await generate("p256"))["kid"]
    issuer = {"kid": root, "subject": "CN=iaca,C=UT", "profile": "iaca", "days": 60,
              "issuer_alternative_names": ["URI:https://a.example"],
              "crl": "https://a.example/crl"}  # fmt: skip
    chain = [(await post("/certificate", issuer))["certificate"]]
    answer = await client.put(f"/key/{root}/certificates", json={"certificates": chain})
    assert answer.status == 200
    signer = {"kid": root, "subject": "CN=a,C=UT", "profile": "document-signer", "days": 30,
              "key": key}  # fmt: skip
    own = [(await post("/certificate", signer))["certificate"]]
    answer = await client.put(f"/key/{key}/certificates", json={"certificates": own})
    assert answer.status == 200
    return chain[0], key


def mdl():
    """The MSO of an mDL for ten years, and its items."""
    item = cbor2.CBORTag(24, cbor2.dumps({"digestID": 0, "random": bytes(32),
        "elementIdentifier": "family_name", "elementValue": "Thief"}))  # fmt: skip
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    later = now + datetime.timedelta(days=3650)
    begin, end = (cbor2.CBORTag(0, each.strftime("%Y-%m-%dT%H:%M:%SZ")) for each in (now, later))
    key = ECKey.generate_key("P-256").as_dict(private=False)
    mso = {
        "version": "1.0",
        "digestAlgorithm": "SHA-256",
        "valueDigests": {NAMESPACE: {0: hashlib.sha256(cbor2.dumps(item)).digest()}},
        "deviceKeyInfo": {"deviceKey": {1: 2, -1: 1, -2: raw(key["x"]), -3: raw(key["y"])}},
        "docType": DOC_TYPE,
        "validityInfo": {"signed": begin, "validFrom": begin, "validUntil": end},
    }
    return cbor2.dumps(cbor2.CBORTag(24, cbor2.dumps(mso))), {NAMESPACE: [item]}
