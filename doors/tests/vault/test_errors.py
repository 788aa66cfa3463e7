"""Errors at the Vault door: statuses, messages, and log lines."""

import asyncio
from urllib.parse import urlsplit

import pytest
from yarl import URL

from minikms import errors
from minikms_vault.errors import VaultError, as_vault, body_of

pytestmark = pytest.mark.shared_service

KEPT = {404, 405, 408, 413, 421, 429, 431, 500, 503}


def every_error(base=errors.KmsError):
    for cls in base.__subclasses__():
        if cls.__module__ == "minikms.errors":
            yield cls
            yield from every_error(cls)


@pytest.mark.parametrize("cls", list(every_error()), ids=lambda cls: cls.__name__)
def test_every_error_of_the_service_has_a_status_of_vault(cls):
    status, sentences = as_vault(cls())
    assert status in KEPT | {400, 403}
    assert all(sentences)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Unauthenticated(), 403),
        (errors.Forbidden("sign"), 403),
        (errors.ProfileNotFound(), 404),
        (errors.StoreUnavailable(), 503),
        (errors.TooBusy(), 503),
        (errors.AuditUnavailable(), 503),
        (errors.KeyNotUsable(), 400),
        (errors.NotExportable(), 400),
        (errors.UnsupportedOperation(), 400),
        (errors.InternalError(), 500),
    ],
    ids=lambda value: getattr(value, "slug", ""),
)
def test_the_status_of_an_error(error, status):
    assert as_vault(error)[0] == status


def test_an_error_of_a_batch_has_its_data():
    error = VaultError(400, "one", data={"batch_results": []})
    assert body_of(error, error.sentences) == (b'{"errors":["one"],"data":{"batch_results":[]}}\n')


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "{", "{}}", "\ud800"])
async def test_a_body_that_is_no_object_is_400(vault, body):
    url = f"{vault.url}/v1/transit/sign/k"
    async with vault.session.post(url, data=body.encode("utf-8", "surrogatepass")) as answer:
        found = await answer.json()
    assert answer.status == 400
    assert found["errors"][0].startswith("failed to decode JSON input: ")


@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
async def test_an_empty_body_of_any_type_has_no_members(vault, body, kind):
    headers = {"Content-Type": kind} if kind else {}
    url = f"{vault.url}/v1/sys/capabilities-self"
    async with vault.session.post(
        url, data=body, headers=headers, skip_auto_headers=["Content-Type"]
    ) as answer:
        assert await answer.json() == {"errors": ["paths must be supplied"]}


async def test_a_large_body_with_many_values_is_413(vault):
    body = {"batch_input": [{}] * 30_000, "padding": "x" * 1000}
    status, answer = await vault.call("POST", "transit/sign/k", body)
    assert (status, len(answer["errors"])) == (413, 1)


async def test_a_body_over_the_limit_is_413(start_vault):
    vault = await start_vault(max_body=2000)
    status, answer = await vault.call("POST", "transit/sign/k", {"input": "x" * 3000})
    assert (status, len(answer["errors"])) == (413, 1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/v1", 404),
        ("/v1/", 404),
        ("/v1//", 307),
        ("/v2/sys/health", 404),
        ("/v1/transit/sign/a%2Fb", 404),
        ("/v1/transit/sign/%ff", 404),
        ("/v1/transit/sign/", 404),
        ("/v1/transit/keys/%2e%2e", 404),
        ("/v1/transit/keys/a b", 404),
        ("/v1/transit/keys/caf%C3%A9", 404),
        ("/v1/auth/token/login", 404),
        ("/v1/sys/health?standbyok=true", 200),
        ("/v1/sys/health/", 404),
    ],
)
async def test_odd_paths(vault, path, status):
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(vault.url).port)
    target = path.replace(" ", "%20").encode()
    writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert int(head.split()[1]) == status
    assert body.startswith(b"{")


@pytest.mark.parametrize("path", ["/v1/%0d%0aX:%20y", "/v1//%0AX", "/v1/transit/keys/a%7f"])
async def test_a_path_with_control_characters_is_unsupported(vault, path):
    """Also on a connection that stays."""
    async with vault.session.get(URL(f"{vault.url}{path}", encoded=True)) as answer:
        assert answer.status == 404
        assert "unsupported path" in await answer.text()


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/v1/transit//keys/a", "/v1/transit/keys/a"),
        ("/v1//transit/keys//?list=true&after=a%20b", "/v1/transit/keys/?list=true&after=a%20b"),
        ("/v1/transit/./keys/../keys/a%2Fb", "/v1/transit/keys/a%2Fb"),
        ("/v1/../x", None),
        ("/v1/../../example.org/", None),
        ("/v1//../..//example.org", None),
        ("//example.org/v1//transit", None),
        ("/v1//a%20b:c", "/v1/a%20b:c"),
        ("/v1//%0d%0aX:%20y", None),
        ("/v1/keys/.a", None),
    ],
)
async def test_a_path_with_empty_or_dot_segments_leads_to_the_clean_one(vault, path, clean):
    """Clients follow 307 with method and body; nothing leads elsewhere."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(vault.url).port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, _, fields = head.decode().partition("\r\n")
    headers = dict(line.split(": ", 1) for line in fields.split("\r\n"))
    assert int(status.split()[1]) == (404 if clean is None else 307)
    assert headers.get("Location") == clean
    assert body.startswith(b"{")


async def test_a_form_has_a_thousand_fields(vault):
    url, kind = (
        f"{vault.url}/v1/transit/hash",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    for fields, status in ((999, 200), (1000, 400), (100_000, 400)):
        body = b"input=aGVsbG8%3D" + b"&a=b" * fields
        async with vault.session.post(url, data=body, headers=kind) as answer:
            assert (answer.status, "errors" in await answer.json()) == (status, status == 400)


async def test_a_redirected_call_signs(vault):
    await vault.data("POST", "transit/keys/k", {"type": "ed25519"})
    signed = await vault.data("POST", "transit//sign/k", {"input": "aGVsbG8="})
    assert signed["signature"].startswith("vault:v1:")


async def test_http_that_does_not_parse_has_vaults_form(vault):
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(vault.url).port)
    writer.write(b"NONSENSE / HTTP/1.1\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.split()[1] == b"400"
    assert body.startswith(b'{"errors":["')


async def test_a_log_line_names_the_operation(vault, caplog):
    caplog.set_level("INFO", "minikms.access")
    await vault.call("GET", "sys/health")
    await vault.call("POST", "transit/sign/payments", {"input": ""})
    await vault.call("GET", "transit/nothing")
    lines = [record.getMessage().rsplit(" ", 2)[0] for record in caplog.records]
    assert lines == [
        "GET /v1/sys/health vault:health 200",
        "POST /v1/transit/sign/payments vault:sign 400",
        "GET /v1/transit/nothing 404",
    ]


async def test_the_audit_log_has_the_name_that_was_asked_for(guarded, issue, audit_lines):
    token = await issue("sign", "keys:write")
    await guarded.call("POST", "transit/sign/missing", {"input": ""}, token=token)
    await guarded.call("POST", "transit/keys/k", {"type": "ed25519"}, token=token)
    await guarded.call("POST", "transit/sign/k", {"input": ""}, token=token)
    missing, made, signed = audit_lines()
    assert (missing["alias"], missing["kid"]) == ("missing", None)
    assert missing["outcome"] != "success"
    assert (made["alias"], made["operation"], made["outcome"]) == (
        "k",
        "vault:createKey",
        "success",
    )
    assert (signed["alias"], signed["alg"]) == ("k", "ed25519")
    assert signed["kid"] == made["kid"]


@pytest.mark.parametrize(
    ("ttl", "is_refused"), [("60s", 1), ("1", 1), ("0", 0), ("0s", 0), ("", 0)]
)
async def test_an_answer_that_shall_be_wrapped_is_refused(vault, ttl, is_refused):
    await vault.data("POST", "transit/keys/k", {"exportable": True})
    headers = {"X-Vault-Wrap-TTL": ttl}
    for method, path in (
        ("GET", "transit/export/encryption-key/k"),
        ("POST", "transit/datakey/plaintext/k"),
        ("GET", "auth/token/lookup-self"),
    ):
        status, answer = await vault.call(method, path, **headers)
        assert (status == 400) == is_refused
        if is_refused:
            sentence = "answers cannot be wrapped: send no X-Vault-Wrap-TTL"
            assert answer == {"errors": [sentence]}


async def test_a_malformed_call_has_its_name_in_the_audit_log(guarded, issue, audit_lines):
    token = await issue("sign")
    url = f"{guarded.url}/v1/transit/sign/named"
    headers = {"X-Vault-Token": token}
    async with guarded.session.post(url, data=b"{", headers=headers) as answer:
        assert answer.status == 400
    assert audit_lines()[-1]["alias"] == "named"
