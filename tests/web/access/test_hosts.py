"""Accepted `Host` headers of a service without tokens on loopback, and its frames."""

import json

import pytest

from minikms.config import Config
from minikms.http.gate import GATE
from minikms.serve.assembly import create_service
from minikms.startup_errors import AccessError
from minikms.web.routes import ROUTES

JSON = {"Content-Type": "application/json"}
LOCAL = [
    "localhost",
    "LocalHost:8080",
    "localhost.",
    "kms.localhost:1",
    "127.0.0.1",
    "127.1.2.3:8080",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:8080",
]
OTHER = [
    "rebound.example",
    "rebound.example:8080",
    "localhost.rebound.example",
    "127.0.0.1.rebound.example",
    "notlocalhost",
    "0.0.0.0",
    "128.0.0.1",
    "127.1",
    "2130706433",
    "[::2]",
    "::1",
    "",
    "localhost:80:80",
    "localhost, localhost",
    "user@localhost",
]


@pytest.fixture
async def called(start, connect_to):
    """Status and slug of an answer to a request with these lines of its head."""

    async def call(line, *hosts, body=b"", client=None, version="1.1"):
        connection = await connect_to(client)
        lines = [f"{line} HTTP/{version}", *(f"Host: {host}" for host in hosts)]
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json", "", ""]
        connection.writer.write("\r\n".join(lines).encode() + body)
        answer = await connection.receive()
        return answer.problem() if answer.status >= 400 else (answer.status, None)

    return call


async def signed(client, called, *hosts):
    """The same of a signature, which is mostly answered at once: by the host, and then again."""
    key = {"alg": "ed25519", "alias": "of hosts"}
    default = {"X-Profile": "default"}
    assert (await client.post("/key/generate", json=key, headers=default)).status == 200
    body = b'{"alias":"of hosts","data":"aGVsbG8"}'
    return [await called("POST /sign", *hosts, body=body, client=client) for _ in range(2)]


@pytest.mark.shared_service
@pytest.mark.parametrize("host", LOCAL)
async def test_a_host_that_is_this_machine(client, called, host):
    assert await called("GET /keys", host, client=client) == (200, None)
    assert await signed(client, called, host) == [(200, None)] * 2


@pytest.mark.shared_service
@pytest.mark.parametrize("host", OTHER)
async def test_a_host_that_is_another(client, called, host):
    assert await signed(client, called, host) == [(421, "misdirected-request")] * 2


@pytest.mark.shared_service
async def test_a_host_that_is_another_while_the_key_is_in_memory(client, called):
    assert await signed(client, called, "localhost") == [(200, None)] * 2
    body = b'{"alias":"of hosts","data":"aGVsbG8"}'
    for host, expected in (
        ("rebound.example", (421, "misdirected-request")),
        ("[::1]", (200, None)),
    ):
        assert await called("POST /sign", host, body=body, client=client) == expected
    assert await called("POST /sign", body=body, client=client) != (200, None)


@pytest.mark.shared_service
async def test_a_body_for_another_host_is_not_asked_for(connection):
    head = "POST /sign HTTP/1.1", "Host: rebound.example", "Expect: 100-continue"
    connection.writer.write("\r\n".join([*head, "Content-Length: 9", "", ""]).encode())
    assert (await connection.receive()).problem() == (421, "misdirected-request")


async def test_no_path_is_left_out(client, called):
    paths = [f"{route.method} {route.path.partition('{')[0]}" for route in ROUTES]
    paths = [path for path in paths if not path.endswith("/")]
    for path in (*paths, "GET /", "GET /docs", "GET /docs/", "GET /docs/swagger.json"):
        refused = await called(path, "rebound.example", client=client)
        assert refused == (421, "misdirected-request"), path


async def test_a_request_names_one_host(client, called):
    for hosts in ((), ("localhost", "rebound.example"), ("rebound.example", "localhost")):
        status, slug = await called("GET /keys", *hosts, client=client)
        assert (status, slug) in ((421, "misdirected-request"), (400, "bad-request"))
    # No browser speaks HTTP/1.0, which has no Host.
    assert await called("GET /keys", client=client, version="1.0") == (200, None)
    refused = await called("GET /keys", "rebound.example", client=client, version="1.0")
    assert refused == (421, "misdirected-request")


@pytest.mark.parametrize(
    ("options", "host", "answers"),
    [
        ({"allowed_host": "KMS.example., fd00::1"}, "kms.example:8080", True),
        ({"allowed_host": "kms.example, fd00::1"}, "[fd00:0::1]", True),
        ({"allowed_host": "kms.example"}, "localhost", True),
        ({"allowed_host": "kms.example"}, "other.kms.example", False),
        ({"allowed_host": "kms.example,*"}, "rebound.example", True),
        ({"host": "localhost"}, "rebound.example", False),
        ({"host": "::1"}, "rebound.example", False),
        # Callers on other machines may use names that the service does not know.
        ({"host": "0.0.0.0"}, "rebound.example", True),
    ],
)
async def test_where_hosts_are_checked(start, called, options, host, answers):
    client = await start(create_service(Config(**options)))
    status, _ = await called("GET /keys", host, client=client)
    assert status == (200 if answers else 421)


async def test_a_token_is_enough(start, called, admin):
    client = await start(create_service(Config(auth="token", admin_token_file=admin[1])))
    assert (await called("GET /keys", "rebound.example", client=client))[0] == 401


@pytest.mark.parametrize("text", ["kms:8080", "[::1]:80", "http://kms", "k ms", "[kms]"])
def test_a_malformed_allowed_host_is_refused(text):
    with pytest.raises(AccessError, match="--allowed-host"):
        create_service(Config(allowed_host=text))


async def test_a_refused_host_is_written_down(start, called, tmp_path):
    path = tmp_path / "audit.log"
    client = await start(create_service(Config(audit_log=str(path))))
    await called("GET /keys", "rebound.example", client=client)
    line = json.loads(path.read_text().splitlines()[-1])
    assert (line["operation"], line["outcome"]) == ("listKeys", "misdirected-request")


async def test_no_other_page_shows_the_documents_in_a_frame(client):
    for path in ("/docs", "/docs/", "/docs/swagger_ui_static/swagger-ui.css"):
        async with client.get(path) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


async def test_so_many_hosts_are_remembered(client, monkeypatch):
    """A caller may name any port, and anything before `.localhost`."""
    monkeypatch.setattr("minikms.http.hosts._MOST", 5)
    seen = client.app[GATE]._hosts._seen
    for number in range(12):
        named = {"Host": f"{number}.localhost:{8000 + number}"}
        assert (await client.get("/keys", headers=named)).status == 200
        assert 0 < len(seen) <= 5
