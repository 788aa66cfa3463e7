"""Small requests that ask for much: each is refused early, and in a small answer."""

import zlib
from base64 import urlsafe_b64encode

import pytest

pytestmark = pytest.mark.shared_service

MANY = 300_000
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
async def test_a_header_that_is_nested_too_deep_to_write(client, generate, refused, depth):
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
async def test_a_list_that_is_too_long(client, refused, path, field, item):
    body = f'{{"kid":"k","alg":"p256","{field}":[{",".join([item] * MANY)}]}}'
    packed = zlib.compress(body.encode())
    headers = JSON | {"Content-Encoding": "deflate"}
    response = await client.post(path, data=packed, headers=headers)
    await refused(response, 422, "validation-failed")
    assert len(await response.read()) < 10_000


async def test_too_many_fields_labels_and_errors(client, refused):
    many = {f"{number:x}": 1 for number in range(50_000)}
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


async def test_a_web_page_cannot_send_a_body_without_its_type(client, refused, generate):
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
