"""JSON answers on the wire, and the problem of a body that is not JSON."""

import gzip

import orjson
import pytest

pytestmark = pytest.mark.shared_service

JSON = "Content-Type: application/json"
MARK = "planted-7f3a"

GENERATE = b'{"alg":"ed25519","alias":"k"}'
SIGN = b'{"alias":"k","data":"aGVsbG8"}'

ANSWERS = {
    "a success": ("GET", "/healthz", b"", 200),
    "a list": ("GET", "/keys?limit=1", b"", 200),
    "a name with spaces": ("GET", "/key?alias=k", b"", 200),
    "a JWK Set": ("GET", "/jwks.json", b"", 200),
    "the document": ("GET", "/openapi.json", b"", 200),
    "the document of Swagger UI": ("GET", "/docs/swagger.json", b"", 200),
    "a signature": ("POST", "/sign", SIGN, 200),
    "a listing of algorithms": ("GET", "/algorithms", b"", 200),
    "a profile that is made": ("POST", "/profile", b'{"name":"p"}', 200),
    "no route": ("GET", "/nothing/here", b"", 404),
    "no key": ("POST", "/sign", b'{"alias":"absent","data":""}', 404),
    "no method": ("PUT", "/keys", b"", 405),
    "no JSON": ("POST", "/sign", b"{", 400),
    "no field": ("POST", "/sign", b"{}", 422),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_ends_with_a_line_feed(connection, name):
    method, target, body, status = ANSWERS[name]
    assert (await connection.call("POST", "/key/generate", GENERATE, JSON)).status == 200
    for _ in range(2):  # with a length after which the next answer begins at the same place
        response = await connection.call(method, target, body, JSON)
        if target != "/profile":  # whose second is a refusal
            assert response.status == status
        assert response.body == orjson.dumps(orjson.loads(response.body)) + b"\n"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_the_last_answer_of_a_connection_ends_with_a_line_feed(connection, version):
    request = f"GET /healthz {version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    connection.writer.write(request.encode())
    response = await connection.receive()
    assert response.body.endswith(b"}\n")
    assert await connection.at_end()


async def test_the_refusal_of_bad_http_ends_with_a_line_feed(connection):
    connection.writer.write(b"GET / HTTP/9\r\n\r\n")
    response = await connection.receive()
    assert response.problem() == (400, "bad-request")
    assert response.body.endswith(b"}\n")
    assert await connection.at_end()


async def test_lines_of_json_have_one_line_feed_each(client, generate):
    for _ in range(3):
        await generate()
    async with client.get("/keys", headers={"Accept": "application/x-ndjson"}) as response:
        lines = (await response.read()).split(b"\n")
    assert (len(lines), lines[-1]) == (4, b"")
    assert all(orjson.loads(line)["alg"] == "ed25519" for line in lines[:3])


SAID = {
    "nothing": (b"", "empty"),
    "spaces": (b" \n ", "empty"),
    "cut short": (b'{"alg":', "line 1, column 8"),
    "two lines": (f'{{"alg": "{MARK}",\n  alias: 1}}'.encode(), "line 2, column 3"),
    "behind letters of two bytes": ('{"é": x}'.encode(), "line 1, column 7"),
    "something behind": (b'{"alg":"ed25519"}' + MARK.encode(), "line 1, column 18"),
    "too deep": (b"[" * 5000, "column 1026"),
    "no UTF-8": (b'{"alg":"' + MARK.encode() + b'\xff"}', "byte 21"),
    "a surrogate": (b'{"alg":"\xed\xa0\x80"}', "byte 9"),
    "UTF-16": ('{"alg":1}'.encode("utf-16"), "byte 1"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", SAID)
async def test_malformed_json_says_where(connection, name, packed):
    body, where = SAID[name]
    if packed:
        headers = [JSON, "Content-Encoding: gzip"]
        response = await connection.call("POST", "/sign", gzip.compress(body), *headers)
    else:
        response = await connection.call("POST", "/sign", body, JSON)
    assert response.problem() == (400, "malformed-json")
    assert f"{where}." in orjson.loads(response.body)["detail"]
    assert MARK not in response.body.decode()


@pytest.mark.parametrize("header", ["Content-Type: text/plain", "Origin: https://page.example"])
async def test_another_type_is_told_which_header_to_send(connection, header):
    response = await connection.call("POST", "/sign", SIGN, header)
    assert response.problem() == (415, "unsupported-media-type")
    assert "Content-Type: application/json" in orjson.loads(response.body)["detail"]


async def test_another_encoding_is_told_which_header_to_send(connection):
    response = await connection.call("POST", "/sign", SIGN, JSON, "Content-Encoding: br")
    assert response.problem() == (415, "unsupported-media-type")
    assert "Content-Encoding: gzip" in orjson.loads(response.body)["detail"]
