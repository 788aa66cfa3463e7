"""Answers that Mini KMS does not give: each is one UnexpectedAnswer, whatever is wrong with it."""

import gzip
import json
import subprocess
import sys
import zlib

import pytest
from answering import KEY, OK, answering, refusal

from minikms_client import AsyncClient, Client, KeyNotFound, UnexpectedAnswer

MIB = 1024 * 1024
GZIP = {"Content-Encoding": "gzip"}
KEY_GZIPPED = gzip.compress(json.dumps(KEY).encode())


def without(name):
    return {field: value for field, value in KEY.items() if field != name}


BAD = {
    "no JSON": (200, {}, "hello"),
    "nothing": (200, {}, ""),
    "not UTF-8": (200, {}, b'{"kid": "\xff"}'),
    "deep": (200, {}, "[" * 100_000),
    "deep in a key": (200, {}, json.dumps(KEY)[:-1] + ', "more": ' + '{"a":' * 100_000),
    "a certificate that is not base64": (200, {}, json.dumps({**KEY, "certificates": ["_"]})),
    "Infinity": (200, {}, json.dumps({**KEY, "labels": {"a": float("inf")}})),
    "NaN": (200, {}, json.dumps({**KEY, "more": float("nan")})),
    "a number of 5,000 digits": (200, {}, json.dumps(KEY)[:-1] + f', "more": {"9" * 5000}}}'),
    "a list": (200, {}, "[]"),
    "null": (200, {}, "null"),
    "a text": (200, {}, '"kid"'),
    "a member that is missing": (200, {}, json.dumps(without("kid"))),
    "a number for a text": (200, {}, json.dumps({**KEY, "kid": 5})),
    "a list for a text": (200, {}, json.dumps({**KEY, "state": ["enabled"]})),
    "a text for a list": (200, {}, json.dumps({**KEY, "aliases": "ab"})),
    "numbers in a list": (200, {}, json.dumps({**KEY, "operations": [1]})),
    "a text for a flag": (200, {}, json.dumps({**KEY, "exportable": "no"})),
    "a list for a JWK": (200, {}, json.dumps({**KEY, "jwk": []})),
    "numbers for labels": (200, {}, json.dumps({**KEY, "labels": {"a": 1}})),
    "no time": (200, {}, json.dumps({**KEY, "created": "yesterday"})),
    "a time without a zone": (200, {}, json.dumps({**KEY, "created": "2026-01-31T12:00:00"})),
    "a time that is no year of UTC": (
        200,
        {},
        json.dumps({**KEY, "created": "0001-01-01T00:00:00+14:00"}),
    ),
    "half a surrogate pair": (200, {}, json.dumps({**KEY, "kid": "\ud800"})),
    "no gzip": (200, GZIP, json.dumps(KEY)),
    "gzip that is cut short": (200, GZIP, KEY_GZIPPED[:-4]),
    "gzip and more": (200, GZIP, KEY_GZIPPED + b"more"),
    "gzip with a wrong checksum": (200, GZIP, KEY_GZIPPED[:-8] + bytes(8)),
    "an encoding that nobody asked for": (200, {"Content-Encoding": "br"}, json.dumps(KEY)),
    "a problem of another": (404, {}, '{"type": "about:blank", "status": 404, "title": "T"}'),
    "a problem without a status": (404, {}, '{"type": "urn:minikms:problem:key-not-found"}'),
    "a problem with an infinite status": (
        404,
        {},
        refusal("key-not-found", 404)[2].replace("404", "1e999"),
    ),
    "a deep problem": (503, {}, "[" * 100_000),
    "a page of a proxy": (502, {}, "<html>Bad gateway</html>"),
    "a redirect": (302, {"Location": "/keys"}, ""),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
def test_a_malformed_key_is_an_unexpected_answer(answer):
    with answering(answer) as (url, _), Client(url, retries=0) as kms:
        with pytest.raises(UnexpectedAnswer) as caught:
            kms.get_key("a")
        assert caught.value.status == answer[0]


async def test_the_same_for_asyncio():
    bad = ["deep", "Infinity", "a list", "no gzip"]
    with answering(*(BAD[name] for name in bad), OK) as (url, _):
        async with AsyncClient(url) as kms:
            for _ in bad:
                with pytest.raises(UnexpectedAnswer):
                    await kms.get_key("a")
            assert (await kms.get_key("a")).kid == "a"


CALLS = {
    "get_key": lambda kms: kms.get_key("a"),
    "generate_keys": lambda kms: kms.generate_keys("ed25519", 2),
    "list_keys": lambda kms: kms.list_keys(),
    "export_key": lambda kms: kms.export_key("a"),
    "associate_alias": lambda kms: kms.associate_alias("a", "b"),
    "dissociate_alias": lambda kms: kms.dissociate_alias("a", "b"),
    "set_certificates": lambda kms: kms.set_certificates("a", ["b"]),
    "remove_certificates": lambda kms: kms.remove_certificates("a"),
    "delete_key": lambda kms: kms.delete_key("a"),
    "sign": lambda kms: kms.sign(b"", kid="a"),
    "verify": lambda kms: kms.verify(b"", b"", kid="a"),
    "sign_batch": lambda kms: kms.sign_batch([b""], kid="a"),
    "verify_batch": lambda kms: kms.verify_batch([(b"", b"")], kid="a"),
    "encrypt": lambda kms: kms.encrypt(b"", kid="a"),
    "decrypt": lambda kms: kms.decrypt(b"", kid="a"),
    "verify_mac": lambda kms: kms.verify_mac(b"", b"", kid="a"),
    "random": lambda kms: kms.random(1),
    "sign_jws": lambda kms: kms.sign_jws(b"", kid="a"),
    "sign_signing_input": lambda kms: kms.sign_signing_input("", kid="a"),
    "sign_sig_structure": lambda kms: kms.sign_sig_structure(b"", kid="a"),
    "verify_jws": lambda kms: kms.verify_jws("", kid="a"),
    "attest_keys": lambda kms: kms.attest_keys([], kid="a"),
    "sign_cose": lambda kms: kms.sign_cose(b"", kid="a"),
    "verify_cose": lambda kms: kms.verify_cose(b"", kid="a"),
    "encrypt_jwe": lambda kms: kms.encrypt_jwe(b"", "A256GCM", []),
    "decrypt_jwe": lambda kms: kms.decrypt_jwe("", kid="a"),
    "jwks": lambda kms: kms.jwks(),
    "make_csr": lambda kms: kms.make_csr("CN=a", kid="a"),
    "issue_certificate": lambda kms: kms.issue_certificate("self-signed", 1, kid="a"),
    "make_crl": lambda kms: kms.make_crl(1, 1, {}, kid="a"),
    "make_box": lambda kms: kms.make_box(b"", {}, kid="a"),
    "seal_box": lambda kms: kms.seal_box(b"", {}),
    "open_sealed_box": lambda kms: kms.open_sealed_box(b"", kid="a"),
    "pack_didcomm": lambda kms: kms.pack_didcomm([], b""),
    "unpack_didcomm": lambda kms: kms.unpack_didcomm({}),
    "encapsulate": lambda kms: kms.encapsulate({}),
    "decapsulate": lambda kms: kms.decapsulate(b"", kid="a"),
    "seal_hpke": lambda kms: kms.seal_hpke(b"", {}),
    "open_hpke": lambda kms: kms.open_hpke(b"", b"", kid="a"),
    "create_profile": lambda kms: kms.create_profile("a"),
    "list_profiles": lambda kms: kms.list_profiles(),
    "change_profile": lambda kms: kms.change_profile("a", jwks="public"),
    "delete_profile": lambda kms: kms.delete_profile("a"),
    "create_token": lambda kms: kms.create_token("a", []),
    "list_tokens": lambda kms: kms.list_tokens(),
    "get_own_token": lambda kms: kms.get_own_token(),
    "revoke_token": lambda kms: kms.revoke_token("a"),
    "list_algorithms": lambda kms: kms.list_algorithms(),
    "readyz": lambda kms: kms.readyz(),
    "openapi": lambda kms: kms.openapi(),
}
SHAPES = ["{}", "[]", "[1]", "1", '"a"', "null"]
MEMBERS = [
    "keys",
    "results",
    "jwk",
    "sig",
    "valid",
    "plaintext",
    "jws",
    "jwt",
    "cose",
    "jwe",
    "secret",
    "success",
]
SHAPES += [json.dumps(dict.fromkeys(MEMBERS, value)) for value in (1, [1], None)]
# A listing may be empty, and an OpenAPI document is any object.
EMPTY = {("list_keys", "[]"), ("list_tokens", "[]"), ("list_algorithms", "[]")}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_looks_at_the_shape_of_its_answer(name):
    shapes = [shape for shape in SHAPES if (name, shape) not in EMPTY]
    if name == "openapi":
        shapes = [shape for shape in shapes if not shape.startswith("{")]
    with answering(*[(200, {}, shape) for shape in shapes]) as (url, _), Client(url) as kms:
        for shape in shapes:
            with pytest.raises(UnexpectedAnswer):
                pytest.fail(f"{shape}: {CALLS[name](kms)}")


def test_a_listing_with_a_malformed_link_is_unexpected():
    page = (200, {"Link": '</keys?limit=1>; rel="next"'}, json.dumps([KEY]))
    with answering(page) as (url, _), Client(url) as kms, pytest.raises(UnexpectedAnswer):
        kms.list_keys()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_answer_that_a_proxy_has_compressed_is_read(encoding):
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    body = compress(json.dumps(KEY).encode())
    refused = (404, GZIP, gzip.compress(refusal("key-not-found", 404)[2].encode()))
    answers = (200, {"Content-Encoding": encoding}, body), refused
    with answering(*answers) as (url, asked), Client(url) as kms:
        assert kms.get_key("a").kid == "a"
        assert asked[0][2]["Accept-Encoding"] == "gzip"
        with pytest.raises(KeyNotFound):
            kms.get_key("a")


# Run in a process of its own, whose memory counts from its start.
LIMITED = """
import resource, sys
from minikms_client import Client, UnexpectedAnswer
with Client(sys.argv[1]) as kms:
    try:
        kms.jwks()
    except UnexpectedAnswer:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("headers", [{}, GZIP], ids=["plain", "gzip"])
def test_an_answer_of_300_mib_is_cut_off(headers):
    body = bytes(300 * MIB)
    with answering((200, headers, gzip.compress(body) if headers else body)) as (url, _):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, url], check=True, capture_output=True, text=True
        )
    assert int(done.stdout) < 250


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_change_the_path_is_not_sent(name):
    with answering() as (url, asked), Client(url) as kms:
        for call in (
            kms.get_key,
            kms.delete_key,
            kms.export_key,
            kms.rotate_key,
            kms.restore_key,
            kms.delete_profile,
            kms.revoke_token,
        ):
            with pytest.raises(ValueError, match="path"):
                call(name)
        assert asked == []
