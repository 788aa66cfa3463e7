"""Examples of the OpenAPI document: each works when it is sent, and no answer is invented."""

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from base58 import b58decode
from base64url import raw
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_crl
from web.approvals.approvers import CALLS, example_of
from web.openapi.openapi_document import operations, sent_in_turn, validator

from minikms.access.token_record import Token
from minikms.config import Config
from minikms.encodings import b58, b64url_decode, multikey, thumbprint
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.web import openapi
from minikms.web.openapi import read_examples
from minikms.web.routes import ROUTES

EXAMPLES = read_examples()


@pytest.fixture
def start_audited(start, tmp_path):
    """Start a service with an audit log of its own."""

    async def run(**options):
        log = tmp_path / f"{secrets.token_hex()}.log"
        return await start(create_service(Config(audit_log=str(log), **options)))

    return run


async def answers(client):
    """Send each example of the document in turn; yield its operation and its answer."""
    document = await (await client.get("/openapi.json")).json()
    described = {operation["operationId"]: operation for _, _, operation in operations(document)}
    revoked = ""
    for name, method, path, query, example in sent_in_turn(document):
        if name == "revokeToken":  # its id is random
            path = f"/tokens/{revoked}"
        path, example = await example_of(client, name, path, example)
        async with client.request(method, path, params=query, json=example) as answer:
            body = await answer.json()
            assert answer.status == 200, (name, body)
        shown = described[name]["responses"]["200"]["content"]["application/json"]
        validator(document, shown["schema"]).validate(body)
        if name == "createToken":
            revoked = body["record"]["id"]
        yield name, body


@pytest.mark.each_store
async def test_examples_work_when_they_are_sent(start_audited, any_store):
    async for name, body in answers(await start_audited(**any_store)):
        if isinstance(body, dict):
            assert body.get("valid", True) is True, name
            assert body.get("success", True) is True, name
            for result in body.get("results", ()):
                assert result.keys() <= {"sig", "valid"}
                assert result.get("valid", True), name


# Lists of which an example shows some members.
EXCERPTS = {"listKeys", "jwks/keys", "listAuditEvents", "listAlgorithms"}
# Members that depend on who calls from where.
OF_THE_CALLER = {"who", "address"}
# Members with the time in seconds, which can be that of the other service.
SECONDS = {"iat", "exp", "crl"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


def unpacked(value: Any) -> Any:
    """Replace JSON in base64url, as in a JWS, by its value."""
    if isinstance(value, dict):
        return {name: unpacked(one) for name, one in value.items()}
    if isinstance(value, list):
        return [unpacked(one) for one in value]
    if isinstance(value, str) and value.startswith("eyJ"):
        return [
            unpacked(json.loads(raw(part))) if part.startswith("eyJ") else part
            for part in value.split(".")
        ]
    return value


def form(name: str, value: Any) -> Any:
    """The type of a random value, and the length of each of its words."""
    if not isinstance(value, str):
        return type(value)
    if TIME.fullmatch(value):
        return re.sub(r"\d", "0", value)
    if name == "b58":
        return len(b58decode(value))
    if name == "token":
        prefix, kid, secret = value.split("_")
        return prefix, len(kid), len(b58decode(secret))
    if name == "certificate":
        issued = load_pem_x509_certificate(value.encode())
        lifetime = issued.not_valid_after_utc - issued.not_valid_before_utc
        oids = [extension.oid for extension in issued.extensions]
        return issued.subject, issued.issuer, lifetime, oids, issued.public_key()
    if name == "crl":
        made = load_pem_x509_crl(value.encode())
        lifetime = made.next_update_utc - made.last_update_utc
        revoked = [(each.serial_number, each.revocation_date_utc) for each in made]
        return made.issuer, lifetime, revoked, list(made.extensions)
    return re.sub(r"[\w=-]+", lambda found: str(len(found[0])), value)


def differences(example: Any, one: Any, other: Any, place: str) -> Iterator[str]:
    """Yield each place where an example cannot be the answer that two services have given.

    If both gave the same value, it is the example's; if not, it is random, and has its form.
    """
    name = place.rpartition("/")[2]
    if example == one or name in OF_THE_CALLER:
        return
    if isinstance(example, dict) and isinstance(one, dict):
        if example.keys() == one.keys():
            for member, value in example.items():
                yield from differences(value, one[member], other[member], f"{place}/{member}")
        else:
            yield place
    elif isinstance(example, list) and isinstance(one, list):
        if place in EXCERPTS:
            for index, value in enumerate(example):
                pairs = zip(one, other, strict=True)
                if all(any(differences(value, *pair, f"{place}/{index}")) for pair in pairs):
                    yield f"{place}/{index}"
        elif len(example) == len(one):
            for index, values in enumerate(zip(example, one, other, strict=True)):
                yield from differences(*values, f"{place}/{index}")
        else:
            yield place
    elif (one == other and name not in SECONDS) or form(name, example) != form(name, one):
        yield place


async def test_an_example_is_what_the_service_answers(start_audited):
    async def first_answers():
        found = {}
        async for name, body in answers(await start_audited()):
            found.setdefault(name, body)
        return found

    one, other = await first_answers(), await first_answers()
    assert one.keys() == {route.name for route in ROUTES}
    document = one["openapi"]  # of which its own example is the beginning
    for _, _, operation in operations(document):
        name = operation["operationId"]
        content = operation["responses"]["200"]["content"]["application/json"]
        if name == "listApprovals":
            assert one[name] == other[name] == []  # no example before it asks for one
        elif name in CALLS:
            assert content["example"].keys() == one[name].keys()
        elif name != "openapi":
            triple = (unpacked(body) for body in (content["example"], one[name], other[name]))
            assert list(differences(*triple, name)) == []
    # A random value can have the right form and still be invented.
    random = {name for name in one if one[name] != other[name]}
    made = {r.name for r in ROUTES if r.tag not in ("keys", "profiles", "tokens", "audit")}
    random.discard("makeCrl")  # which has the time, the same in both if they answer in one second
    assert random & made == {*OPENED, *CALLS, "random", "jwks", "issueCertificate"}


IMPORTED, ROTATED = (EXAMPLES[name]["answer"]["jwk"] for name in ("importKey", "rotateKey"))
# RFC 7748 section 6.1: the public key of one, and the key of the other.
AGREEMENT = {"kty": "OKP", "crv": "X25519", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}
BOB = {
    "kty": "OKP",
    "crv": "X25519",
    "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
    "d": "XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os",
}
VALID, HELLO = {"valid": True}, {"plaintext": "aGVsbG8="}
# For each call with a random answer: the path of the call that checks the answer, a function that
# makes its body from the request and the answer, and the expected result.
OPENED = {
    "sign": (
        "/verify",
        lambda asked, made: {"jwk": ROTATED, "data": asked["data"], "sig": made["sig"]},
        VALID,
    ),
    "signBatch": (
        "/verify/batch",
        lambda asked, made: {
            "jwk": ROTATED,
            "items": [
                one | other for one, other in zip(asked["items"], made["results"], strict=True)
            ],
        },
        {"results": [VALID, VALID]},
    ),
    "signJws": ("/jws/verify", lambda _, made: {"jwk": ROTATED, **made}, VALID),
    "signCose": ("/cose/verify", lambda _, made: {"jwk": IMPORTED, **made}, VALID),
    "attestKeys": ("/jws/verify", lambda _, made: {"jwk": IMPORTED, "jws": made["jwt"]}, VALID),
    "encrypt": ("/decrypt", lambda asked, made: {"alias": asked["alias"], **made}, HELLO),
    "encryptJwe": ("/jwe/decrypt", lambda _, made: {"alias": "bob", **made}, HELLO),
    "makeBox": (
        "/box/open",
        lambda _, made: {"alias": "bob", "from": AGREEMENT, **made},
        HELLO,
    ),
    "sealBox": ("/box/seal/open", lambda _, made: {"alias": "bob", **made}, HELLO),
    "sealHpke": ("/hpke/open", lambda _, made: {"alias": "bob", **made}, HELLO),
    "packDidcomm": ("/didcomm/unpack", lambda _, made: made, {"message": "aGVsbG8="}),
    "encapsulate": (
        "/decapsulate",
        lambda _, made: {
            "alias": "example encapsulation",
            "ciphertext": made["ciphertext"],
        },
        {"secret": EXAMPLES["encapsulate"]["answer"]["secret"]},
    ),
}


@pytest.mark.parametrize("name", OPENED)
async def test_an_example_with_random_parts_was_made_by_its_key(post, name):
    for body in (*EXAMPLES["importKey"]["requests"].values(), {"jwk": BOB, "alias": "bob"}):
        await post("/key/import", body)
    path, body, expected = OPENED[name]
    asked = next(iter(EXAMPLES[name]["requests"].values()))
    opened = await post(path, body(asked, EXAMPLES[name]["answer"]))
    assert expected.items() <= opened.items()


def test_the_examples_of_a_certificate_and_a_crl_are_signed_by_their_key():
    issued = load_pem_x509_certificate(
        EXAMPLES["issueCertificate"]["answer"]["certificate"].encode()
    )
    issued.verify_directly_issued_by(issued)
    crl = load_pem_x509_crl(EXAMPLES["makeCrl"]["answer"]["crl"].encode())
    assert crl.is_signature_valid(issued.public_key())
    key = EXAMPLES["importKey"]["requests"]["for signatures"]["jwk"]
    assert issued.public_key().public_bytes_raw() == raw(key["x"])


def described_keys(value: Any) -> Iterator[Any]:
    """Each description of an Ed25519 key in an answer."""
    if isinstance(value, dict) and value.get("alg") == "ed25519" and "jwk" in value:
        yield value
    elif isinstance(value, (dict, list)):
        for child in value.values() if isinstance(value, dict) else value:
            yield from described_keys(child)


def test_the_example_of_a_key_is_that_key():
    found = [key for call in EXAMPLES.values() for key in described_keys(call["answer"])]
    assert len(found) > 10
    for key in found:
        public = b64url_decode(key["jwk"]["x"])
        assert key["kid"] == thumbprint(key["jwk"])
        assert key["b58"] == b58(public)
        assert key["multikey"] == multikey(0xED, public)
        assert key["did"] == f"did:key:{key['multikey']}"


def test_the_example_of_a_token_is_none():
    example = EXAMPLES["createToken"]["answer"]
    assert Token.parse(example["token"]) is None
    assert example["record"]["id"] in example["token"]


def test_every_example_has_its_route():
    made_by_the_service = {"listAlgorithms", "openapi"}
    assert EXAMPLES.keys() == {route.name for route in ROUTES} - made_by_the_service
    for route in ROUTES:
        if route.name in EXAMPLES:
            assert ("requests" in EXAMPLES[route.name]) == (route.body is not None)


@pytest.mark.parametrize("part", ["requests", "answer"])
def test_a_missing_example_names_its_route(monkeypatch, part):
    examples = read_examples()
    del examples["sign"][part]
    monkeypatch.setattr(openapi, "read_examples", lambda: examples)
    info = {"title": "", "version": ""}
    registry = AlgorithmRegistry.from_installed()
    with pytest.raises(LookupError, match=rf"^sign has no '{part}' in web/examples/operations\."):
        openapi.document(info, ROUTES, registry, guarded=False)
