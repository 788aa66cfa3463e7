"""Slow methods of an algorithm run in a thread, by whichever call."""

import threading
from functools import wraps
from importlib.metadata import EntryPoint

import cbor2
import pytest
from base64url import b64, part

from minikms.algorithms.ecdsa import P256
from minikms.algorithms.mlkem import MlKem768
from minikms.algorithms.okp import X25519, Ed25519
from minikms.algorithms.rsa import Rsa2048
from minikms.algorithms.symmetric import A256Gcm, A256Kw, Hs256
from minikms.config import Config
from minikms.credentials.x509.requests import CopyCsr
from minikms.credentials.x509.revocation import MakeCrl
from minikms.encodings import b64url
from minikms.keys.encryption import DecryptImport
from minikms.keys.exporting import Export
from minikms.keys.hmac import ComputeHmac, ExportHmacSecret, VerifyHmac
from minikms.keys.operation import ByRecord, Operation
from minikms.plugin.protocol import CAPABILITIES
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

# The methods of each capability that do its work.
METHODS = {
    capability: {name for name in vars(capability) if name in capability.__abstractmethods__}
    for capability in CAPABILITIES
}
WATCHED = {"generate"}.union(*METHODS.values())

BASES = (Ed25519, P256, Hs256, A256Gcm, A256Kw, X25519, Rsa2048, MlKem768)

# The wings with operations; the tests have operations too.
WINGS = "minikms.keys", "minikms.credentials"

SEEN = []  # each call of such a method: its name, and the thread


def watched(name, base, slow=None, also=()):
    """A plugin whose operations are all slow, or only `slow`; it notes the threads of its calls."""

    def noting(name):
        method = getattr(base, name)

        @wraps(method)
        def note(self, *args):
            SEEN.append((name, threading.get_ident()))
            return method(self, *args)

        return note

    methods = {name: noting(name) for name in WATCHED.union(also) if hasattr(base, name)}
    # These are no operations: some algorithms unpack a stored key in the same function.
    methods["unpack"] = lambda _, stored: base().unpack(stored)
    said = slow or (*base().operations, "generate", "export")
    made = type(name, (base,), {**methods, "slow": frozenset(said)})
    globals()[name] = made  # its entry point finds it here
    return made


ALGORITHMS = [watched(f"Slow{base.__name__}", base) for base in BASES]
SLOW_TO_TAKE = watched("SlowToTake", Ed25519, slow=["import"], also=["load_public"])


@pytest.fixture
def algorithms():
    return ALGORITHMS


@pytest.fixture
async def client(start, algorithms):
    entries = [EntryPoint(one.name, f"{__name__}:{one.__name__}", GROUP) for one in algorithms]
    return await start(create_service(Config(), AlgorithmRegistry(entries)))


@pytest.fixture
async def off_the_loop():
    """Give the methods that were called since, none of them in the event loop's thread."""
    loop = threading.get_ident()  # of this fixture, the test and the service
    SEEN.clear()

    def check():
        names, threads = {name for name, _ in SEEN}, {thread for _, thread in SEEN}
        assert SEEN
        assert loop not in threads, SEEN
        SEEN.clear()
        return names

    return check


@pytest.fixture
def key(generate):
    async def make(alg):
        return {"kid": (await generate(alg, exportable=True))["kid"]}

    return make


DATA = b64url(b"hello")


async def sign(post, key, path="/sign", field="data"):
    by = await key("ed25519")
    return {**by, "data": DATA, **await post(path, {**by, field: DATA})}


async def verify(post, key):
    signed = await sign(post, key)
    body = {name: signed[name] for name in ("kid", "data", "sig")}
    for _ in range(3):  # from the second time on the key is in memory
        assert (await post("/verify", body))["valid"]
    item = {name: body[name] for name in ("data", "sig")}
    await post("/verify/batch", {"kid": body["kid"], "items": [item]})
    jws = await sign(post, key, "/jws/sign", "payload")
    assert (await post("/jws/verify", {"kid": jws["kid"], "jws": jws["jws"]}))["valid"]
    cose = await sign(post, key, "/cose/sign", "payload")
    assert (await post("/cose/verify", {"kid": cose["kid"], "cose": cose["cose"]}))["valid"]


async def sign_all(post, key):
    by = await key("ed25519")
    for _ in range(3):
        await post("/sign", {**by, "data": DATA})
    await post("/sign/batch", {**by, "items": [{"data": DATA}]})
    await post("/jws/sign", {**by, "payload": DATA})
    await post("/csr", {**by, "subject": "CN=a"})
    await post("/certificate", {**by, "profile": "self-signed", "subject": "CN=a", "days": 1})
    await post("/cose/sign", {**by, "payload": DATA})
    await post("/jws/sign", {**by, "signing_input": f"{part({'alg': 'EdDSA'})}.{part(b'hello')}"})
    protected = cbor2.dumps({1: -8})
    structure = cbor2.dumps(["Signature1", protected, b"", b"hello"])
    await post("/cose/sign", {**by, "sig_structure": b64(structure)})
    other = (await post("/key/generate", {"alg": "ed25519"}))["kid"]
    await post("/key-attestation", {**by, "keys": [other]})


async def mac(post, key):
    by = await key("hs256")
    await post("/jws/sign", {**by, "payload": DATA})
    await post("/cose/sign", {**by, "payload": DATA})
    return {**by, "data": DATA, **await post("/mac", {**by, "data": DATA})}


async def verify_mac(post, key):
    body = await mac(post, key)
    assert (await post("/mac/verify", body))["valid"]
    by = {"kid": body["kid"]}
    jws = await post("/jws/sign", {**by, "payload": DATA})
    assert (await post("/jws/verify", {**by, **jws}))["valid"]
    cose = await post("/cose/sign", {**by, "payload": DATA})
    assert (await post("/cose/verify", {**by, **cose}))["valid"]


async def encrypt(post, key):
    made = []
    for alg in ("a256gcm", "rsa2048"):
        by = await key(alg)
        for _ in range(3):
            encrypted = await post("/encrypt", {**by, "plaintext": DATA})
        made.append({**by, **encrypted})
    return made


async def decrypt(post, key):
    for body in await encrypt(post, key):
        for _ in range(3):
            assert b64url(b"hello") == (await post("/decrypt", body))["plaintext"]


SECRET = b64url(bytes(range(32)))


async def wrap(post, key):
    by = await key("a256kw")
    return {**by, **await post("/wrap", {**by, "key": SECRET})}


async def unwrap(post, key):
    body = await wrap(post, key)
    assert (await post("/unwrap", body))["key"] == SECRET
    wrapped = {"wrapped": body["wrapped"], "unwrap_kid": body["kid"]}
    await post("/key/import", {"alg": "hs256", **wrapped})


PEER = P256()


async def derive(post, key):
    peer = PEER.public_jwk(PEER.generate())
    await post("/derive", {**await key("p256"), "peer": peer})


THEIRS = X25519()
WALLET = {"alg": "ed25519", "operations": ["box", "box-open"]}


async def box(post, key):
    by, them = await key("x25519"), THEIRS.generate()
    to = {"to": THEIRS.public_jwk(them), "plaintext": DATA}
    await post("/box/seal", to)
    await post("/box", by | to)
    wallet = await post("/key/generate", WALLET)
    packed = {"to": [wallet["b58"]], "message": DATA}
    for sender in ({}, {"from": wallet["kid"]}):
        made = await post("/didcomm/pack", packed | sender)
    return wallet, made


async def open_box(post, key):
    wallet, packed = await box(post, key)
    assert (await post("/didcomm/unpack", packed))["kid"] == wallet["kid"]
    made = await post("/key/generate", {"alg": "x25519"})
    by, them = {"kid": made["kid"]}, THEIRS.generate()
    peer, sender = THEIRS.load_box_peer(made["jwk"]), THEIRS.public_jwk(them)
    for _ in range(3):
        boxed = THEIRS.box(them, peer, b"hello")
        body = {"from": sender, **{n: b64url(part) for n, part in boxed._asdict().items()}}
        assert (await post("/box/open", by | body))["plaintext"] == DATA
        sealed = {"ciphertext": b64url(THEIRS.seal(peer, b"hello"))}
        assert (await post("/box/seal/open", by | sealed))["plaintext"] == DATA


async def decapsulate(post, key):
    made = await post("/key/generate", {"alg": "mlkem768"})
    for _ in range(3):
        sent = await post("/encapsulate", {"to": made["jwk"]})
        body = {"kid": made["kid"], "ciphertext": sent["ciphertext"]}
        assert (await post("/decapsulate", body))["secret"] == sent["secret"]


async def open_hpke(post, key):
    made = await post("/key/generate", {"alg": "p256"})
    for _ in range(3):
        sent = await post("/hpke/seal", {"to": made["jwk"], "plaintext": DATA})
        assert (await post("/hpke/open", {"kid": made["kid"], **sent}))["plaintext"] == DATA


async def encrypt_jwe(post, key):
    for alg, name, enc in JWES:
        by = await key(alg)
        body = {"plaintext": DATA, "enc": enc, "recipients": [by | {"alg": name}]}
        if name.startswith("ECDH-1PU"):
            body["from"] = by["kid"]
        for _ in range(3):
            jwe = await post("/jwe/encrypt", body)
        yield {**by, **jwe}, name


async def make_jwes(post, key):
    assert [made async for made in encrypt_jwe(post, key)]


async def decrypt_jwe(post, key):
    async for body, name in encrypt_jwe(post, key):
        if name.startswith("ECDH-1PU"):
            continue
        for _ in range(3):
            assert (await post("/jwe/decrypt", body))["plaintext"] == b64url(b"hello")


async def import_jwk(post, key):
    made = Ed25519()
    for jwk in (made.export_jwk(made.generate()), made.public_jwk(made.generate())):
        await post("/key/import", {"jwk": jwk})


async def import_secret(post, key):
    await post("/key/import", {"alg": "ed25519", "secret": SECRET})


async def import_seed(post, key):
    await post("/key/import", {"alg": "ed25519", "seed": SECRET})


JWES = [
    ("p256", "ECDH-ES", "A256GCM"),
    ("p256", "ECDH-1PU+A256KW", "A128CBC-HS256"),
    ("a256kw", "A256KW", "A256GCM"),
    ("a256gcm", "dir", "A256GCM"),
]

# How each operation is asked for, in every way that there is.
CALLS = {
    "sign": sign_all, "verify": verify, "mac": mac, "mac-verify": verify_mac,
    "encrypt": encrypt, "decrypt": decrypt, "wrap": wrap, "unwrap": unwrap, "derive": derive,
    "box": box, "box-open": open_box, "decapsulate": decapsulate,
    "hpke-open": open_hpke,
    "jwe-encrypt": make_jwes, "jwe-decrypt": decrypt_jwe,
    "import-jwk": import_jwk, "import-secret": import_secret, "import-seed": import_seed,
}  # fmt: skip


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: capability.__name__)
async def test_slow_methods_of_each_capability_run_off_the_loop(
    client, post, key, off_the_loop, capability
):
    done = set()
    for operation in capability.grants:
        await CALLS[operation](post, key)
        done |= off_the_loop()
    if "export_jwk" in METHODS[capability]:
        by = await key("ed25519")
        assert (await client.get(f"/key/{by['kid']}/export")).status == 200
        done |= off_the_loop()
    assert done >= METHODS[capability]


def leaves(kind):
    """The subclasses of a class that have none of their own."""
    below = kind.__subclasses__()
    return set().union(*map(leaves, below)) if below else {kind}


async def test_every_operation_on_a_key_is_among_these(client, post, key, monkeypatch):
    called, keys = set(), client.app[SERVICE].operations
    perform = keys.perform

    async def watched(profile, by, operation):
        called.add(type(operation).__name__)
        return await perform(profile, by, operation)

    monkeypatch.setattr(keys, "perform", watched)
    for capability in CAPABILITIES:
        for operation in capability.grants:
            if not operation.startswith("import-"):
                await CALLS[operation](post, key)
    known = {each for each in leaves(Operation) if each.__module__.startswith(WINGS)}
    # The path of an export names its key, and the others are of doors alone.
    known -= {Export, ByRecord, CopyCsr, DecryptImport}
    known -= {ComputeHmac, VerifyHmac, ExportHmacSecret}
    known -= {MakeCrl}  # it always runs in a thread, as it may have many entries
    assert called == {each.__name__ for each in known}


async def test_the_key_that_an_alias_named_before(client, post, off_the_loop, generate):
    for alg, path, check, code in (
        ("ed25519", "/sign", "/verify", "sig"),
        ("hs256", "/mac", "/mac/verify", "mac"),
    ):
        by = {"alias": alg}
        made = await generate(alg, **by)
        old = (await post(path, {**by, "data": DATA}))[code]
        assert (await client.post(f"/key/{made['kid']}/rotate")).status == 200
        for _ in range(2):
            assert (await post(check, {**by, "data": DATA, code: old}))["valid"]
    off_the_loop()


@pytest.mark.parametrize("algorithms", [[SLOW_TO_TAKE]], ids=["import"])
@pytest.mark.parametrize("call", [import_jwk, import_secret, import_seed])
async def test_import_stands_for_every_way_to_import(post, off_the_loop, call):
    await call(post, None)
    assert off_the_loop()
