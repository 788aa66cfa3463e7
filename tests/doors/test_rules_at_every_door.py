"""Each rule of a key holds at each signing call, on each store, and in two workers."""

import json
import re
import threading
import time
from dataclasses import fields
from pathlib import Path

import cbor2
import pytest
from aiohttp import ClientSession, TCPConnector
from base64url import b64, part, raw
from http_answers import ok
from issued_certificates import CA, MIDDLE, pem, public_key
from joserfc.jwk import ECKey
from operation_calls import PEER
from web.approvals.approvers import Signer
from web.approvals.approvers import rule as rule_of

from minikms.rules import JwsRules, Rules
from minikms.web.schemas.rule_bodies import JwsRules as DescribedRules
from minikms.web.schemas.rule_bodies import KeyRules

ROOT = Path(__file__).parents[2]

EXP = int(time.time()) + 3600
CLAIMS = b64(json.dumps({"iss": "b", "exp": EXP}).encode())
DISCLOSING = b64(json.dumps({"iss": "b", "exp": EXP, "_sd": ["x"]}).encode())
CWT = b64(cbor2.dumps({1: "b", 4: EXP}))
DATA = b64(b"hello")
JWS = {"payload": CLAIMS, "header": {"typ": "b"}}
CSR = {"subject": "CN=a"}
AWS = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.Sign"}
NAMES = {"p256": "ES256", "rsa2048": "RS256"}
NUMBERS = {"p256": -7, "rsa2048": -257}
ALGORITHMS = {"p256": "ECDSA_SHA_256", "rsa2048": "RSASSA_PKCS1_V1_5_SHA_256"}
# Names of the doors in the log, by fixture.
TITLES = {"AWS KMS": "aws", "Vault Transit": "vault", "EUDIPLO's HTTP KMS": "eudiplo"}

# The calls on a key: the door, the path and the body. The key has the aliases `name` and, for AWS,
# `alias/name`.
RAW = {
    "sign": ("rest", "/sign", {"data": DATA}),
    "batch": ("rest", "/sign/batch", {"items": [{"data": DATA}]}),
    "aws": ("aws", "/", {"Message": DATA}),
    "vault": ("vault", "/v1/transit/sign/{name}", {"input": DATA}),
    "vault batch": ("vault", "/v1/transit/sign/{name}", {"batch_input": [{"input": DATA}]}),
    "vault hmac": ("vault", "/v1/transit/hmac/{name}", {"input": DATA}),
}
OF_P256 = {
    "derive": ("rest", "/derive", {"peer": PEER}),
    "eudiplo": ("eudiplo", "/keys/{name}/sign", {"data": DATA, "alg": "ES256"}),
}
# The header of a signing input names the algorithm of the key, so `call` makes it.
INPUT = {"input": ("rest", "/jws/sign", {"signing_input": "b"})}
STRUCTURE = {"structure": ("rest", "/cose/sign", {"sig_structure": "b"})}
MESSAGES = {
    **INPUT,
    "jws": ("rest", "/jws/sign", JWS),
    "jws object": ("rest", "/jws/sign", {**JWS, "serialization": "general"}),
    "attestation": ("rest", "/key-attestation", {"keys": ["SELF"], "expires_in": 3600}),
}
COSE = {"cose": ("rest", "/cose/sign", {"payload": CWT, "typ": "b"}), **STRUCTURE}
DETACHED = {"detached": ("rest", "/jws/sign", {**JWS, "detached": True})}
SD_JWT = {"sd-jwt": ("rest", "/jws/sign", {**JWS, "payload": DISCLOSING})}
ENVELOPES = {**MESSAGES, **COSE, **DETACHED, **SD_JWT}
X509 = {
    "csr": ("rest", "/csr", CSR),
    "certificate": ("rest", "/certificate", {**CSR, "profile": "self-signed", "days": 1}),
    "crl": ("rest", "/crl", {"number": 1, "days": 1, "revoked": []}),
    "vault csr": ("vault", "/v1/transit/keys/{name}/csr", {}),
}
ALL = {**RAW, **OF_P256, **ENVELOPES, **X509}
EVERY_RAW = {**RAW, **OF_P256}
CRL = {"crl": X509["crl"]}
ALLOWED = {"typ": ["b", "key-attestation+jwt"], "max_lifetime": 7200}
BY_CLAIMS = {**MESSAGES, **COSE, **SD_JWT}


def signing_input(alg):
    header = {"alg": NAMES[alg], "typ": "b"}
    return f"{part(header)}.{CLAIMS.rstrip('=')}"


def sig_structure(alg):
    protected = cbor2.dumps({1: NUMBERS[alg], 16: "b"})
    return b64(cbor2.dumps(["Signature1", protected, b"", raw(CWT)]))


INPUTS = {"signing_input": signing_input, "sig_structure": sig_structure}

# By rule: the algorithm of the key, its rules, and the calls that the rule refuses. Keys of JWS
# refuse raw calls, detached payloads and CRLs besides. A key with a rate is used once before.
RULES = {
    "raw": ("p256", {"raw": False}, EVERY_RAW),
    "algs": ("rsa2048", {"algs": ["PS384"]}, {**RAW, **ENVELOPES, **X509}),
    "jws.typ": ("p256", {"jws": {"typ": ["a"]}, "cose": True}, BY_CLAIMS),
    "jws.claims.iss": ("p256", {"jws": {"claims": {"iss": ["a"]}}, "cose": True}, BY_CLAIMS),
    "jws.max_lifetime": ("p256", {"jws": {"max_lifetime": 60}, "cose": True}, BY_CLAIMS),
    "jws.detached": ("p256", {"jws": ALLOWED, "cose": True}, DETACHED),
    "jws.disclosures": ("p256", {"jws": {**ALLOWED, "disclosures": "none"}, "cose": True}, SD_JWT),
    "cose": ("p256", {"jws": ALLOWED}, COSE),
    "per_minute": ("p256", {"per_minute": 1}, ALL),
    "per_day": ("p256", {"per_day": 1}, ALL),
    "approval": ("p256", rule_of(Signer()), ALL),
}


async def outcomes(urls, rule, times, name="k"):
    """The expected and the actual outcomes of each call, the rule or the rate or nothing."""
    alg, rules, refused = RULES[rule]
    calls = ALL if alg == "p256" else {each: ALL[each] for each in ALL if each not in OF_P256}
    # A new connection for each call, so that all workers get calls.
    async with ClientSession(connector=TCPConnector(force_close=True)) as session:
        body = {"alg": alg, "alias": name, "rules": rules}
        key = await ok(await session.post(f"{urls['rest']}/key/generate", json=body))
        kid = key["kid"]
        chain = {"certificates": pem(MIDDLE.issue(public_key(key), extension=CA))}
        await ok(await session.put(f"{urls['rest']}/key/{kid}/certificates", json=chain))
        path = f"{urls['rest']}/key/{kid}/associate"
        await ok(await session.post(path, json={"alias": f"alias/{name}"}))
        if rule.startswith("per_"):
            await ok(await session.post(f"{urls['rest']}/csr", json={**CSR, "kid": kid}))

        async def call(door, path, body):
            headers = {"Content-Type": "application/json"}
            if door == "rest":
                keys = {"keys": [kid]} if "keys" in body else {}
                made = {each: make(alg) for each, make in INPUTS.items() if each in body}
                body = {**body, **keys, **made, "kid": kid}
            elif door == "aws":
                named = {"KeyId": f"alias/{name}", "SigningAlgorithm": ALGORITHMS[alg]}
                headers, body = AWS, {**body, **named}
            url, sent = urls[door] + path.format(name=name), json.dumps(body)
            async with session.post(url, data=sent, headers=headers) as answer:
                text = await answer.text()
                if re.search(r"Approval [\w-]{22} waits", text):
                    assert answer.status in (400, 403)
                    return "approval"
                if found := re.search(r"The (?:rule|rate) ([\w.]+)", text):
                    assert answer.status >= 400 or "results" in text
                    return found[1]
                return "" if answer.status == 200 else text

        expected = dict.fromkeys(calls, "")
        if "jws" in rules:
            expected |= dict.fromkeys(EVERY_RAW, "raw") | dict.fromkeys(DETACHED, "jws.detached")
            expected |= dict.fromkeys(CRL, "jws")
        expected |= dict.fromkeys(refused, rule)
        found = {each: {await call(*calls[each]) for _ in range(times)} for each in calls}
    return {each: {expected[each]} for each in calls}, found


def test_each_rule_is_tried_described_and_documented():
    own = {each.name for each in fields(Rules)} - {"jws"}
    names = own | {f"jws.{each.name}" for each in fields(JwsRules)}
    assert {re.sub(r"(jws\.claims)\..*", r"\1", rule) for rule in RULES} - {"jws.detached"} == names
    described = {*KeyRules().fields} - {"jws"} | {f"jws.{name}" for name in DescribedRules().fields}
    assert described == names
    table = (ROOT / "docs/rules.md").read_text("utf-8").partition("\n## The rules\n")[2]
    rows = re.findall(r"^\| (`[^|]*) \|", table.partition("\n## ")[0], re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", " ".join(rows))) == names | {"jws"}


@pytest.mark.each_store
@pytest.mark.parametrize("rule", RULES)
async def test_a_rule_holds_at_each_call(start_with_doors, any_store, rule):
    client, urls = await start_with_doors("aws", "vault", "eudiplo", **any_store)
    urls = {"rest": str(client.make_url("")).rstrip("/"), **urls}
    expected, found = await outcomes(urls, rule, 2)
    assert found == expected


@pytest.mark.process
@pytest.mark.each_store
@pytest.mark.timeout(120)  # two workers start for each of the rules
async def test_a_rule_holds_in_two_workers(serve, any_store):
    ports = [f"--{each}-port" for each in ("aws", "vault", "eudiplo")]
    options = [part for port in ports for part in (port, "0")]
    service = serve("--port", "0", "--workers", "2", *options, **any_store)
    urls = {"rest": f"http://{service.host}:{service.port}"}
    for _ in TITLES:
        title, _, url = service.read_until(" on http://").strip().rpartition(" on ")
        urls[next(TITLES[each] for each in TITLES if title.endswith(each))] = url
    # Nobody else reads its log, which would fill the pipe.
    threading.Thread(target=service.process.stderr.read, daemon=True).start()
    # Each key has a name of its own: on PostgreSQL, the other worker learns a moment later that a
    # name was given to another key.
    for place, rule in enumerate(RULES):
        expected, found = await outcomes(urls, rule, 6, f"k{place}")
        assert found == expected, rule


async def test_no_door_imports_the_key_again_without_its_rules(start_with_doors):
    client, urls = await start_with_doors("vault", "eudiplo")

    async def call(door, path, body):
        sent = {"data": json.dumps(body), "headers": {"Content-Type": "application/json"}}
        async with client.session.post(f"{urls[door]}/{path}", **sent) as answer:
            return answer.status

    def public(private):
        """The key as Vault imports it: with the public key alone, whose kid is the same."""
        return {"type": "ecdsa-p256", "public_key": private.as_pem(private=False).decode()}

    body = {"alg": "p256", "exportable": True, "rules": {"raw": False}}
    made = await ok(await client.post("/key/generate", json=body))
    jwk = (await ok(await client.get(f"/key/{made['kid']}/export")))["jwk"]
    ruled, other = ECKey.import_key(jwk), ECKey.generate_key("P-256")
    assert await call("vault", "v1/transit/keys/free/import", public(other)) == 204
    for door, path, body in (
        ("vault", "v1/transit/keys/again/import", public(ruled)),
        ("vault", "v1/transit/keys/free/import_version", public(ruled)),
        ("eudiplo", "keys/again/import", {"alg": "ES256", "privateJwk": jwk}),
    ):
        assert await call(door, path, body) in (400, 409), path
    keys = {key["kid"]: key for key in await ok(await client.get("/keys"))}
    assert len(keys) == 2
    assert keys[made["kid"]]["rules"] == {"raw": False}
