"""A call that is answered in its batch has the answer that aiohttp alone would give it."""

import asyncio
import gzip
import hashlib
import hmac
import json
import logging
from itertools import pairwise

import orjson
import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from joserfc import jwe
from joserfc.jwk import OKPKey
from nacl.public import Box, PrivateKey, SealedBox
from operation_calls import COSE, OTHER_BODIES, USES
from waiting import until

from minikms.audit.file import AuditFile
from minikms.config import Config
from minikms.encodings import b64url, b64url_decode, jose_b64url
from minikms.http import request_batches
from minikms.http.connection import Connection
from minikms.http.server import KmsServer
from minikms.http.state import IN_FLIGHT
from minikms.serve.assembly import create_service
from minikms.store.keys.key_store import KeyStore
from minikms.web.openapi import read_examples
from minikms.web.state import SERVICE

JSON = "Content-Type: application/json"
DIGEST = b64url(hashlib.sha256(b"hello").digest())


def secret(alias):
    return hashlib.sha256(alias.encode()).digest()


KEYS = {
    "ed25519": {"alg": "ed25519"},
    "p256": {"alg": "p256"},
    "k256": {"alg": "k256"},
    "mldsa44": {"alg": "mldsa44", "seed": b64url(secret("mldsa44"))},
    "mlkem768": {"alg": "mlkem768", "seed": b64url(2 * secret("mlkem768"))},
    "a256gcm": {"alg": "a256gcm"},
    "a256kw": {"alg": "a256kw"},
    "hs256": {"alg": "hs256"},
    "x25519": {"alg": "x25519"},
    "rotated": {"alg": "ed25519"},
    "disabled": {"alg": "ed25519"},
    "verify-only": {"alg": "ed25519"},
}


def call(alias="ed25519", data="aGVsbG8", **more):
    return orjson.dumps({"alias": alias, "data": data, **more})


def signature(alias):
    return b64url(Ed25519PrivateKey.from_private_bytes(secret(alias)).sign(b"hello"))


def sealed(text, **more):
    nonce = bytes(12)
    whole = AESGCM(secret("a256gcm")).encrypt(nonce, text, b"")
    parts = {"ciphertext": whole[:-16], "nonce": nonce, "tag": whole[-16:]}
    parts = {name: b64url(part) for name, part in parts.items()}
    return orjson.dumps({"alias": "a256gcm", **parts, **more})


def plain(alias="a256gcm", **more):
    return orjson.dumps({"alias": alias, "plaintext": "aGVsbG8", **more})


JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": b64url(
        Ed25519PrivateKey.from_private_bytes(secret("ed25519")).public_key().public_bytes_raw()
    ),
}

SECRET = b64url(bytes(32))
WRAPPED = b64url(aes_key_wrap(secret("a256kw"), bytes(32)))
MAC = b64url(hmac.digest(secret("hs256"), b"hello", "sha256"))
PEER = {"kty": "OKP", "crv": "X25519", "x": b64url(bytes([9, *bytes(31)]))}
BOB = PrivateKey(secret("bob"))
ALICE = PrivateKey(secret("x25519")).public_key
BOX = {
    "from": {**PEER, "x": b64url(bytes(BOB.public_key))},
    "nonce": b64url(bytes(24)),
    "ciphertext": b64url(Box(BOB, ALICE).encrypt(b"hello", bytes(24)).ciphertext),
}
SEALED = b64url(SealedBox(ALICE).encrypt(b"hello"))
KEM = MLKEM768PrivateKey.from_seed_bytes(2 * secret("mlkem768")).public_key()
KEM_JWK = {"kty": "AKP", "alg": "ML-KEM-768", "pub": b64url(KEM.public_bytes_raw())}
ENCAPSULATED = {"ciphertext": b64url(KEM.encapsulate()[1])}
SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
WHOLE = SUITE.encrypt(b"hello", X25519PublicKey.from_public_bytes(bytes(ALICE)))
HPKE = {"enc": b64url(WHOLE[:32]), "ciphertext": b64url(WHOLE[32:])}
X25519 = {
    "kty": "OKP",
    "crv": "X25519",
    "x": jose_b64url(
        X25519PrivateKey.from_private_bytes(secret("x25519")).public_key().public_bytes_raw()
    ),
}
JWE = jwe.encrypt_compact(
    {"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}, b"hello", OKPKey.import_key(X25519)
)


def to_bob(alias, alg="ECDH-ES+A256KW", sender=None, times=1):
    body = {"plaintext": "aGVsbG8", "enc": "A256GCM"}
    body["recipients"] = [{"alias": alias, "alg": alg}] * times
    return orjson.dumps(body | ({"from": sender} if sender else {}))


# The envelope of the examples, and the key that it is for.
EXAMPLES = read_examples()
WALLET = EXAMPLES["importKey"]["requests"]["for DIDComm v1"]
PACKED = EXAMPLES["packDidcomm"]["answer"]["packed"]
PACK = orjson.dumps(EXAMPLES["packDidcomm"]["requests"]["from a key"])
# A request that opens the key, for algorithms that do not sign.
OPENED_BY = {
    "a256gcm": ("/encrypt", {"plaintext": ""}),
    "a256kw": ("/wrap", {"key": SECRET}),
    "hs256": ("/mac", {"data": ""}),
    "mlkem768": ("/decapsulate", ENCAPSULATED),
    "x25519": ("/derive", {"peer": PEER}),
}

CRL = {"number": 1, "days": 1, "revoked": []}
SELF_SIGNED = {"profile": "self-signed", "subject": "CN=a", "days": 1}

# Each call with its body and headers, and whether it is answered in its batch.
CALLS = {
    "Ed25519": (call(), [JSON], True),
    "another JOSE name": (call(alg="Ed25519"), [JSON], True),
    "P-256": (call("p256"), [JSON], True),
    "P-256 as DER": (call("p256", encoding="der"), [JSON], True),
    "a digest": (call("p256", DIGEST, prehashed=True), [JSON], True),
    "secp256k1": (call("k256"), [JSON], True),
    "no Content-Type": (call(), [], True),
    "a profile": (call(), [JSON, "X-Profile: default"], True),
    "an id": (call(), [JSON, "X-Request-Id: mine"], True),
    "a slow algorithm": (call("mldsa44"), [JSON], True),
    "an alias of nothing": (call("nothing"), [JSON], False),
    "a kid of nothing": (orjson.dumps({"kid": "x" * 43, "data": ""}), [JSON], False),
    "a key that encrypts": (call("a256gcm"), [JSON], False),
    "a disabled key": (call("disabled"), [JSON], False),
    "a key that only verifies": (call("verify-only"), [JSON], False),
    "an alg of another key": (call(alg="ES256"), [JSON], False),
    "no digest": (call("p256", prehashed=True), [JSON], False),
    "no such profile": (call(), [JSON, "X-Profile: nobody"], False),
    "two profiles": (call(), [JSON, "X-Profile: default", "X-Profile: b"], False),
    "no JSON": (b"{", [JSON], False),
    "no object": (b"[]", [JSON], False),
    "no base64url": (call(data="*"), [JSON], False),
    "too much": (call(data="A" * 2_000_000), [JSON], False),
    "text": (call(), ["Content-Type: text/plain"], False),
    "a web page": (call(), ["Origin: https://example.com"], False),
    "gzip": (gzip.compress(call()), [JSON, "Content-Encoding: gzip"], True),
    "no gzip": (call(), [JSON, "Content-Encoding: gzip"], False),
    "an encoding that nobody knows": (call(), [JSON, "Content-Encoding: br"], False),
    "a last call": (call(), [JSON, "Connection: close"], True),
    "a call that waits": (call(), [JSON, "Expect: 100-continue"], False),
    "another way to write it": (call(), [JSON], True),
    "a good signature": (call(sig=signature("ed25519")), [JSON], True),
    "a wrong signature": (call(sig=signature("disabled")), [JSON], True),
    "no signature": (call(sig="aGVsbG8"), [JSON], True),
    "a good signature of a key that was changed": (
        call("verify-only", sig=signature("verify-only")),
        [JSON],
        True,
    ),
    "a good signature of a disabled key": (
        call("disabled", sig=signature("disabled")),
        [JSON],
        False,
    ),
    "a signature by a key before": (call("rotated", sig=signature("rotated")), [JSON], True),
    "no signature of ML-DSA": (call("mldsa44", sig="aGVsbG8"), [JSON], True),
    "a signature by a JWK": (
        orjson.dumps({"jwk": JWK, "data": "aGVsbG8", "sig": signature("ed25519")}),
        [JSON],
        True,
    ),
    "a plaintext": (plain(), [JSON], True),
    "a plaintext with data beside it": (plain(aad="aGVsbG8"), [JSON], True),
    "a plaintext for a key that signs": (plain("ed25519"), [JSON], False),
    "a ciphertext": (sealed(b"hello"), [JSON], True),
    "an empty ciphertext": (sealed(b""), [JSON], True),
    "a ciphertext of other data": (sealed(b"hello", aad="aGVsbG8"), [JSON], False),
    "/wrap": (orjson.dumps({"alias": "a256kw", "key": SECRET}), [JSON], True),
    "/unwrap": (orjson.dumps({"alias": "a256kw", "wrapped": WRAPPED}), [JSON], True),
    "/derive": (orjson.dumps({"alias": "x25519", "peer": PEER}), [JSON], True),
    "/box": (orjson.dumps({"alias": "x25519", "to": PEER, "plaintext": ""}), [JSON], True),
    "/box/open": (orjson.dumps({"alias": "x25519", **BOX}), [JSON], True),
    "/box/seal": (orjson.dumps({"to": PEER, "plaintext": "aGVsbG8"}), [JSON], True),
    "/box/seal/open": (orjson.dumps({"alias": "x25519", "ciphertext": SEALED}), [JSON], True),
    "/didcomm/pack": (PACK, [JSON], True),
    "/didcomm/unpack": (orjson.dumps({"packed": PACKED}), [JSON], True),
    "/encapsulate": (orjson.dumps({"to": KEM_JWK}), [JSON], True),
    "/decapsulate": (orjson.dumps({"alias": "mlkem768", **ENCAPSULATED}), [JSON], True),
    "/hpke/seal": (orjson.dumps({"to": X25519, "plaintext": "aGVsbG8"}), [JSON], True),
    "/hpke/open": (orjson.dumps({"alias": "x25519", **HPKE}), [JSON], True),
    "/mac": (call("hs256"), [JSON], True),
    "/mac/verify": (call("hs256", mac=MAC), [JSON], True),
    "/jwe/encrypt": (to_bob("x25519"), [JSON], True),
    "/jwe/encrypt from a sender": (to_bob("x25519", alg="ECDH-1PU", sender="x25519"), [JSON], True),
    "/jwe/encrypt to a secret key": (to_bob("a256kw", alg="A256KW"), [JSON], True),
    "/jwe/encrypt to nobody": (to_bob("nobody"), [JSON], False),
    "/jwe/encrypt by nobody": (to_bob("x25519", alg="ECDH-1PU", sender="n"), [JSON], False),
    "/jwe/encrypt to five": (to_bob("x25519", times=5), [JSON], True),
    "/jwe/decrypt": (orjson.dumps({"alias": "x25519", "jwe": JWE}), [JSON], True),
    "/jwe/decrypt of none": (orjson.dumps({"alias": "x25519", "jwe": ""}), [JSON], False),
    "/jwe/decrypt of five": (
        orjson.dumps({"alias": "x25519", "jwe": {"recipients": [{}] * 5}}),
        [JSON],
        False,
    ),
    "/jws/sign": (orjson.dumps({"alias": "ed25519", "payload": "aGVsbG8"}), [JSON], True),
    "/csr": (orjson.dumps({"alias": "ed25519", "subject": "CN=a"}), [JSON], True),
    "/certificate": (orjson.dumps({"alias": "ed25519", **SELF_SIGNED}), [JSON], True),
    "/crl": (orjson.dumps({"alias": "ed25519", **CRL}), [JSON], False),  # it has no certificate
    "/jws/verify": (orjson.dumps({"alias": "ed25519", "jws": "a.b.c"}), [JSON], True),
    "/key-attestation": (
        orjson.dumps({"alias": "ed25519", "keys": ["p256"], "allow_imported": True}),
        [JSON],
        True,
    ),
    "/cose/sign": (orjson.dumps({"alias": "ed25519", "payload": "aGVsbG8"}), [JSON], True),
    "/cose/verify": (orjson.dumps({"alias": "ed25519", "cose": COSE}), [JSON], True),
}
TARGETS = {
    **{name: name.partition(" ")[0] for name in CALLS if name.startswith("/")},
    "another way to write it": "/%73ign",
    **{name: "/verify" for name in CALLS if "signature" in name},
    **{name: "/encrypt" for name in CALLS if "plaintext" in name},
    **{name: "/decrypt" for name in CALLS if "ciphertext" in name},
}


def test_the_calls_are_all_operations_but_batches_and_random_bytes():
    operations = {use.path for use in USES} | OTHER_BODIES.keys()
    others = {"/sign/batch", "/verify/batch", "/random"}
    assert {"/sign", *TARGETS.values()} - {"/%73ign"} == operations - others


@pytest.fixture
def handed_over(monkeypatch):
    """The paths of all calls that were not answered in their batch, however long they waited."""
    monkeypatch.setattr(request_batches, "_PATIENCE", 60)
    seen, handle = [], KmsServer._answer

    async def watched(server, request):
        seen.append(request.path)
        return await handle(server, request)

    monkeypatch.setattr(KmsServer, "_answer", watched)
    return seen


@pytest.fixture
def leave_to_aiohttp(monkeypatch):
    """Let aiohttp's tasks start all calls of a batch, and write the heads of their answers."""
    alone, whole_heads = [], Connection.whole_heads.fget

    def leave(batch):
        alone.append(batch)
        monkeypatch.setattr(batch, "add", lambda loop, call: call.connection.leave(call))

    in_batches = property(lambda served: served._batch not in alone and whole_heads(served))
    monkeypatch.setattr(Connection, "whole_heads", in_batches)
    return leave


@pytest.fixture
def begin(start, connect_to, handed_over, leave_to_aiohttp):
    """Start a service with the same keys each time, all of them open; gives a connection to it."""

    async def run(*headers, batches=True, **options):
        app = create_service(Config(cache_size=100, **options))
        client = await start(app)
        if not batches:
            leave_to_aiohttp(client.server.runner.server._setup.batch)
        connection = await connect_to(client)
        connection.app, connection.client = app, client

        async def ok(method, path, body):
            answer = await connection.call(method, path, orjson.dumps(body), JSON, *headers)
            assert answer.status == 200, answer
            return orjson.loads(answer.body)

        for alias, key in KEYS.items():
            given = {} if "seed" in key else {"secret": b64url(secret(alias))}
            given |= {**key, "alias": alias}
            made = await ok("POST", "/key/import", given)
            if alias == "rotated":
                await ok("POST", f"/key/{made['kid']}/rotate", {})
            path, body = OPENED_BY.get(alias, ("/sign", {"data": ""}))
            await ok("POST", path, {"alias": alias, **body})
            if alias in ("disabled", "verify-only"):
                await ok("PATCH", f"/key/{made['kid']}", {"state": alias})
        await ok("POST", "/key/import", WALLET)
        await ok("POST", "/didcomm/unpack", {"packed": PACKED})
        await ok("POST", "/didcomm/pack", orjson.loads(PACK))
        for alias, (path, body) in OPENED_BY.items():  # a change may have had others read again
            await ok("POST", path, {"alias": alias, **body})
        await rest(connection)
        handed_over.clear()
        return connection

    return run


def sent(body, *headers):
    """A call as it comes over a connection."""
    lines = [
        "POST /sign HTTP/1.1",
        "Host: localhost",
        *headers,
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


async def rest(connection):
    """Wait until a connection of this very process waits for its next request."""
    for _ in range(4):  # if the machine stands still in one of them, the loop goes on in the next
        await asyncio.sleep(0.005)


def comparable(answer):
    headers = {name: v for name, v in answer.headers.items() if name not in ("Date",)}
    if headers.get("X-Request-Id") != "mine":
        assert headers.pop("X-Request-Id")
    body = orjson.loads(answer.body)
    if "alg" in body and body["alg"].startswith("ML-DSA"):
        del body["sig"], headers["Content-Length"]  # which is random
    if "certificate" in body:  # with a random serial number
        del body["certificate"], headers["Content-Length"]
    if "jwt" in body:  # without the times and the signature over them
        head, claims, _ = body["jwt"].split(".")
        claims = orjson.loads(b64url_decode(claims))
        body["jwt"] = head, {name: claims[name] for name in claims if name not in ("iat", "exp")}
    if "packed" in body:  # all its members are random
        body = {name: len(value) for name, value in body["packed"].items()}
    elif "ciphertext" in body or "jwe" in body:  # random as well
        body = {name: len(value) for name, value in body.items()}
    return answer.status, headers, body


async def test_calls_in_batches_have_the_same_answers_as_others(begin, connect_to, handed_over):
    services = await begin(), await begin(batches=False)
    unlike, at_once = [], {}
    for name, (body, headers, _) in CALLS.items():
        connections = [await connect_to(service.client) for service in services]
        await rest(connections)
        answers = []
        for connection in connections:
            handed_over.clear()
            connection.send("POST", TARGETS.get(name, "/sign"), body, *headers)
            if "Expect: 100-continue" in headers:
                assert (await connection.receive()).status == 100
            answers.append(comparable(await connection.receive()))
            at_once.setdefault(name, []).append(handed_over == [])
            connection.writer.close()
        if answers[0] != answers[1]:
            unlike.append((name, answers))
    assert unlike == []
    assert at_once == {name: [at_once, False] for name, (_, _, at_once) in CALLS.items()}


@pytest.mark.parametrize("waits", [False, True])
async def test_a_batch_ends_a_connection_after_its_last_call(begin, handed_over, waits):
    connection = await begin()
    if waits:
        connection.app[SERVICE].operations.cache._entries.clear()
    await rest(connection)
    handed_over.clear()
    answer = await connection.call("POST", "/sign", call(), JSON, "Connection: close")
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert await connection.at_end()
    assert handed_over == []


async def test_reading_a_cached_key_is_answered_in_its_batch(begin, handed_over):
    connection = await begin()
    kid = orjson.loads((await connection.call("GET", "/key?alias=p256")).body)["kid"]
    await connection.call("GET", f"/key/{kid}")
    await rest(connection)
    handed_over.clear()
    for target in ("/key?alias=p256", f"/key/{kid}", "/healthz", "/algorithms"):
        answer = await connection.call("GET", target)
        assert (answer.status, handed_over) == (200, []), target
        await rest(connection)
    assert (await connection.call("GET", "/key?alias=nothing")).problem() == (
        404,
        "alias-not-found",
    )
    assert handed_over == ["/key"]


async def test_a_token_is_checked_as_for_other_calls(begin, admin, handed_over):
    token, file = admin
    bearer = f"Authorization: Bearer {token}"
    options = {"auth": "token", "admin_token_file": file}
    one, other = await begin(bearer, **options), await begin(bearer, batches=False, **options)
    scopes = orjson.dumps({"name": "reader", "scopes": ["verify"]})
    for connection in (one, other):
        made = await connection.call("POST", "/tokens", scopes, JSON, bearer)
        reader = f"Authorization: Bearer {orjson.loads(made.body)['token']}"
        assert (await connection.call("GET", "/keys", b"", reader)).status == 403
        connection.reader = reader
        await rest(connection)
    cases = [
        ([bearer], True, 200),
        ([JSON], False, 401),
        ([bearer.replace("mkms_", "mkms_0")], False, 401),
        ([bearer, bearer], False, 401),
        (["Authorization: Basic eDp5"], False, 401),
        (None, False, 403),
    ]
    for headers, at_once, status in cases:
        handed_over.clear()
        answer = await one.call("POST", "/sign", call(), *(headers or [one.reader]))
        assert (handed_over == []) == at_once
        expected = await other.call("POST", "/sign", call(), *(headers or [other.reader]))
        assert answer.status == status
        assert comparable(answer) == comparable(expected)
        await rest(one)


async def test_a_call_in_a_batch_is_recorded_as_others(
    begin, admin, handed_over, tmp_path, caplog, free_port, monkeypatch
):
    """The audit log, the access log and the metrics, as of calls that wait."""
    token, file = admin
    bearer = f"Authorization: Bearer {token}"
    log = tmp_path / "audit.log"
    caplog.set_level(logging.INFO, "minikms.access")
    connection = await begin(
        bearer,
        auth="token",
        admin_token_file=file,
        audit_log=str(log),
        trusted_proxy="127.0.0.1",
        metrics_port=int(free_port),
    )
    more = [JSON, bearer, "X-Forwarded-For: 192.0.2.1"]
    opened = connection.app[SERVICE].operations.cache
    for is_cached, patience in ((True, 60), (False, 60), (False, 0)):
        monkeypatch.setattr(request_batches, "_PATIENCE", patience)
        if not is_cached:
            opened._entries.clear()
        answer = await connection.call("POST", "/sign", call(), *more)
        assert answer.status == 200
        await rest(connection)
    assert handed_over == ["/sign"]
    before, *three = (json.loads(line) for line in log.read_bytes().splitlines()[-4:])
    assert before["operation"] == "derive"
    for line in three:
        for name in ("n", "time", "prev", "mac", "request_id"):
            assert line.pop(name)
    direct = three[0]
    assert three == [direct] * 3
    facts = {name: direct[name] for name in ("operation", "outcome", "who", "address", "profile")}
    assert facts == {
        "operation": "sign",
        "outcome": "success",
        "who": "admin",
        "address": "192.0.2.1",
        "profile": "default",
    }
    lines = [record.__dict__ for record in caplog.records if record.name == "minikms.access"][-3:]
    for name in ("method", "status", "bytes", "route", "who"):
        assert lines[0][name] == lines[1][name] == lines[2][name]
    assert lines[0]["path"] == "/sign"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(free_port))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    signed = len(KEYS) - len(OPENED_BY) + 3
    assert f'minikms_requests_total{{route="sign",status="200"}} {signed}.0' in text
    ed25519 = 'alg="ed25519",operation="sign",outcome="success"'
    assert f"minikms_operations_total{{{ed25519}}} 7.0" in text


@pytest.fixture
def held(begin, monkeypatch):
    """Begin a call that waits in its batch; gives its connection, and an event that lets it end."""

    async def run():
        connection = await begin()
        connection.app[SERVICE].operations.cache._entries.clear()
        begun, go_on, open_key = asyncio.Event(), asyncio.Event(), KeyStore.open_key

        async def waits(*args):
            begun.set()
            await go_on.wait()
            return await open_key(*args)

        monkeypatch.setattr(KeyStore, "open_key", waits)
        connection.send("POST", "/sign", call(), JSON)
        await begun.wait()
        return connection, go_on

    return run


async def test_a_call_that_waits_is_answered_in_its_batch(held, handed_over):
    connection, go_on = await held()
    connection.send("POST", "/random", b'{"length": 1}', JSON)  # which waits for the first answer
    await rest(connection)
    go_on.set()
    assert "sig" in orjson.loads((await connection.receive()).body)
    assert "bytes" in orjson.loads((await connection.receive()).body)
    assert "/sign" not in handed_over


async def test_a_call_that_waits_for_long_is_handed_over(held, handed_over, monkeypatch):
    monkeypatch.setattr(request_batches, "_PATIENCE", 0.001)
    connection, go_on = await held()
    await until("it is handed over", lambda: handed_over == ["/sign"])
    go_on.set()
    assert (await connection.receive()).status == 200


async def test_a_call_that_waits_while_the_service_ends(held, handed_over):
    connection, go_on = await held()
    ending = asyncio.create_task(connection.client.server.runner.cleanup())
    await until("it is handed over", lambda: handed_over == ["/sign"])
    go_on.set()
    assert (await connection.receive()).status == 200
    await ending


async def test_a_call_that_waits_while_its_caller_half_closes(held):
    connection, go_on = await held()
    connection.writer.write_eof()
    await rest(connection)
    go_on.set()
    answer = await connection.receive()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")


async def test_a_call_that_waits_while_its_caller_leaves(held, caplog):
    connection, go_on = await held()
    connection.writer.transport.abort()
    await rest(connection)
    go_on.set()
    in_flight = connection.app[IN_FLIGHT]
    await until("the call has ended", lambda: in_flight.number == 0)
    assert caplog.text == ""


async def test_an_audit_log_that_takes_no_line(begin, admin, handed_over, tmp_path):
    log = tmp_path / "audit.log"
    connection = await begin(audit_log=str(log))
    log.rename(tmp_path / "elsewhere")
    answer = await connection.call("POST", "/sign", call(), JSON)
    assert answer.problem() == (503, "audit-unavailable")
    assert handed_over == ["/sign"]


@pytest.fixture
def written(monkeypatch):
    """The pieces written to the audit log."""
    pieces, append = [], AuditFile.append

    def watched(file, lines):
        append(file, lines)
        pieces.append(lines)

    monkeypatch.setattr(AuditFile, "append", watched)
    return pieces


async def test_calls_at_once_are_told_of_in_one_piece(
    begin, handed_over, written, connect_to, tmp_path
):
    log = tmp_path / "audit.log"
    one = await begin(audit_log=str(log))
    connections = [one, *[await connect_to(one.client) for _ in range(7)]]

    async def call_at_once():
        await rest(one)
        handed_over.clear()
        written.clear()
        for connection in connections:
            connection.send("POST", "/sign", call(), JSON)
        return [await connection.receive() for connection in connections]

    def told():
        return sorted(json.loads(line)["request_id"] for line in written[0].splitlines())

    answers = await call_at_once()
    assert (handed_over, len(written)) == ([], 1)
    assert told() == sorted(answer.headers["X-Request-Id"] for answer in answers)
    log.rename(moved := tmp_path / "elsewhere")
    answers = await call_at_once()
    assert {answer.problem() for answer in answers} == {(503, "audit-unavailable")}
    assert (handed_over, written) == (["/sign"] * 8, [])
    moved.rename(log)
    assert {answer.status for answer in await call_at_once()} == {200}
    assert (handed_over, len(written)) == ([], 1)
    lines = log.read_bytes().splitlines()
    for before, line in pairwise(lines):  # failed writes did not break the chain
        assert json.loads(line)["prev"] == hashlib.sha256(before).hexdigest()


async def test_calls_that_come_before_an_answer_has_left_are_answered(
    begin, handed_over, written, tmp_path
):
    connection = await begin(audit_log=str(tmp_path / "audit.log"))
    [served] = connection.client.server.runner.server.connections
    written.clear()
    for _ in range(2):
        served.data_received(sent(call()))
    assert written == []
    for _ in range(2):
        assert (await connection.receive()).status == 200
    assert (handed_over, len(written)) == (["/sign"], 2)


@pytest.mark.parametrize("earlier", [True, False])
async def test_a_call_whose_caller_is_gone_is_recorded(
    begin, handed_over, written, connect_to, tmp_path, caplog, earlier
):
    connection = await begin(audit_log=str(tmp_path / "audit.log"))
    [served] = connection.client.server.runner.server.connections
    other = await connect_to(connection.client)
    written.clear()
    if earlier:  # the connection ends in the same turn
        served.transport.abort()
    served.data_received(sent(call()))
    if not earlier:
        served.transport.abort()
    assert await connection.at_end()
    # A call without a waiting caller is skipped; if it was already performed, it is audited.
    told = [] if earlier else ["success"]
    assert [json.loads(line)["outcome"] for line in written] == told
    assert (await other.call("POST", "/sign", call(), JSON)).status == 200
    assert (handed_over, caplog.text) == ([], "")


@pytest.mark.parametrize("ending", ["close", "_end_rest"])
async def test_a_connection_that_is_to_end_before_its_answer(begin, handed_over, ending):
    """The answers of a stopping service, and after too long a rest."""
    connection = await begin()
    [served] = connection.client.server.runner.server.connections
    served._rests_since = -1e9
    served.data_received(sent(call()))
    getattr(served, ending)()
    assert (await connection.receive()).status == 200
    if ending == "close":
        assert await connection.at_end()
    else:
        assert (await connection.call("POST", "/sign", call(), JSON)).status == 200


async def test_a_connection_rests_since_its_last_answer_by_aiohttp(begin, handed_over):
    connection = await begin()
    [served] = connection.client.server.runner.server.connections
    served._rests_since = -1e9
    answer = await connection.call("POST", "/sign", call("missing"), JSON)
    assert (answer.status, handed_over) == (404, ["/sign"])
    await rest(connection)
    served._end_rest()  # as its timer does
    assert (await connection.call("POST", "/sign", call(), JSON)).status == 200


async def test_a_call_over_the_limit_in_flight_is_refused(begin, handed_over):
    connection = await begin(max_in_flight=3)
    connection.app[IN_FLIGHT].number = 3
    answer = await connection.call("POST", "/sign", call(), JSON)
    assert answer.problem() == (503, "too-busy")
    connection.app[IN_FLIGHT].number = 0
    assert (await connection.call("POST", "/sign", call(), JSON)).status == 200


async def test_a_failure_inside_a_batch_is_the_usual_problem(
    begin, handed_over, monkeypatch, caplog
):
    connection = await begin()

    def fail(*args):
        raise RuntimeError("a plugin's")

    opened = connection.app[SERVICE].operations.cache._entries
    kinds = {type(entry.value.key) for entry in opened.values() if entry.value.key is not None}
    for kind in kinds:
        if kind.__module__.startswith("minikms"):
            monkeypatch.setattr(kind, "sign", fail, raising=False)
    answer = await connection.call("POST", "/sign", call(), JSON)
    assert answer.problem() == (500, "internal-error")
    assert "a plugin's" in caplog.text
    monkeypatch.undo()
    assert (await connection.call("POST", "/sign", call(), JSON)).status == 200


async def test_calls_in_one_piece_and_in_pieces(begin, handed_over):
    connection = await begin()
    messages = [b64url(bytes([number])) for number in range(5)]
    for message in messages:
        connection.send("POST", "/sign", call(data=message), JSON)
    answers = [orjson.loads((await connection.receive()).body) for _ in messages]
    assert handed_over == ["/sign"] * 5  # they came as one piece
    await rest(connection)
    for message, answer in zip(messages, answers, strict=True):
        whole = sent(call(data=message), JSON)
        for piece in (whole[:30], whole[30:-10], whole[-10:]):
            connection.writer.write(piece)
            await rest(connection)
        assert orjson.loads((await connection.receive()).body) == answer
        await rest(connection)


async def test_a_connection_that_rests_is_closed(begin, handed_over, connect_to):
    other = await begin(idle_timeout=2)
    connection = await connect_to(other.client)
    await rest(connection)
    for _ in range(3):
        assert (await connection.call("POST", "/sign", call(), JSON)).status == 200
        await asyncio.sleep(0.8)  # less than it may rest
    assert handed_over == []
    assert await connection.at_end()


async def test_a_caller_that_reads_nothing_is_not_served_on(begin, handed_over):
    """Unread answers would fill the memory."""
    connection = await begin()
    manager = connection.client.server.runner.server
    [served] = manager.connections
    served.pause_writing()  # as its transport does, once it holds 64 KiB
    before = manager.requests_count
    for _ in range(10):
        connection.send("POST", "/sign", call(), JSON)
        await rest(connection)
    # The first waits for the caller, and the others behind it.
    assert handed_over == ["/sign"]
    assert manager.requests_count == before + 1
    served.resume_writing()
    for _ in range(10):
        assert (await connection.receive()).status == 200
