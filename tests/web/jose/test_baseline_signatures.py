"""JAdES and CB-AdES of the level B-B (ETSI TS 119 182-1 and TS 119 152-1, clause 6.3), row by row.

The checks are those of DSS (esig/dss: JAdESBaselineRequirementsChecker and
CBAdESBaselineRequirementsChecker), and the checks of the clauses that DSS leaves out.
"""

import base64
import hashlib
import json
import re
import time
from itertools import pairwise
from pathlib import Path

import cbor2
import pytest
from base64url import b64, raw
from cryptography import x509
from issued_certificates import MIDDLE, ROOT, der, pem, public_key, x5t
from joserfc import jws
from joserfc.jwk import ECKey

pytestmark = pytest.mark.shared_service

WALLETS = (Path(__file__).parents[3] / "docs/wallets.md").read_text("utf-8")
PAYLOAD = b"a credential"
CHAIN = "https://issuer.example/chain.pem"
CWT_CLAIMS, IAT = 15, 6
X5CHAIN, X5T, X5U = 33, 34, 35
# Of ETSI TS 119 152-1, clause 5.2; its labels have no registration yet.
X5TS, SIG_D = "x5ts", "sigD"


def is_path(certificates, leaf):
    """Tell whether these certificates in DER begin with the signer's, each below the next."""
    chain = [x509.load_der_x509_certificate(each) for each in certificates]
    for subject, issuer in pairwise(chain):
        subject.verify_directly_issued_by(issuer)
    return chain[0] == leaf


def is_optional(value, kind=str):
    return value is None or isinstance(value, kind)


# By member: the clause, and whether a header with the certificate of the signer has what B-B wants.
JADES = {
    "alg": ("5.1.2", lambda header, _: header.get("alg") == "ES256"),
    # 6.3 a): since 15 July 2025 it is iat alone.
    "iat": ("5.1.11", lambda header, _: abs(header.get("iat", 0) - time.time()) < 600),
    "sigT": ("5.2.1", lambda header, _: "sigT" not in header),
    "x5t#S256": (
        "5.1.7",
        lambda header, leaf: (
            header.get("x5t#S256") == x5t(leaf)
            and header.keys().isdisjoint(("x5t#o", "sigX5ts"))  # 5.2.2
        ),
    ),
    "x5c": (
        "5.1.8",
        lambda header, leaf: (
            "x5c" not in header or is_path(map(base64.b64decode, header["x5c"]), leaf)
        ),
    ),
    "x5t": ("5.1.6", lambda header, _: "x5t" not in header),
    "kid": ("5.1.4", lambda header, _: is_optional(header.get("kid"))),
    "x5u": ("5.1.5", lambda header, _: is_optional(header.get("x5u"))),
    "cty": ("5.1.3", lambda header, _: is_optional(header.get("cty"))),
    "crit": (
        "5.1.9",
        lambda header, _: set(header.get("crit", ())) == header.keys() & {"b64", "sigD"},
    ),
}


def chain_of(value):
    return [value] if isinstance(value, bytes) else value


# The same for the protected header of a COSE message.
CB_ADES = {
    "alg": ("5.1.2", lambda header, _: header.get(1) == -7),
    "CWT Claims": (
        "5.1.9",
        lambda header, _: abs(header.get(CWT_CLAIMS, {}).get(IAT, 0) - time.time()) < 600,
    ),
    "x5t": (
        "5.1.7",
        lambda header, leaf: (
            header[X5T] == [-16, hashlib.sha256(der(leaf)).digest()]
            if X5T in header
            else not header.keys().isdisjoint((X5CHAIN, X5TS))  # 5.2.2
        ),
    ),
    "x5chain": (
        "5.1.8",
        lambda header, leaf: X5CHAIN not in header or is_path(chain_of(header[X5CHAIN]), leaf),
    ),
    "kid": ("5.1.4", lambda header, _: is_optional(header.get(4), bytes)),
    "x5u": ("5.1.5", lambda header, _: is_optional(header.get(X5U), cbor2.CBORTag)),
    "content type": ("5.1.3", lambda header, _: is_optional(header.get(3), (str, int))),
    "crit": ("5.1.10", lambda header, _: set(header.get(2, ())) == header.keys() & {SIG_D}),
}


def lacking(table, header, leaf):
    """The rows of a table that a header does not fulfil."""
    return {name for name, (_, fulfils) in table.items() if not fulfils(header, leaf)}


@pytest.fixture
async def signer(client, generate):
    """A key with a certificate below MIDDLE; gives its kid and the certificate."""
    key = await generate("p256")
    leaf = MIDDLE.issue(public_key(key))
    chain = pem(leaf, MIDDLE.certificate, ROOT.certificate)
    path = f"/key/{key['kid']}/certificates"
    async with client.put(path, json={"certificates": chain}) as response:
        assert response.status == 200
    return key["kid"], leaf


def cbor(value):
    return b64(cbor2.dumps(value))


def claims(**others):
    return {CWT_CLAIMS: {IAT: int(time.time()), **others}}


BOTH = ["x5c", "x5t#S256"]


@pytest.mark.parametrize(
    ("options", "members", "lacks"),
    [
        ({"certificate_header": BOTH}, {}, set()),
        ({"certificate_header": "x5t#S256"}, {}, set()),
        ({"certificate_header": BOTH, "detached": True}, {}, set()),
        ({"certificate_header": BOTH, "kid_header": "kid"}, {"x5u": CHAIN, "cty": "vc"}, set()),
        ({"certificate_header": BOTH}, {"iat": 0}, {"iat"}),
        ({"certificate_header": BOTH}, {"sigT": "2026-08-01T00:00:00Z"}, {"sigT"}),
        ({"certificate_header": BOTH}, {"x5t": "YQ"}, {"x5t"}),
        ({"certificate_header": BOTH}, {"sigD": {}}, {"crit"}),
        ({"certificate_header": BOTH}, {"x5t#o": {}}, {"x5t#S256"}),
        ({"certificate_header": "x5c"}, {}, {"x5t#S256"}),
        ({}, {}, {"x5t#S256"}),
    ],
)
async def test_a_jws_is_jades_of_the_level_b_b(post, signer, options, members, lacks):
    kid, leaf = signer
    own = {"typ": "dc+sd-jwt", "iat": int(time.time()), **members}
    body = {"kid": kid, "payload": b64(PAYLOAD), "header": own, "kid_header": "none", **options}
    token = (await post("/jws/sign", body))["jws"]
    header = json.loads(raw(token.partition(".")[0]))
    assert lacking(JADES, header, leaf) == lacks
    if "detached" not in options:
        registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        registry.max_header_length = 65_536
        public = leaf.public_key().public_numbers()
        numbers = {"x": public.x, "y": public.y}
        key = {name: b64(value.to_bytes(32)).rstrip("=") for name, value in numbers.items()}
        key = ECKey.import_key({"kty": "EC", "crv": "P-256", **key})
        assert jws.deserialize_compact(token, key, registry=registry).payload == PAYLOAD


@pytest.mark.parametrize(
    ("options", "protected", "lacks"),
    [
        # The form of an mdoc.
        ({"certificate_header": ["x5chain", "x5t-protected"], "tagged": False}, claims(), set()),
        ({"certificate_header": ["x5chain-protected", "x5t-protected"]}, claims(), set()),
        ({"certificate_header": "x5chain-protected"}, claims(), set()),
        (
            {"certificate_header": "x5t-protected", "content_type": "application/cwt"},
            {**claims(), X5U: cbor2.CBORTag(32, CHAIN)},
            set(),
        ),
        ({"certificate_header": ["x5chain", "x5t"]}, claims(), {"x5t"}),
        ({"certificate_header": "x5t-protected"}, {}, {"CWT Claims"}),
        ({"certificate_header": "x5t-protected"}, {**claims(), SIG_D: {}}, {"crit"}),
        ({}, claims(), {"x5t"}),
    ],
)
async def test_a_cose_message_is_cb_ades_of_the_level_b_b(post, signer, options, protected, lacks):
    kid, leaf = signer
    body = {"kid": kid, "payload": b64(PAYLOAD), "protected": cbor(protected), **options}
    message = raw((await post("/cose/sign", body | {"kid_header": "none"}))["cose"])
    items = cbor2.loads(message if options.get("tagged") is False else message[1:])
    assert lacking(CB_ADES, cbor2.loads(items[0]), leaf) == lacks
    verified = await post("/cose/verify", {"kid": kid, "cose": b64(message)})
    assert verified["valid"]


@pytest.mark.parametrize(("name", "table"), [("jades", JADES), ("cb-ades", CB_ADES)])
def test_the_tables_of_the_document_are_these(name, table):
    shown = WALLETS.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    rows = re.findall(r"^\| `([\w#. -]+)`.*? \| ([\d.]+) \|", shown, re.MULTILINE)
    assert rows == [(member, clause) for member, (clause, _) in table.items()]
