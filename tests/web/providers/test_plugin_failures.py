"""An exception that no plugin should raise: a problem, a traceback without text, and on it goes."""

import logging
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import orjson
import pytest
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from problems import refused

import minikms
from minikms.algorithms.ecdsa import P256
from minikms.algorithms.okp import Ed25519
from minikms.algorithms.symmetric import A256Gcm
from minikms.config import Config
from minikms.encodings import b64url, jose_b64url
from minikms.http.tracebacks import _CALLING
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.startup_errors import SeedError
from minikms.store.keys.entries import load_record, replace_record
from minikms.web.state import SERVICE

SECRET = "planted-9c41"
DATA = b64url(b"hello")
FAILING = set()  # the methods that fail by now


class OfAStranger(Exception):
    pass


class OfItsConnection(OfAStranger, ConnectionError):
    """An error that would mean a vanished caller, if it came from elsewhere."""


class OfItsOwn(BaseException):
    """An error that no `except Exception` catches."""


RAISED = [OfAStranger]  # the last is the exception


def fail_at(base, name):
    def method(self, *args):
        if name not in FAILING:
            return getattr(base, name)(self, *args)
        try:
            return int(SECRET, 16)
        except ValueError as exc:
            raise RAISED[-1](SECRET, args) from exc

    return method


class Faulty(Ed25519):
    for _name in ("generate", "pack", "unpack", "public_jwk", "public_bytes", "load_public",
                  "owns_jwk", "sign", "verify", "import_jwk", "import_secret", "import_seed",
                  "export_jwk"):  # fmt: skip
        locals()[_name] = fail_at(Ed25519, _name)


class SlowAndFaulty(Faulty):
    slow = frozenset({"generate", "import", "export", "sign", "verify"})


class FaultyAead(A256Gcm):
    encrypt, decrypt = fail_at(A256Gcm, "encrypt"), fail_at(A256Gcm, "decrypt")


@pytest.fixture
def fail():
    yield FAILING.add
    FAILING.clear()


def registry():
    classes = (Faulty, FaultyAead)
    return AlgorithmRegistry(
        [EntryPoint(one.name, f"{__name__}:{one.__name__}", GROUP) for one in classes]
    )


@pytest.fixture
async def client(start):
    return await start(create_service(Config(), registry()))


@pytest.fixture
def logged(caplog):
    """The one traceback since, as the log has it; the secret is nowhere."""

    def check():
        records = [record for record in caplog.records if record.levelname == "ERROR"]
        text = "\n".join(map(logging.Formatter().format, caplog.records))
        assert SECRET not in text
        assert DATA not in text
        assert repr(b"hello") not in text
        [record] = records
        assert record.request_id in text or record.exc_info
        caplog.clear()
        return text

    return check


@pytest.mark.parametrize("raised", [OfAStranger, SystemExit, KeyboardInterrupt, OfItsOwn])
async def test_errors_of_every_method_become_problems(
    client, refuses, post, generate, fail, logged, monkeypatch, raised
):
    monkeypatch.setattr(sys.modules[__name__], "RAISED", [raised])
    key, other = await generate(exportable=True), await generate("a256gcm")
    by, sealing = {"kid": key["kid"]}, {"kid": other["kid"]}
    signed = await post("/sign", {**by, "data": DATA})
    sealed = await post("/encrypt", {**sealing, "plaintext": DATA})
    signature = {"data": DATA, "sig": signed["sig"]}
    secret = b64url(bytes(range(32)))
    private = Ed25519().export_jwk(Ed25519().import_secret(bytes(range(32))))
    calls = {
        "generate": ("/key/generate", {"alg": "ed25519"}),
        "pack": ("/key/generate", {"alg": "ed25519"}),
        "public_jwk": ("/key/generate", {"alg": "ed25519"}),
        "public_bytes": ("/key/generate", {"alg": "ed25519"}),
        "import_secret": ("/key/import", {"alg": "ed25519", "secret": secret}),
        "import_seed": ("/key/import", {"alg": "ed25519", "seed": secret}),
        "import_jwk": ("/key/import", {"jwk": private}),
        "owns_jwk": ("/verify", {"jwk": key["jwk"], **signature}),
        "load_public": ("/verify", {"jwk": key["jwk"], **signature}),
        "sign": ("/sign", {**by, "data": DATA}),
        "verify": ("/verify", {**by, **signature}),
        "encrypt": ("/encrypt", {**sealing, "plaintext": DATA}),
        "decrypt": ("/decrypt", {**sealing, **sealed}),
    }
    batches = {
        "sign": ("/sign/batch", {**by, "items": [{"data": DATA}]}),
        "verify": ("/verify/batch", {**by, "items": [signature]}),
    }
    for name, (path, body) in [*calls.items(), *batches.items()]:
        fail(name)
        await refuses(path, body, 500, "internal-error")
        text = logged()
        assert f"{raised.__name__}: its text is not logged" in text
        assert "direct cause" in text
        assert "ValueError: its text is not logged" in text
        FAILING.clear()
        assert (await client.post(path, json=body)).status in (200, 409)  # imported before
    fail("export_jwk")
    path = f"/key/{key['kid']}/export"
    await refused(await client.get(path), 500, "internal-error")
    assert raised.__name__ in logged()
    FAILING.clear()
    assert (await client.get(path)).status == 200


async def test_a_connection_of_its_own(refuses, generate, fail, logged, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "RAISED", [OfItsConnection])
    by = {"kid": (await generate())["kid"], "data": DATA}
    fail("sign")
    for _ in range(2):
        await refuses("/sign", by, 500, "internal-error")
        assert "OfItsConnection" in logged()


async def test_a_key_that_does_not_open(start, fail, logged, make_store, tmp_path):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    made = await start(create_service(Config(**options, cache_size=0), registry()))
    async with made.post("/key/generate", json={"alg": "ed25519"}) as response:
        by = {"kid": (await response.json())["kid"]}
    fail("unpack")
    await refused(await made.post("/sign", json={**by, "data": DATA}), 500, "internal-error")
    assert "OfAStranger" in logged()
    FAILING.clear()
    assert (await made.post("/sign", json={**by, "data": DATA})).status == 200


@pytest.mark.parametrize(
    "raised", [OfAStranger, StopIteration, SystemExit, KeyboardInterrupt, OfItsOwn]
)
async def test_errors_of_slow_methods_become_problems(start, fail, logged, monkeypatch, raised):
    monkeypatch.setattr(sys.modules[__name__], "RAISED", [raised])
    entry = EntryPoint("ed25519", f"{__name__}:SlowAndFaulty", GROUP)
    client = await start(create_service(Config(), AlgorithmRegistry([entry])))
    for name, path, body in (
        ("generate", "/key/generate", {"alg": "ed25519"}),
        ("sign", "/sign", {"alias": "a", "data": DATA}),
        ("sign", "/sign/batch", {"alias": "a", "items": [{"data": DATA}]}),
    ):
        fail(name)
        await refused(await client.post(path, json=body), 500, "internal-error")
        assert raised.__name__ in logged()
        FAILING.clear()
        alias = {"alias": "a"} if name == "generate" else {}
        assert (await client.post(path, json=body | alias)).status == 200


@pytest.mark.parametrize("raised", [OfAStranger, SystemExit])
async def test_a_file_of_keys(start, fail, tmp_path, monkeypatch, raised):
    monkeypatch.setattr(sys.modules[__name__], "RAISED", [raised])
    file = tmp_path / "keys.json"
    file.write_bytes(orjson.dumps({"keys": [{"alg": "ed25519", "seed": b64url(bytes(32))}]}))
    fail("import_seed")
    with pytest.raises(SeedError) as caught:
        await start(create_service(Config(seed_keys=str(file)), registry()))
    assert str(caught.value) == f"{file}: keys[0]: Its algorithm failed: {raised.__name__}."
    assert caught.value.__suppress_context__


class Leaky(P256):
    """A faulty algorithm: if `FAILING` names `public_jwk`, its public JWKs are private."""

    def public_jwk(self, key):
        jwk = super().public_jwk(key)
        is_private = "public_jwk" in FAILING and isinstance(key, EllipticCurvePrivateKey)
        return {**jwk, "d": jose_b64url(self.secret_bytes(key))} if is_private else jwk


async def test_a_public_jwk_with_a_private_member_is_never_served(start, fail, caplog):
    entry = EntryPoint("p256", f"{__name__}:Leaky", GROUP)
    client = await start(create_service(Config(), AlgorithmRegistry([entry])))
    async with client.post("/key/generate", json={"alg": "p256", "alias": "a"}) as response:
        jwk = (await response.json())["jwk"]
    fail("public_jwk")
    jwe = {
        "plaintext": DATA,
        "enc": "A256GCM",
        "recipients": [{"jwk": jwk, "alg": "ECDH-ES+A256KW"}],
    }
    imported = {"alg": "p256", "secret": b64url(bytes(range(1, 33)))}
    for path, body in (
        ("/key/generate", {"alg": "p256"}),
        ("/key/generate/batch", {"alg": "p256", "count": 2}),
        ("/key/import", imported),
        ("/jwe/encrypt", jwe),  # of which the epk is a public JWK
    ):
        caplog.clear()
        await refused(await client.post(path, json=body), 500, "internal-error")
        assert "PublicJwkIsPrivate" in caplog.text
    assert len(await (await client.get("/keys")).json()) == 1


async def test_a_stored_jwk_with_a_private_member_is_never_served(start, persistent, caplog):
    app = create_service(Config(**persistent))
    async with TestClient(KmsTestServer(app)) as client:
        kids = []
        for alias in "abc":
            async with client.post("/key/generate", json={"alg": "p256", "alias": alias}) as made:
                kids.append((await made.json())["kid"])
        *others, kid = kids

        async def spoil(session):
            record = await load_record(session, kid)
            await replace_record(session, replace(record, jwk={**record.jwk, "d": SECRET}))

        await app[SERVICE].operations.store.database.write(DEFAULT_PROFILE, spoil)
    client = await start(create_service(Config(**persistent)))
    for call in (
        client.get(f"/key/{kid}"),
        client.post("/sign", json={"alias": "c", "data": DATA}),
        client.post(f"/key/{kid}/rotate"),
    ):
        caplog.clear()
        response = await call
        assert SECRET not in await response.text()
        await refused(response, 500, "key-unreadable")
        assert f"the key {kid} is refused: its stored public JWK has a private" in caplog.text
    for path in ("/keys", "/keys?limit=2", "/keys?alg=p256", "/jwks.json"):
        caplog.clear()
        text = await (await client.get(path)).text()
        assert kid not in text
        assert SECRET not in text + caplog.text
        assert all(other in text for other in others)
        assert "a listing leaves out key number 3: its record cannot be read" in caplog.text


def test_no_module_that_uses_keys_lets_messages_of_algorithms_into_the_log():
    """Each of them is among the modules whose exceptions are logged without their text."""
    folder = Path(minikms.__file__).parent
    found = {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if "UsableKey" in path.read_text("utf-8")
    }
    assert "minikms.credentials.jose.jws" in found
    assert {name for name in found if not name.startswith(_CALLING)} == set()
