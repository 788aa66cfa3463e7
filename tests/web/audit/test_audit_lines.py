"""The audit log has a line for each call; if a line cannot be written, the call fails."""

import asyncio
import json
import os
from base64 import b64encode, urlsafe_b64encode
from io import BytesIO

import pytest
from aiohttp import web
from cryptography import x509
from problems import refused, slug_of
from web.approvals.approvers import CALLS as APPROVAL_CALLS
from web.approvals.approvers import example_of
from web.openapi.openapi_document import profile_of, sent_in_turn

from minikms.access.callers import ANY_TOKEN, OPEN, SCOPES
from minikms.access.token_record import Token
from minikms.config import Config
from minikms.encodings import b64url
from minikms.errors import StoreUnavailable
from minikms.http.gate import GATE
from minikms.http.state import IN_FLIGHT
from minikms.key_requests import KeyRef
from minikms.serve.assembly import create_service
from minikms.store.askar.sessions import Transaction
from minikms.web.parameters import CERTIFIED_KEY, KEY
from minikms.web.routes import ROUTES
from minikms.web.state import AUDIT, DOCUMENT, SERVICE, TOKENS

GUARDED = {route.name: route for route in ROUTES if route.scope != OPEN}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def client(start, any_store, path):
    """A client with every scope, whose calls are recorded."""
    options = {**any_store, "auth": "token"}
    client = await start(create_service(Config(**options, audit_log=str(path))))
    token, _ = await client.app[TOKENS].create("operator", SCOPES)
    client.session.headers["Authorization"] = f"Bearer {token.reveal()}"
    return client


@pytest.fixture
def lines(path):
    """The lines that have come since the last time."""
    read = 1

    def new():
        nonlocal read
        found = path.read_bytes().splitlines()
        since, read = found[read:], len(found)
        return [json.loads(line) for line in since]

    return new


async def calls(client):
    """Every call that asks for a token, in an order in which each succeeds."""
    document = json.loads(await client.app[DOCUMENT].content())
    return [call for call in sent_in_turn(document) if call[0] in GUARDED]


async def with_approval(client, call):
    """Ask for the approval that a call needs."""
    name, method, path, query, body = call
    path, body = await example_of(client, name, path, body)
    return name, method, path, query, body


async def answered(client, call, revoked=""):
    """Send a call, and give the answer's status, request id and body."""
    name, method, path, query, body = call
    if name == "revokeToken":
        path = f"/tokens/{revoked}"
    async with client.request(method, path, params=query, json=body) as answer:
        return answer.status, answer.headers["X-Request-Id"], await answer.json()


@pytest.mark.each_store
async def test_every_call_leaves_its_line(client, lines):
    seen, token_id = set(), ""
    document = json.loads(await client.app[DOCUMENT].content())
    for call in await calls(client):
        name, call = call[0], await with_approval(client, call)
        lines()
        key = await key_of(client, call)
        status, request_id, answer = await answered(client, call, token_id)
        assert status == 200, (name, answer)
        *others, line = lines()
        assert len(others) == (name in ("generateKeys", "attestKeys"))  # of two keys
        if name == "attestKeys":  # the key that signs comes first
            line = others[0]
        assert (line["operation"], line["outcome"]) == (name, "success")
        assert (line["who"], line["address"]) == ("operator", "127.0.0.1")
        assert line["request_id"] == request_id
        if name == "createToken":
            token_id = answer["record"]["id"]
        assert line["token"] == (token_id if name in ("createToken", "revokeToken") else None)
        assert line["profile"] == profile_of(document, name, named="alice"), name
        if name in ("generateKey", "importKey"):
            key = answer["kid"], answer["alg"]
        if name == "generateKeys":
            key = answer["keys"][-1]["kid"], answer["keys"][-1]["alg"]
        if name in APPROVAL_CALLS:
            key = answer["kid"], "ed25519"
        assert (line["kid"], line["alg"]) == key, name
        seen.add(name)
    assert seen == GUARDED.keys()


async def test_the_lines_of_a_certificate(client, lines, generate, post, refuses):
    authority, leaf = await generate("p256"), await generate("p384")
    body = {"kid": authority["kid"], "profile": "self-signed", "days": 9}
    made = await post("/certificate", {**body, "subject": "CN=" + "ä" * 32})
    chain = {"certificates": [made["certificate"]]}
    async with client.put(f"/key/{authority['kid']}/certificates", json=chain) as response:
        assert response.status == 200
    lines()
    body |= {"profile": "client", "key": leaf["kid"], "days": 1}
    made = await post("/certificate", {**body, "subject": ",".join(["O=" + "ä" * 30] * 16)})
    certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
    own, other = lines()
    assert (own["kid"], other["kid"]) == (authority["kid"], leaf["kid"])
    for line in own, other:
        assert line["operation"] == "issueCertificate"
        assert line["certificate"] == {
            "serial": f"{certificate.serial_number:x}",
            "subject": certificate.subject.rfc4514_string(),
            "profile": "client",
        }
    await refuses("/certificate", {**body, "subject": "nothing"}, 422, "invalid-certificate")
    [line] = lines()
    assert (line["outcome"], "certificate" in line) == ("invalid-certificate", False)


async def test_the_line_of_a_revocation_list(lines, authority, post, refuses):
    kid, _ = await authority()
    lines()
    revoked = [{"serial": "1f", "date": "2026-01-30T08:15:00Z"}]
    body = {"kid": kid, "number": 7, "days": 1, "revoked": revoked}
    await post("/crl", body)
    await refuses("/crl", body | {"revoked": revoked * 2}, 422, "validation-failed")
    done, failed = lines()
    assert (done["operation"], done["kid"], done["crl"]) == (
        *("makeCrl", kid),
        {"number": 7, "count": 1},
    )
    assert (failed["outcome"], "crl" in failed) == ("validation-failed", False)


@pytest.mark.parametrize(
    ("data", "outcome", "batch"),
    [
        (["aGVsbG8", "aGVsbG8"], "success", None),
        (["aGVsbG8", "?", "?"], "success", {"items": 3, "failed": 2}),
        (["?", "?"], "validation-failed", {"items": 2, "failed": 2}),
    ],
)
async def test_the_line_of_a_batch_says_how_many_items_failed(
    lines, generate, post, data, outcome, batch
):
    kid = (await generate())["kid"]
    lines()
    await post("/sign/batch", {"kid": kid, "items": [{"data": each} for each in data]})
    items = [{"data": each, "sig": "AA"} for each in data]
    await post("/verify/batch", {"kid": kid, "items": items})
    for line in lines():
        assert (line["kid"], line["outcome"], line.get("batch")) == (kid, outcome, batch)


async def test_the_line_of_a_rotation_names_both_keys(client, lines, generate):
    old = (await generate())["kid"]
    lines()
    async with client.post(f"/key/{old}/rotate") as answer:
        new = (await answer.json())["kid"]
    [line] = lines()
    assert (line["kid"], line["new_kid"]) == (old, new)
    for kid in old, new:
        async with client.get("/audit", params={"kid": kid}) as answer:
            newest, *_ = await answer.json()
        assert (newest["operation"], newest["new_kid"]) == ("rotateKey", new)
    lines()
    async with client.post(f"/key/{old}/rotate") as answer:
        await refused(answer, 409, "key-not-usable")
    [line] = lines()
    assert (line["kid"], line["outcome"], "new_kid" in line) == (old, "key-not-usable", False)


@pytest.mark.each_store
async def test_each_step_of_a_rotation_has_a_line_by_a_call_or_a_sweep(
    client, lines, generate, clock
):
    """A search by any of the kids, or by the alias, finds it; nobody asked for a sweep's steps."""
    day = 86_400
    times = {"rotate_every": 30 * day, "publish_ahead": day, "retire_after": 2 * day}
    first = (await generate(alias="a", **times))["kid"]

    async def call(step, kid):
        async with client.post(f"/key/{kid}/{step}") as answer:
            return (await answer.json())["kid"]

    async def sweep(days):
        clock(days * day)
        await client.app[SERVICE].sweep(client.app[GATE].sink)
        return (await (await client.get("/key?alias=a")).json())["kid"]

    lines()
    second = await call("next", first)
    assert await call("rotate", first) == second
    third = await call("next", second)
    assert [await call("next", second), await sweep(2.1)] == [third, second]
    assert await sweep(31) == third
    assert await sweep(40) == third
    assert await sweep(62) == third
    [fourth] = [key["kid"] for key in await (await client.get("/keys?state=next")).json()]
    assert await sweep(64) == fourth
    expected = [
        ("operator", "nextKey", first, second),
        ("operator", "rotateKey", first, second),
        ("operator", "nextKey", second, third),
        ("operator", "nextKey", second, third),
        ("", "retireKey", first, None),
        ("", "rotateKey", second, third),
        ("", "retireKey", second, None),
        ("", "nextKey", third, fourth),
        ("", "rotateKey", third, fourth),
    ]
    steps = ("nextKey", "rotateKey", "retireKey")

    def facts(found):
        kids = [
            [each.get(name) for name in ("who", "operation", "kid", "new_kid")] for each in found
        ]
        return [tuple(each) for each in kids if each[1] in steps]

    found = [each for each in lines() if each["operation"] in steps]
    assert facts(found) == expected
    assert {(each["outcome"], each["alg"], each["profile"]) for each in found} == {
        ("success", "ed25519", "default")
    }
    for query in ({"kid": first}, {"kid": third}, {"alias": "a"}, {"operation": "retireKey"}):
        async with client.get("/audit", params={"limit": 100, **query}) as answer:
            newest_first = facts(await answer.json())
        asked = query.get("kid")
        assert newest_first[::-1] == [
            each
            for each in expected
            if asked in (None, *each[2:]) and query.get("operation") in (None, each[1])
        ], query


async def test_the_second_line_of_a_rotation_whose_commit_fails_names_no_new_key(
    client, lines, generate, monkeypatch
):
    old = (await generate())["kid"]
    lines()
    commit = Transaction.commit

    async def fail(transaction):
        if not transaction.events:  # the head of the log
            return await commit(transaction)
        raise StoreUnavailable(unknown=True)

    monkeypatch.setattr(Transaction, "commit", fail)
    async with client.post(f"/key/{old}/rotate") as answer:
        await refused(answer, 503, "store-unavailable")
    facts = [(line["kid"], line["outcome"], "new_kid" in line) for line in lines()]
    assert facts == [(old, "success", True), (old, "store-unavailable", False)]


def kid_in(path):
    """The kid in a path, None if it has none."""
    return next((each.example for each in (KEY, CERTIFIED_KEY) if each.example in path), None)


async def key_of(client, call):
    """The kid and algorithm of the key that a call names, or None and None."""
    name, _, path, query, body = call
    body = body or {}
    # The line of a JWE has the sender's key, or else the first recipient's.
    first = body["recipients"][0].get("alias") if "recipients" in body else None
    alias = query.get("alias") or body.get("alias") or first
    if name == "packDidcomm":
        alias = body.get("from")
    if name == "unpackDidcomm":
        alias = "example wallet"
    if kid := kid_in(path):
        return kid, "ed25519"
    if alias is None or name in ("generateKey", "importKey"):
        return None, None
    record = await client.app[SERVICE].operations.get("default", KeyRef(alias=alias))
    return record.kid, record.alg


@pytest.mark.parametrize(
    ("who", "outcome"), [("nobody", "unauthenticated"), ("elsewhere", "forbidden")]
)
async def test_every_call_that_is_refused_leaves_its_line(client, lines, who, outcome):
    headers = {}
    if who == "elsewhere":
        token, _ = await client.app[TOKENS].create(who, ("admin",))
        headers["Authorization"] = f"Bearer {token.reveal()}"
        with_scope = {
            name for name, route in GUARDED.items() if route.scope in ("admin", ANY_TOKEN)
        }
    else:
        headers["Authorization"], with_scope = f"Bearer {Token.new().reveal()}", set()
    seen = set()
    for name, method, path, query, body in await calls(client):
        if name in with_scope or name in seen:
            continue
        headers["X-Profile"] = "bob"
        async with client.request(method, path, params=query, json=body, headers=headers) as answer:
            assert answer.status in (401, 403, 429)
        (line,) = lines()
        assert (line["operation"], line["alg"]) == (name, None)
        assert line["outcome"] == (outcome if answer.status != 429 else "too-many-attempts")
        assert line["who"] == ("" if who == "nobody" else who)
        assert line["kid"] == kid_in(path)
        assert line["profile"] == ("alice" if path.startswith("/profile/") else "bob")
        seen.add(name)
    assert seen == GUARDED.keys() - with_scope


@pytest.mark.parametrize(
    ("call", "recorded"),
    [
        (("GET", "/key/nope"), ("getKey", "key-not-found", "nope")),
        (("DELETE", "/key/nope"), ("deleteKey", "key-not-found", "nope")),
        (("DELETE", "/key/no!pe"), ("deleteKey", "validation-failed", None)),
        (("DELETE", "/key?alias=nope"), ("deleteKeyByAlias", "alias-not-found", None)),
        (("POST", "/sign", b"{"), ("sign", "malformed-json", None)),
        (("POST", "/sign", b'{"alias":"k","data":"AA"}'), ("sign", "alias-not-found", None)),
        (("POST", "/sign", b" " * 1_048_577), ("sign", "body-too-large", None)),
        (
            ("POST", "/key/generate", b'{"alg":"rot13"}'),
            ("generateKey", "unsupported-algorithm", None),
        ),
        (("DELETE", "/profile/default"), ("deleteProfile", "profile-protected", None)),
        (("DELETE", "/tokens/0123456789abcdef"), ("revokeToken", "token-not-found", None)),
    ],
)
async def test_the_line_of_a_refused_call_has_its_slug(client, lines, call, recorded):
    method, path, *body = call
    headers = {"Content-Type": "application/json"}
    data = BytesIO(body[0]) if body else None
    async with client.request(method, path, data=data, headers=headers) as answer:
        slug = await slug_of(answer)
    (line,) = lines()
    assert (line["operation"], line["outcome"], line["kid"]) == recorded
    assert slug == recorded[1]
    if path.startswith("/tokens/"):
        assert line["token"] == "0123456789abcdef"


@pytest.mark.parametrize(
    ("alg", "name", "where", "body"),
    [
        ("rsa2048", "decrypt", "/decrypt", {"ciphertext": "AAAA"}),
        ("a192gcm", "decrypt", "/decrypt", {"ciphertext": "", "nonce": "", "tag": ""}),
        ("mlkem768", "decapsulate", "/decapsulate", {"ciphertext": "AAAA"}),
        ("mlkem1024", "openHpke", "/hpke/open", {"enc": "AAAA", "ciphertext": "AAAA"}),
        ("p384", "openHpke", "/hpke/open", {"enc": "AAAA", "ciphertext": "AAAA"}),
    ],
)
async def test_the_line_of_a_failed_decryption_names_its_key(
    client, post, lines, alg, name, where, body
):
    kid = (await post("/key/generate", {"alg": alg, "alias": "k"}))["kid"]
    lines()
    for by in ({"kid": kid}, {"alias": "k"}):
        async with client.post(where, json=by | body) as answer:
            assert answer.status == 422
        (line,) = lines()
        assert (line["operation"], line["outcome"]) == (name, "decryption-failed")
        assert (line["kid"], line["alg"]) == (kid, alg)


@pytest.mark.parametrize(
    ("target", "head", "recorded"),
    [
        ("/sign", "Expect: 100-continue\r\nContent-Length: 1048577", ("sign", "body-too-large")),
        ("/sign", "Expect: tea\r\nContent-Length: 2", ("sign", "bad-request")),
        ("/key/nope/rotate", "Expect: tea\r\nContent-Length: 2", ("rotateKey", "bad-request")),
    ],
)
async def test_a_call_refused_before_its_body_leaves_a_line(
    client, connect, lines, target, head, recorded
):
    token = client.session.headers["Authorization"]
    assert (await client.get("/keys")).status == 200
    lines()
    for sent in (f"Authorization: {token}\r\n", ""):
        connection = await connect()
        request = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nX-Profile: bob\r\n{sent}{head}"
        connection.writer.write(f"{request}\r\n\r\n".encode())
        assert (await connection.receive()).problem()[1] == recorded[1]
        (line,) = lines()
        assert (line["operation"], line["outcome"], line["profile"]) == (*recorded, "bob")
        assert line["kid"] == ("nope" if "nope" in target else None)
        assert line["address"] == "127.0.0.1"
        # The store is not asked for the caller; a cached token names them.
        assert line["who"] == ("operator" if sent else "")


@pytest.mark.parametrize("call", [("GET", "/keys"), ("POST", "/sign")])
async def test_a_call_over_the_limit_in_flight_leaves_a_line(start, admin, path, lines, call):
    async def wait(_):
        await go_on.wait()
        return web.Response()

    config = Config(auth="token", admin_token_file=admin[1], audit_log=str(path), max_in_flight=1)
    app, go_on = create_service(config), asyncio.Event()
    app.router.add_route("GET", "/wait", app[GATE].counted(wait))
    client = await start(app)
    headers = {"Authorization": f"Bearer {admin[0]}"}
    assert (await client.get("/keys", headers=headers)).status == 200
    lines()
    under_way = asyncio.create_task(client.get("/wait"))
    while not app[IN_FLIGHT].number:
        await asyncio.sleep(0.01)
    method, where = call
    body = {"alias": "a", "data": ""}
    async with client.request(method, where, json=body, headers=headers) as answer:
        assert answer.status == 503
    (line,) = lines()
    assert (line["operation"], line["outcome"]) == (
        {"/keys": "listKeys", "/sign": "sign"}[where],
        "too-busy",
    )
    assert line["who"] == "admin"
    go_on.set()
    await under_way


async def test_requests_that_are_no_calls_leave_no_line(client, connect, lines):
    lines()
    for text in ("PUT /keys HTTP/1.1\r\nHost: localhost", "GET /keys HTTP/1.1\r\nno header", "?"):
        connection = await connect()
        connection.writer.write(f"{text}\r\n\r\n".encode())
        assert (await connection.receive()).status in (400, 405)
    assert lines() == []


async def test_open_routes_leave_no_line(client, lines):
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs/", "/nothing"):
        await client.get(path)
    assert lines() == []


async def test_a_listing_is_recorded_once(client, lines):
    headers = {"Accept": "application/x-ndjson"}
    await client.post("/key/generate", json={"alg": "ed25519"})
    async with client.get("/keys", headers=headers) as answer:
        assert (await answer.read()).count(b"\n") == 1
    assert [line["operation"] for line in lines()] == ["generateKey", "listKeys"]


async def made(client, alg, **policy):
    async with client.post("/key/generate", json={"alg": alg, **policy}) as answer:
        return (await answer.json())["kid"]


async def test_an_import_names_the_key_that_unwrapped_it(client, lines):
    kek = await made(client, "a256kw")
    wrap = {"kid": kek, "key": "AAECAwQFBgcICQoLDA0ODw"}
    wrapped = (await (await client.post("/wrap", json=wrap)).json())["wrapped"]
    lines()
    body = {"alg": "a128gcm", "wrapped": wrapped, "unwrap_kid": kek}
    answer = await client.post("/key/import", json=body)
    kid = (await answer.json())["kid"]
    seen = [(line["kid"], line["alg"], line["outcome"]) for line in lines()]
    assert seen == [(kid, "a128gcm", "success"), (kek, "a256kw", "success")]
    # A key that was used without success is named as well.
    answer = await client.post("/key/import", json={**body, "alg": "a256gcm"})
    seen = [(line["kid"], line["alg"], line["outcome"]) for line in lines()]
    assert (answer.status, seen) == (422, [(kek, "a256kw", "invalid-key")])


@pytest.mark.parametrize("size", [2, 400_000], ids=["fast", "in a thread"])
async def test_a_jwe_names_all_keys_of_the_store_that_it_is_for(client, lines, size):
    kids = [await made(client, "x25519") for _ in range(2)]
    kids.append(await made(client, "x25519", alias="sender"))
    jwk = {"kty": "OKP", "crv": "X25519", "x": b64url(bytes([9, *bytes(31)]))}
    keys = [{"kid": kids[0]}, {"jwk": jwk}, {"kid": kids[1]}, {"kid": kids[0]}]
    body = {
        "recipients": [{**key, "alg": "ECDH-1PU+A256KW"} for key in keys],
        "plaintext": b64url(bytes(size)),
        "from": "sender",
        "enc": "A256CBC-HS512",
    }
    for _ in range(2):  # the second with keys in memory
        lines()
        answer = await client.post("/jwe/encrypt", json=body)
        assert answer.status == 200, await answer.text()
        found = lines()
        assert [line["kid"] for line in found] == [kids[2], kids[0], kids[1]]
        assert {(line["alg"], line["operation"]) for line in found} == {("x25519", "encryptJwe")}
        assert len({line["request_id"] for line in found}) == 1


async def test_an_attestation_names_the_key_that_signs_and_the_attested_keys(client, lines):
    kids = [await made(client, "p256") for _ in range(2)]
    signer = await made(client, "ed25519", alias="signer")
    lines()
    body = {"alias": "signer", "keys": kids}
    answer = await client.post("/key-attestation", json=body)
    assert answer.status == 200, await answer.text()
    found = lines()
    assert [line["kid"] for line in found] == [signer, *kids]
    assert [line["alg"] for line in found] == ["ed25519", "p256", "p256"]
    assert {(line["operation"], line["outcome"]) for line in found} == {("attestKeys", "success")}
    answer = await client.post("/key-attestation", json={**body, "keys": ["unknown"]})
    assert answer.status == 422
    assert [(line["kid"], line["outcome"]) for line in lines()] == [(signer, "not-attestable")]


# Calls whose line cannot be written


async def state(client):
    """Everything that calls could have changed."""
    service = client.app[SERVICE]
    tokens, _ = await client.app[TOKENS].page(None, 1000)
    found = {"tokens": [record.id for record in tokens]}
    for profile in await service.profiles.names():
        keys, _ = await service.descriptions.list_keys(profile, limit=1000)
        found[profile] = keys, await service.publications.publishes(profile)
    return found


async def reopened(client, path):
    """Let the log be written again."""
    client.app[AUDIT].reopen()
    async with asyncio.timeout(60):
        while not path.exists():
            await asyncio.sleep(0.01)


@pytest.mark.each_store
async def test_without_a_writable_log_no_call_changes_anything(client, path, lines):
    """Each call that would succeed is refused, and has changed nothing."""
    database = client.app[SERVICE].operations.store.database
    token_id, before = "", None
    for number, example in enumerate(await calls(client)):
        call = await with_approval(client, example)
        before = await state(client)
        profiles = await database.directory.askar_profiles()
        os.rename(path, away := path.with_name(f"audit.log.{number}"))
        size = away.stat().st_size
        async with client.request(
            call[1],
            f"/tokens/{token_id}" if call[0] == "revokeToken" else call[2],
            params=call[3],
            json=call[4],
        ) as answer:
            problem = await refused(answer, 503, "audit-unavailable")
            assert answer.headers["Retry-After"] == "1", call[0]
        assert str(path) not in str(problem)
        assert (away.stat().st_size, path.exists()) == (size, False)
        assert await state(client) == before, call[0]
        assert await database.directory.askar_profiles() == profiles
        os.rename(away, path)
        status, _, answer = await answered(client, call, token_id)
        assert status == 200, (call[0], answer)
        if call[0] == "createToken":
            token_id = answer["record"]["id"]


async def test_a_listing_that_cannot_be_recorded_is_refused_whole(client, path):
    os.rename(path, path.with_name("away"))
    async with client.get("/keys", headers={"Accept": "application/x-ndjson"}) as answer:
        await refused(answer, 503, "audit-unavailable")


async def test_a_failure_to_write_is_logged_once_and_so_is_its_end(client, path, caplog):
    os.rename(path, path.with_name("away"))
    for _ in range(3):
        async with client.get("/keys") as answer:
            assert answer.status == 503
    await reopened(client, path)
    async with client.get("/keys") as answer:
        assert answer.status == 200
    messages = [record.getMessage() for record in caplog.records if record.name == "minikms.audit"]
    assert sum("cannot be written" in line for line in messages) == 1
    assert sum("is written again" in line for line in messages) == 1


async def test_without_a_writable_log_open_routes_answer(client, path):
    os.rename(path, path.with_name("away"))
    for name in ("/healthz", "/readyz", "/openapi.json"):
        async with client.get(name) as answer:
            assert answer.status == 200


@pytest.mark.each_store
async def test_a_line_is_there_before_its_change_is(post, path, monkeypatch):
    """The line is written before `commit` is called."""
    commit, recorded = Transaction.commit, []

    async def watched(transaction):
        if transaction.events:  # the head of the log is written without events
            recorded.append(json.loads(path.read_bytes().splitlines()[-1]))
        return await commit(transaction)

    monkeypatch.setattr(Transaction, "commit", watched)
    kid = (await post("/key/generate", {"alg": "ed25519"}))["kid"]
    assert [(line["operation"], line["kid"]) for line in recorded] == [("generateKey", kid)]


# The content of a line


def forms(secret):
    """The forms in which bytes go into text, without what padding would hide."""
    texts = secret.hex(), b64encode(secret).decode(), urlsafe_b64encode(secret).decode()
    return {text.rstrip("=") for text in texts}


async def test_nothing_that_callers_keep_is_in_it(client, path):
    """A line has no content of requests or answers except its own fields."""
    markers = set()

    def planted(name):
        text = f"planted-{name}"
        data = text.encode().ljust(32, b"-")
        markers.update({text, *forms(data)})
        return data

    def encoded(name):
        return urlsafe_b64encode(planted(name)).decode()

    async def call(where, body, method="POST", **headers):
        async with client.request(method, where, json=body, headers=headers) as answer:
            text = await answer.text()
            for value in strings(json.loads(text)) if answer.status == 200 else ():
                if len(value) > 15:
                    markers.add(value.rstrip("="))
            return json.loads(text)

    named, labels = {"alias": "k"}, {"purpose": "planted-label"}
    markers |= {"planted-label", "planted-name", "planted-alias"}
    await call("/key/import", {"alg": "hs256", "secret": encoded("mac"), "alias": "planted-alias"})
    await call(
        "/key/import", {"alg": "ed25519", "seed": encoded("seed"), "exportable": True} | named
    )
    await call("/key/import", {"alg": "a256gcm", "secret": encoded("aes"), "alias": "a"})
    await call("/key/import", {"alg": "a256kw", "secret": encoded("kw"), "alias": "w"})
    await call("/key/import", {"alg": "nothing", "secret": encoded("bad"), "planted-name": 1})
    kid = (await call("/key?alias=k", None, "GET"))["kid"]
    await call(f"/key/{kid}", {"labels": labels}, "PATCH")
    await call(f"/key/{kid}/export", None, "GET")
    data = encoded("data")
    x, kem = [await call("/key/generate", {"alg": alg}) for alg in ("x25519", "mlkem768")]
    sealed = await call("/hpke/seal", {"to": x["jwk"], "plaintext": data})
    secret = await call("/encapsulate", {"to": kem["jwk"]})
    markers -= {*strings([x, kem])}  # a public key, and its kid
    for where, body in (
        ("/sign", named | {"data": data}),
        ("/sign/batch", named | {"items": [{"data": data}]}),
        ("/verify", named | {"data": data, "sig": encoded("signature") * 2}),
        ("/jws/sign", named | {"payload": data}),
        ("/mac", {"alias": "planted-alias", "data": data}),
        ("/encrypt", {"alias": "a", "plaintext": data, "aad": encoded("aad")}),
        ("/wrap", {"alias": "w", "key": encoded("wrapped")}),
        ("/hpke/seal", {"to": x["jwk"], "plaintext": data, "info": encoded("info")}),
        ("/hpke/open", {"kid": x["kid"], **sealed}),
        ("/decapsulate", {"kid": kem["kid"], "ciphertext": secret["ciphertext"]}),
        ("/sign", named | {"data": "planted-data!"}),
        ("/random", {"length": 32}),
    ):
        await call(where, body)
    markers.add("planted-data!")
    made = await call("/tokens", {"name": "other", "scopes": ["sign"]})
    await call("/keys", None, "GET", Authorization="Bearer planted-token")
    await call("/keys?planted-query=1", None, "GET", Cookie="planted-cookie")
    markers |= {"planted-token", "planted-query", "planted-cookie", made["token"]}
    fields = {kid, made["record"]["id"]}
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    fields |= {line["kid"] for line in lines if line.get("kid")}
    fields |= {route.name for route in ROUTES} | {"default", "operator"}
    assert len(lines) > 20
    assert [marker for marker in markers - fields if marker in text] == []


def strings(document):
    if isinstance(document, str):
        yield document
    elif isinstance(document, (dict, list)):
        for child in document.values() if isinstance(document, dict) else document:
            yield from strings(child)


async def test_without_one_nothing_is_written(start, any_store, tmp_path):
    client = await start(create_service(Config(**any_store)))
    assert (await client.post("/random", json={"length": 1})).status == 200
    assert client.app[AUDIT] is None


async def test_a_refusal_by_a_rule_names_it(client, lines):
    key = {"alg": "p256", "rules": {"jws": {"claims": {"iss": ["a"]}}}}
    kid = (await (await client.post("/key/generate", json=key)).json())["kid"]
    lines()
    await refused(await client.post("/sign", json={"kid": kid, "data": ""}), 403, "rule-violated")
    body = {"kid": kid, "payload": b64encode(b'{"iss":"b"}').decode()}
    await refused(await client.post("/jws/sign", json=body), 403, "rule-violated")
    items = {"kid": kid, "items": [{"data": ""}]}
    await refused(await client.post("/sign/batch", json=items), 403, "rule-violated")
    await client.get(f"/key/{kid}")
    found = [(line["outcome"], line.get("rule"), line["kid"]) for line in lines()]
    assert found == [
        ("rule-violated", "raw", kid),
        ("rule-violated", "jws.claims.iss", kid),
        ("rule-violated", "raw", kid),
        ("success", None, kid),
    ]
