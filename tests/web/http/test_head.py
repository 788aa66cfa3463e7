"""HEAD, wherever GET is: what GET answers, without its content (RFC 9110 section 9.3.2)."""

import asyncio
import json

import orjson
import pytest
from http_answers import endless
from web.approvals.approvers import Signer, rule

from minikms.config import Config
from minikms.http.gate import GATE
from minikms.serve.assembly import create_service
from minikms.web.routes import ROUTES

JSON = "Content-Type: application/json"
# Headers that differ between answers.
OWN = ("Date", "X-Request-Id")


@pytest.fixture
async def begin(start, connect_to):
    async def run(**options):
        return await connect_to(await start(create_service(Config(**options))))

    return run


async def both(connection, target, *headers):
    """Send GET and HEAD, whose heads must be the same."""
    get = await connection.call("GET", target, b"", *headers)
    head = await connection.call("HEAD", target, b"", *headers)
    known = {name: value for name, value in get.headers.items() if name not in OWN}
    assert (head.status, head.body) == (get.status, b"")
    assert {name: value for name, value in head.headers.items() if name not in OWN} == known
    # Nothing of a body is in the way of the next answer.
    assert (await connection.call("GET", "/healthz")).status == 200
    return get


async def test_head_is_answered_on_every_get_route(begin):
    connection = await begin()
    key = orjson.dumps({"alg": "ed25519", "alias": "mine", "exportable": True})
    made = await connection.call("POST", "/key/generate", key, JSON)
    kid = orjson.loads(made.body)["kid"]
    ruled = orjson.dumps({"alg": "ed25519", "rules": rule(Signer())})
    made = await connection.call("POST", "/key/generate", ruled, JSON)
    body = orjson.dumps({"kid": orjson.loads(made.body)["kid"], "data": "aGVsbG8"})
    refusal = await connection.call("POST", "/sign", body, JSON)
    approval = orjson.loads(refusal.body)["approval"]["id"]
    asked = {"findKey": "?alias=mine", "jwks": "?profile=default"}
    seen = 0
    for route in ROUTES:
        if route.method == "GET":
            path = (
                f"/key/{kid}{route.path.partition('}')[2]}" if "{kid" in route.path else route.path
            )
            path = path.replace("{id:[^/]+}", approval)
            answer = await both(connection, path + asked.get(route.name, ""))
            assert (route.name, answer.status) == (route.name, 200)
            assert int(answer.headers["Content-Length"]) == len(answer.body)
            seen += 1
    assert seen > 8
    for page in ("/", "/docs", "/docs/", "/docs/swagger.json"):
        await both(connection, page)


async def test_refusals_of_head_have_no_body(begin):
    connection = await begin()
    for target in ("/key/none", "/key?alias=none", "/keys?limit=x", "/nothing"):
        assert (await both(connection, target)).status >= 400
    answer = await connection.call("HEAD", "/sign")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    answer = await connection.call("POST", "/keys", b"{}", JSON)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_a_listing_is_not_read_to_its_end(start, connect_to):
    app = create_service(Config())
    app.router.add_get("/endless", app[GATE].counted(endless))
    connection = await connect_to(await start(app))
    for target in ("/endless", "/keys"):
        accept = "Accept: application/x-ndjson"
        head = await connection.call("HEAD", target, b"", accept)
        assert (head.status, head.headers["Content-Type"]) == (200, "application/x-ndjson")
        assert "Content-Length" not in head.headers
        assert (await connection.call("GET", "/healthz")).status == 200


async def test_head_passes_the_gate(begin, admin, tmp_path):
    token, file = admin
    log = tmp_path / "audit.log"
    connection = await begin(auth="token", admin_token_file=file, audit_log=str(log))
    bearer = f"Authorization: Bearer {token}"
    assert (await both(connection, "/keys")).status == 401
    assert (await both(connection, "/keys", bearer)).status == 200
    scopes = orjson.dumps({"name": "signer", "scopes": ["sign"]})
    made = await connection.call("POST", "/tokens", scopes, JSON, bearer)
    signer = f"Authorization: Bearer {orjson.loads(made.body)['token']}"
    assert (await both(connection, "/keys", signer)).status == 403
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    told = [(line["operation"], line["outcome"]) for line in lines if "outcome" in line]
    for outcome in ("unauthenticated", "success", "forbidden"):
        assert told.count(("listKeys", outcome)) == 2


async def test_head_of_the_metrics_has_no_body(begin, free_port):
    connection = await begin(metrics_port=int(free_port))
    await connection.call("HEAD", "/algorithms")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(free_port))
    for method, fields in ((b"HEAD", b""), (b"GET", b"Connection: close\r\n")):
        writer.write(method + b" /metrics HTTP/1.1\r\nHost: kms\r\n" + fields + b"\r\n")
    text = (await reader.read()).decode()
    writer.close()
    assert text.count("HTTP/1.1 200 OK") == 2
    assert text.count("# HELP minikms_requests_total") == 1
    assert 'minikms_requests_total{route="listAlgorithms",status="200"} 1.0' in text
