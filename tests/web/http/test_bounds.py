"""Small requests that ask for much: each is refused early, and in a small answer."""

import zlib
from base64 import urlsafe_b64encode
from io import BytesIO

import orjson
import pytest
from problems import refused

from minikms.web.openapi import read_examples
from minikms.web.routes import KID, NAME, ROUTES

pytestmark = pytest.mark.shared_service

MANY = 300_000
# The number of `{}` in a small body.
FEWER = 19_000
JSON = {"Content-Type": "application/json"}


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [200, 253, 300, 1000, 1021, 5000])
async def test_a_jws_whose_header_is_nested_deep(post, generate, depth):
    kid = (await generate())["kid"]
    header = urlsafe_b64encode(f'{{"a":{nested(depth)}}}'.encode()).decode().rstrip("=")
    result = await post("/jws/verify", {"kid": kid, "jws": f"{header}.."})
    assert (result["valid"], result["payload"]) == (False, None)


@pytest.mark.parametrize("depth", [253, 300, 1000])
async def test_a_header_that_is_nested_too_deep_to_write(client, generate, depth):
    kid = (await generate())["kid"]
    body = f'{{"kid":"{kid}","payload":"","header":{{"a":{nested(depth)}}}}}'
    response = await client.post("/jws/sign", data=body.encode(), headers=JSON)
    await refused(response, 422, "validation-failed")


@pytest.mark.parametrize(
    ("path", "field", "item"),
    [
        ("/sign/batch", "items", "{}"),
        ("/verify/batch", "items", "{}"),
        ("/verify/batch", "items", "1"),
        ("/key/generate", "operations", "1"),
    ],
)
async def test_a_list_that_is_too_long(client, path, field, item):
    body = f'{{"kid":"k","alg":"p256","{field}":[{",".join([item] * FEWER)}]}}'
    packed = zlib.compress(body.encode())
    headers = JSON | {"Content-Encoding": "deflate"}
    response = await client.post(path, data=packed, headers=headers)
    await refused(response, 422, "validation-failed")
    assert len(await response.read()) < 10_000


async def test_too_many_fields_labels_and_errors(client):
    many = {f"{number:x}": 1 for number in range(5_000)}
    item = [{"data": 1}] * 1000
    for path, body in (
        ("/sign", many),
        ("/sign/batch", {"kid": "k", "items": [many]}),
        ("/sign/batch", {"kid": "k", "items": item}),
        ("/key/generate", {"alg": "p256", "labels": many}),
    ):
        response = await client.post(path, json=body)
        await refused(response, 422, "validation-failed")
        assert len(await response.read()) < 10_000


async def test_a_web_page_cannot_send_a_body_without_its_type(client, generate):
    """A browser would send it to any origin, and ask no one first."""
    page = {"Origin": "http://elsewhere.example"}
    body = b'{"alg":"ed25519"}'
    for kind in ({}, {"Content-Type": "text/plain"}):
        response = await client.post(
            "/key/generate", data=body, headers=page | kind, skip_auto_headers=["Content-Type"]
        )
        await refused(response, 415, "unsupported-media-type")
    response = await client.post("/key/generate", data=body, headers=page | JSON)
    assert response.status == 200
    response = await client.post("/key/generate", data=body, skip_auto_headers=["Content-Type"])
    assert response.status == 200


KIB = 1024
# The largest body of each route whose fields are all short, and of routes with labels.
LARGEST = {
    **dict.fromkeys(("/key/generate", "/key/generate/batch"), 128 * KIB),
    **dict.fromkeys(("/key/KID/associate", "/derive", "/encapsulate", "/decapsulate"), 64 * KIB),
    **dict.fromkeys(("/random", "/profile", "/profile/NAME", "/tokens"), 64 * KIB),
    **dict.fromkeys(("/csr", "/certificate", "/key/KID/certificates"), 64 * KIB),
    "/crl": 3 * 1024 * KIB,
}


def with_bodies():
    """Each route whose requests have a body: its method, its path, an example of the body."""
    examples = read_examples()
    for route in ROUTES:
        if route.body:
            path = route.path.replace(KID, "KID").replace(NAME, "NAME")
            yield route.method, path, next(iter(examples[route.name]["requests"].values()))


@pytest.mark.parametrize(("method", "path", "example"), list(with_bodies()))
@pytest.mark.parametrize("encoding", ["identity", "deflate"])
async def test_a_body_is_bounded_by_its_route(client, method, path, example, encoding):
    most = LARGEST.get(path, 1024 * KIB)
    for size in (most, most + 1) if path in LARGEST else (256 * KIB,):
        body = orjson.dumps(example).ljust(size)
        packed = zlib.compress(body) if encoding == "deflate" else body
        headers = JSON | {"Content-Encoding": encoding}
        response = await client.request(method, path, data=BytesIO(packed), headers=headers)
        if size > most:
            await refused(response, 413, "body-too-large")
        else:
            assert response.status != 413


@pytest.mark.parametrize(
    "value", ["{}", "[]", "0", '"x"', "[[[[[[[[[[0]]]]]]]]]]", '{"a":{"b":0}}']
)
async def test_a_body_of_too_many_values_is_refused(client, value):
    body = b'{"kid":"k","data":"aGk","z":[%s]}' % b",".join([value.encode()] * MANY)[:1_000_000]
    packed = zlib.compress(body)
    assert len(packed) < 10_000
    response = await client.post(
        "/sign", data=packed, headers=JSON | {"Content-Encoding": "deflate"}
    )
    await refused(response, 413, "body-too-large")


@pytest.mark.parametrize("encoding", ["identity", "deflate"])
async def test_a_refused_body_of_many_values_is_parsed_once(client, monkeypatch, encoding):
    parsed, loads = [], orjson.loads

    def counted(body):
        parsed.append(len(body))
        return loads(body)

    body = b'{"kid":"k","data":"aGk","z":[%s]}' % b",".join([b"{}"] * 20_000)
    packed = zlib.compress(body) if encoding == "deflate" else body
    headers = JSON | {"Content-Encoding": encoding}
    with monkeypatch.context() as patch:
        patch.setattr("orjson.loads", counted)
        response = await client.post("/sign", data=packed, headers=headers)
    await refused(response, 422, "validation-failed")
    assert parsed == [len(body)]


def jwe_of(recipients, members, protected=0):
    """Make a JWE in JSON whose recipients have `members` header members each."""
    header = {"enc": "A256GCM", **{f"p{number}": 0 for number in range(protected)}}
    own = {"alg": "ECDH-ES+A256KW", **{f"m{number}": 0 for number in range(members)}}
    return {
        "protected": urlsafe_b64encode(orjson.dumps(header)).decode().rstrip("="),
        "recipients": [{"header": own, "encrypted_key": ""}] * recipients,
        "iv": "",
        "ciphertext": "",
        "tag": "",
    }


@pytest.mark.parametrize(
    ("jwe", "status", "slug"),
    [
        (jwe_of(60, 100), 422, "decryption-failed"),
        (jwe_of(60, 300), 422, "validation-failed"),
        (jwe_of(2, 2_000, protected=2_000), 422, "decryption-failed"),
        (jwe_of(2, 2_500, protected=2_500), 422, "validation-failed"),
        (jwe_of(60, 1_500), 413, "body-too-large"),
    ],
)
async def test_the_headers_of_a_jwe_are_bounded_together(refuses, generate, jwe, status, slug):
    kid = (await generate("x25519"))["kid"]
    await refuses("/jwe/decrypt", {"kid": kid, "jwe": jwe}, status, slug)


async def test_a_jws_of_a_header_that_is_too_long(generate, post):
    kid = (await generate())["kid"]
    header = {"alg": "EdDSA", "x": "x" * 65_536}
    text = urlsafe_b64encode(orjson.dumps(header)).decode().rstrip("=")
    result = await post("/jws/verify", {"kid": kid, "jws": f"{text}.aGk.aGk"})
    assert (result["valid"], result["header"]) == (False, None)
