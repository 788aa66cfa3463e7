import contextlib
import io
import json
import logging
import os
import time

import pytest

from minikms.config import Config
from minikms.serve import log_output
from minikms.serve.assembly import create_service

SECRET = "planted-7f3a"


def access(caplog):
    return [record for record in caplog.records if record.name == "minikms.access"]


@pytest.fixture(autouse=True)
def everything(caplog):
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def configured(capfd):
    """Return a function that configures logging until the end of the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def configure(*options):
        root.handlers[:] = []
        log_output.configure(*options)
        return written

    def written():
        root.handlers[0].flush()
        return capfd.readouterr().err.splitlines()

    yield configure
    root.handlers[0].flush()
    root.handlers[:], root.level = before


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/keys?limit=1", 200),
        ("GET", "/nothing", 404),
        ("PUT", "/keys", 405),
        ("POST", "/sign", 400),
        ("GET", "/key/%FF%0A%1B", 422),
        ("GET", "/", 302),
        ("HEAD", "/healthz", 200),
    ],
)
async def test_a_request_is_one_line_with_its_id(connection, caplog, method, target, status):
    response = await connection.call(method, target)
    (record,) = access(caplog)
    path = target.partition("?")[0]
    known = response.headers["X-Request-Id"]
    found = record.request_id, record.method, record.path, record.status
    assert found == (known, method, path, status)
    assert record.getMessage().startswith(f"{method} {path} {status} ")
    assert record.getMessage().isprintable()
    assert record.milliseconds >= 0


async def test_an_unparsable_request_is_one_line(connection, caplog):
    connection.writer.write(b"\x00" + SECRET.encode() + b"\r\n\r\n")
    response = await connection.receive()
    (record,) = access(caplog)
    assert (record.request_id, record.status) == (response.headers["X-Request-Id"], 400)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("given", ["a", "0" * 128, "ABC.def_12:3/4+5=6@7-8"])
async def test_an_id_that_is_fit_is_taken_over(connection, caplog, given):
    for target in ("/healthz", "/nothing", "/key/nope", "/docs", "/openapi.json"):
        response = await connection.call("GET", target, b"", f"X-Request-Id: {given}")
        assert response.headers["X-Request-Id"] == given
    assert {record.request_id for record in access(caplog)} == {given}


@pytest.mark.parametrize("given", ["", "0" * 129, "a b", "a\tb", '"a"', "é", "a[b", "a%0Ab", "{a}"])
async def test_an_id_that_is_not_is_replaced(connection, caplog, given):
    made = set()
    for _ in range(2):
        response = await connection.call("GET", "/healthz", b"", f"X-Request-Id: {given}")
        made.add(response.headers["X-Request-Id"])
    assert {record.request_id for record in access(caplog)} == made
    assert len(made) == 2
    assert all(len(known) == 32 and known.isalnum() for known in made)


async def test_nothing_that_was_sent_is_logged(client, connection, generate, caplog):
    kid = (await generate())["kid"]
    headers = ["Content-Type: application/json", f"X-Profile: {SECRET}", f"Authorization: {SECRET}"]
    bodies = {
        "/key/generate": {"alg": SECRET},
        "/sign": {"kid": kid, "data": SECRET},
        "/verify": {"kid": kid, "data": SECRET, "sig": SECRET},
        f"/key/{kid}/associate": {"alias": SECRET},
        "/profile": {"name": SECRET},
    }
    for path, body in bodies.items():
        for sent in (json.dumps(body), json.dumps({**body, SECRET: SECRET}), SECRET):
            for given in (headers[:1], headers):
                for target in (path, f"{path}?x={SECRET}"):
                    await connection.call("POST", target, sent.encode(), *given)
    for query in ("alias", "after", "alg", "limit"):
        await connection.call("GET", f"/keys?{query}={SECRET}")
    await connection.call("GET", f"/key?alias={SECRET}")
    assert (await client.get("/key", params={"alias": SECRET})).status == 200
    assert len(access(caplog)) > 30
    for record in caplog.records:
        if record.name.startswith(("minikms", "aiohttp")):
            assert SECRET not in str(vars(record))


async def test_a_token_in_place_of_a_name_is_not_logged(start, connect_to, tmp_path, caplog, admin):
    """Neither as the id of a request nor in a path, in the log and in the audit log."""
    log = tmp_path / "audit.log"
    config = Config(auth="token", admin_token_file=admin[1], audit_log=str(log))
    connection = await connect_to(await start(create_service(config)))
    jws = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJhIn0.c2ln"
    for secret in (admin[0], f"urn:{admin[0]}", jws):
        encoded = secret.replace("_", "%5F").replace(".", "%2E")
        for target in (f"/key/{secret}", f"/tokens/{encoded}", f"/{secret}/x", "/keys"):
            given = (f"X-Request-Id: {secret}", f"Authorization: Bearer {admin[0]}")
            response = await connection.call("GET", target, b"", *given)
            assert secret not in response.headers["X-Request-Id"]
    paths = [record.path for record in access(caplog)]
    assert paths == ["/key/…", "/tokens/…", "/…/x", "/keys"] * 3
    written = log.read_text("utf-8") + "".join(str(vars(record)) for record in caplog.records)
    assert admin[0].rpartition("_")[2] not in written
    assert jws not in written


async def test_lines_of_text_have_time_level_and_request_id(client, connection, configured):
    written = configured("text", "info")
    await connection.call("GET", "/healthz", b"", "X-Request-Id: id-1")
    logging.getLogger("minikms").info("no request")
    request, other = (line for line in written() if "minikms.store.connections.notices" not in line)
    assert "INFO minikms.access GET /healthz 200 " in request
    assert request.endswith(" ms [id-1]")
    assert other.endswith(" INFO minikms no request")


async def test_lines_of_json_have_their_members(client, connection, configured):
    written = configured("json", "info")
    await connection.call("GET", "/key/nope", b"", "X-Request-Id: id-1")
    lines = map(json.loads, written())
    (line,) = (line for line in lines if line["name"] == "minikms.access")
    assert line.keys() == {
        *("time", "levelname", "name", "process", "message"),
        *("request_id", "method", "path", "status", "bytes", "milliseconds", "route"),
    }
    found = [line[name] for name in ("request_id", "method", "path", "route", "status")]
    assert found == ["id-1", "GET", "/key/nope", "getKey", 404]
    assert line["bytes"] > 0


async def test_lone_surrogates_are_logged_as_json(configured):
    """As the subject of a JWT may be."""
    written = configured("json", "info")
    logging.getLogger("minikms").info("%s", "\ud800", extra={"who": "\udfff"})
    [line] = map(json.loads, written())
    assert (line["message"], line["who"]) == ("\ud800", "\udfff")


async def test_the_access_line_names_the_caller(start, configured, admin):
    token, file = admin
    client = await start(create_service(Config(auth="token", admin_token_file=file)))
    written = configured("json", "info")
    headers = {"Authorization": f"Bearer {token}"}
    body = {"name": "issuer", "scopes": ["sign"]}
    made = await client.post("/tokens", json=body, headers=headers)
    other = {"Authorization": f"Bearer {(await made.json())['token']}"}
    for sent in headers, other, {}, {"Authorization": "Bearer wrong"}:
        await client.get("/keys", headers=sent)
    lines = [json.loads(line) for line in written()]
    found = [(line["route"], line["status"], line.get("who")) for line in lines]
    assert found == [
        ("createToken", 200, "admin"),
        ("listKeys", 200, "admin"),
        ("listKeys", 403, "issuer"),
        ("listKeys", 401, None),
        ("listKeys", 401, None),
    ]


async def test_lines_below_the_level_are_not_written(client, configured, connect):
    written = configured("text", "warning")
    await (await connect()).call("GET", "/healthz")
    logging.getLogger("minikms").warning("this one")
    (line,) = written()
    assert line.endswith("WARNING minikms this one")


@pytest.fixture
def batching(monkeypatch):
    """A log handler that waits before it writes, and a function that returns its lines."""
    monkeypatch.setattr(log_output, "_DELAY", 3600)
    stream = io.StringIO()
    return log_output.BatchHandler(stream), stream.getvalue


def record(message, level=logging.INFO):
    return logging.makeLogRecord({"msg": message, "levelno": level})


def test_lines_wait_for_others(batching):
    handler, written = batching
    for number in range(100):
        handler.handle(record(number))
    assert written() == ""
    handler.flush()
    assert written() == "".join(f"{number}\n" for number in range(100))


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_a_warning_is_not_waited_for(batching, level):
    handler, written = batching
    handler.handle(record("before"))
    handler.handle(record("this", level))
    until = time.monotonic() + 60
    while written() != "before\nthis\n":
        assert time.monotonic() < until
        time.sleep(0.01)


def test_so_many_lines_wait_at_most(batching, monkeypatch):
    handler, written = batching
    monkeypatch.setattr(log_output, "_MAX_WAITING", 10)
    for number in range(10):
        handler.handle(record(number))
    assert written() == ""
    handler.handle(record(10))
    assert written().split() == [str(number) for number in range(11)]


def test_lines_do_not_wait_for_long(monkeypatch):
    stream = io.StringIO()
    handler = log_output.BatchHandler(stream)
    for number in range(3):
        handler.handle(record(number))
        until = time.monotonic() + 60
        while stream.getvalue().split() != [str(n) for n in range(number + 1)]:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_broken_pipe_blocks_nobody(capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), open(writer, "w") as stream:
        handler = log_output.BatchHandler(stream)
        for level in (logging.WARNING, logging.INFO, logging.INFO):
            handler.handle(record("this", level))
            output, until = "", time.monotonic() + 60
            while "BrokenPipeError" not in output or "Arguments: " not in output:
                assert time.monotonic() < until
                time.sleep(0.01)
                output += capsys.readouterr().err  # what logging itself says
