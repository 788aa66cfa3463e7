"""DIDComm v1 messages (Aries RFC 0019), both ways against the same written with PyNaCl."""

import base64
import json
import os

import base58
import pytest
from base64url import raw
from nacl import bindings as sodium
from nacl.public import Box, PrivateKey, SealedBox
from nacl.signing import SigningKey, VerifyKey
from problems import refused

from minikms.config import Config
from minikms.serve.assembly import create_service

pytestmark = pytest.mark.shared_service

MESSAGES = [b"", b'{"@type": "https://didcomm.org/trust_ping/1.0/ping"}', bytes(range(256)) * 400]
HELLO = "aGVsbG8="
BOXES = ["sign", "verify", "box", "box-open"]


def b64(data, *, padded=False):
    text = base64.urlsafe_b64encode(data).decode()
    return text if padded else text.rstrip("=")


def curve_key(verkey):
    return VerifyKey(base58.b58decode(verkey)).to_curve25519_public_key()


def encrypted_to(verkey, cek, sender=None, sender_text=None):
    """A recipient of an envelope, whose content key is `cek`."""
    if sender is None:
        box, header = SealedBox(curve_key(verkey)).encrypt(cek), {"kid": verkey}
    else:
        text = sender.verkey.encode() if sender_text is None else sender_text
        sealed = SealedBox(curve_key(verkey)).encrypt(text)
        nonce = os.urandom(24)
        box = Box(sender.secret, curve_key(verkey)).encrypt(cek, nonce).ciphertext
        header = {"kid": verkey, "sender": b64(sealed), "iv": b64(nonce)}
    return {"encrypted_key": b64(box), "header": header}


def envelope(header, message, cek, *, padded=False):
    """An envelope with this header, a document or text."""
    if not isinstance(header, str):
        header = b64(json.dumps(header).encode(), padded=padded)
    iv = os.urandom(12)
    sealed = sodium.crypto_aead_chacha20poly1305_ietf_encrypt(message, header.encode(), iv, cek)
    parts = {"iv": iv, "ciphertext": sealed[:-16], "tag": sealed[-16:]}
    written = {name: b64(part, padded=padded) for name, part in parts.items()}
    return {"protected": header, **written}


def header_of(recipients, alg):
    return {"enc": "xchacha20poly1305_ietf", "typ": "JWM/1.0", "alg": alg, "recipients": recipients}


class Agent:
    """A key pair elsewhere, which packs and unpacks."""

    def __init__(self):
        signing = SigningKey.generate()
        self.verkey = base58.b58encode(bytes(signing.verify_key)).decode()
        self.secret = signing.to_curve25519_private_key()

    def pack(self, to, message, *, named=True, padded=False):
        cek = os.urandom(32)
        recipients = [encrypted_to(verkey, cek, self if named else None) for verkey in to]
        header = header_of(recipients, "Authcrypt" if named else "Anoncrypt")
        return envelope(header, message, cek, padded=padded)

    def unpack(self, packed):
        """The message and its sender; checks the form that today's agents read."""
        assert packed.keys() == {"protected", "iv", "ciphertext", "tag"}
        assert not [text for text in packed.values() if "=" in text]
        header = json.loads(raw(packed["protected"]))
        assert list(header) == ["enc", "typ", "alg", "recipients"]
        assert (header["enc"], header["typ"]) == ("xchacha20poly1305_ietf", "JWM/1.0")
        [mine] = [one for one in header["recipients"] if one["header"]["kid"] == self.verkey]
        facts, sender = mine["header"], None
        key = raw(mine["encrypted_key"])
        if header["alg"] == "Authcrypt":
            assert list(facts) == ["kid", "sender", "iv"]
            sender = SealedBox(self.secret).decrypt(raw(facts["sender"])).decode()
            cek = Box(self.secret, curve_key(sender)).decrypt(key, raw(facts["iv"]))
        else:
            assert (header["alg"], list(facts)) == ("Anoncrypt", ["kid"])
            cek = SealedBox(self.secret).decrypt(key)
        sealed, aad = raw(packed["ciphertext"]) + raw(packed["tag"]), packed["protected"].encode()
        decrypt = sodium.crypto_aead_chacha20poly1305_ietf_decrypt
        return decrypt(sealed, aad, raw(packed["iv"]), cek), sender


@pytest.fixture
def agent():
    return Agent()


@pytest.fixture
def wallet(generate):
    """Make a key of the service that does all that a wallet's key does."""

    async def make(**options):
        return await generate("ed25519", operations=BOXES, **options)

    return make


@pytest.fixture
def unpack(post):
    async def call(packed):
        return await post("/didcomm/unpack", {"packed": packed})

    return call


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("message", MESSAGES, ids=len)
async def test_a_message_of_another_agent(unpack, wallet, agent, message, named, padded):
    key = await wallet()
    packed = agent.pack([key["b58"]], message, named=named, padded=padded)
    assert await unpack(packed) == {
        "message": b64(message, padded=True),
        "to": key["b58"],
        "from": agent.verkey if named else None,
        "kid": key["kid"],
    }


async def test_each_message_is_from_the_sender_that_it_names(client, unpack, wallet):
    first, second = Agent(), Agent()
    for key in [await wallet(), await wallet()]:
        for sender in [first, second, first]:
            answer = await unpack(sender.pack([key["b58"]], b"hello"))
            assert (answer["from"], answer["message"]) == (sender.verkey, HELLO)
        cek = os.urandom(32)
        recipient = encrypted_to(key["b58"], cek, second, first.verkey.encode())
        forged = envelope(header_of([recipient], "Authcrypt"), b"hello", cek)
        response = await client.post("/didcomm/unpack", json={"packed": forged})
        await refused(response, 422, "decryption-failed")


@pytest.mark.parametrize("message", MESSAGES, ids=len)
async def test_a_message_to_other_agents(post, wallet, message):
    key, agents = await wallet(alias="did:sov:1#key"), [Agent() for _ in range(3)]
    body = {"to": [one.verkey for one in agents], "message": b64(message)}
    for by in ({"from": key["kid"]}, {"from": "did:sov:1#key"}, {}):
        answer = await post("/didcomm/pack", body | by)
        assert answer.keys() == {"packed"}
        for one in agents:
            expected = (message, key["b58"] if by else None)
            assert one.unpack(answer["packed"]) == expected


def x25519_jwk(verkey):
    return {"kty": "OKP", "crv": "X25519", "x": b64(bytes(curve_key(verkey)))}


async def test_a_wallet_that_makes_the_envelope_itself(post, wallet, agent):
    """Credo does so, and calls the service for each box (docs/wallets.md)."""
    key = await wallet(alias="did:sov:1#key")
    by, cek, verkey = {"alias": "did:sov:1#key"}, os.urandom(32), agent.verkey
    to = {"to": x25519_jwk(verkey)}
    text = b64(key["b58"].encode())
    sealed = (await post("/box/seal", to | {"plaintext": text}))["ciphertext"]
    boxed = await post("/box", by | to | {"plaintext": b64(cek)})
    header = {"kid": verkey, "sender": sealed.rstrip("="), "iv": boxed["nonce"].rstrip("=")}
    recipient = {"encrypted_key": boxed["ciphertext"].rstrip("="), "header": header}
    packed = envelope(header_of([recipient], "Authcrypt"), b"hello", cek)
    assert agent.unpack(packed) == (b"hello", key["b58"])

    packed = agent.pack([key["b58"]], b"back")
    [mine] = json.loads(raw(packed["protected"]))["recipients"]
    opened = await post("/box/seal/open", by | {"ciphertext": mine["header"]["sender"]})
    assert raw(opened["plaintext"]).decode() == verkey
    box = {"ciphertext": mine["encrypted_key"], "nonce": mine["header"]["iv"]}
    opened = await post("/box/open", by | {"from": x25519_jwk(verkey)} | box)
    sealed = raw(packed["ciphertext"]) + raw(packed["tag"])
    decrypt = sodium.crypto_aead_chacha20poly1305_ietf_decrypt
    aad, cek = packed["protected"].encode(), raw(opened["plaintext"])
    assert decrypt(sealed, aad, raw(packed["iv"]), cek) == b"back"


async def test_each_envelope_is_new(post, wallet, agent):
    body = {"to": [agent.verkey], "message": HELLO, "from": (await wallet())["kid"]}
    packed = [(await post("/didcomm/pack", body))["packed"] for _ in range(20)]
    for name in ("protected", "iv", "ciphertext", "tag"):
        assert len({one[name] for one in packed}) == 20


async def test_each_of_many_recipients_opens_a_message(post, unpack, wallet):
    keys = [await wallet() for _ in range(3)]
    to = [Agent().verkey for _ in range(97)] + [key["b58"] for key in keys]
    for by in ({}, {"from": keys[0]["kid"]}):
        answer = await post("/didcomm/pack", {"to": to, "message": HELLO} | by)
        opened = await unpack(answer["packed"])
        assert (opened["message"], opened["kid"]) == (HELLO, keys[0]["kid"])


async def test_a_sender_whose_alias_looks_like_a_kid(post, wallet, agent):
    one, other = await wallet(alias="a-kid"), await wallet()
    body = {"to": [agent.verkey], "message": HELLO}
    packed = (await post("/didcomm/pack", body | {"from": "a-kid"}))["packed"]
    assert agent.unpack(packed) == (b"hello", one["b58"])
    # A kid comes before an alias.
    await post(f"/key/{one['kid']}/associate", {"alias": other["kid"]})
    packed = (await post("/didcomm/pack", body | {"from": other["kid"]}))["packed"]
    assert agent.unpack(packed) == (b"hello", other["b58"])


@pytest.mark.each_store
async def test_the_first_recipient_that_can_opens_it(client, unpack, wallet, generate, agent):
    disabled, signs, third, fourth = [
        await wallet(),
        await generate("ed25519"),
        await wallet(),
        await wallet(),
    ]
    await client.patch(f"/key/{disabled['kid']}", json={"state": "disabled"})
    to = [Agent().verkey, *(key["b58"] for key in (disabled, signs, third, fourth))]
    assert (await unpack(agent.pack(to, b"hello")))["kid"] == third["kid"]


async def test_unusable_recipient_keys_are_refused(client, refuses, wallet, generate, agent):
    """Each has its own problem; a missing key counts only if there is no other."""
    await client.post("/profile", json={"name": "other"})
    disabled, signs = await wallet(), await generate("ed25519")
    elsewhere, theirs = await wallet(profile="other"), Agent()
    await client.patch(f"/key/{disabled['kid']}", json={"state": "disabled"})

    async def check(to, status, slug):
        packed = agent.pack(to, b"hello")
        await refuses("/didcomm/unpack", {"packed": packed}, status, slug)

    await check([theirs.verkey], 404, "key-not-found")
    await check([elsewhere["b58"]], 404, "key-not-found")
    await check([theirs.verkey, disabled["b58"]], 409, "key-not-usable")
    await check([signs["b58"]], 422, "unsupported-operation")
    await check([disabled["b58"], theirs.verkey, signs["b58"]], 409, "key-not-usable")
    deleted = await wallet()
    await client.delete(f"/key/{deleted['kid']}")
    await check([deleted["b58"]], 404, "key-not-found")


async def test_unusable_sender_keys_are_refused(client, refuses, wallet, generate, agent):
    await client.post("/profile", json={"name": "other"})
    elsewhere = await wallet(profile="other", alias="a")
    x25519, signs = await generate("x25519"), await generate("ed25519")
    opens = await generate("ed25519", operations=["box-open"])
    disabled, old = await wallet(), await wallet()
    for key, state in ((disabled, "disabled"), (old, "verify-only")):
        await client.patch(f"/key/{key['kid']}", json={"state": state})
    for sender, status, slug in (
        ("nobody here", 404, "alias-not-found"),
        ("nobody", 404, "alias-not-found"),
        (elsewhere["kid"], 404, "alias-not-found"),
        ("a", 404, "alias-not-found"),
        (disabled["kid"], 409, "key-not-usable"),
        (old["kid"], 409, "key-not-usable"),
        (signs["kid"], 422, "unsupported-operation"),
        (opens["kid"], 422, "unsupported-operation"),
        (x25519["kid"], 422, "unsupported-operation"),
        ("", 422, "validation-failed"),
        (None, 422, "validation-failed"),
    ):
        body = {"to": [agent.verkey], "message": HELLO, "from": sender}
        await refuses("/didcomm/pack", body, status, slug)
    # A key that may no longer sign still opens messages.
    packed = {"packed": agent.pack([old["b58"]], b"hello")}
    assert (await client.post("/didcomm/unpack", json=packed)).status == 200


async def test_recipients_that_cannot_be(refuses, agent):
    low_order = base58.b58encode(bytes([1, *bytes(31)])).decode()
    off_curve = base58.b58encode(bytes([2, *bytes(31)])).decode()
    for to, slug in (
        ([], "validation-failed"),
        ([agent.verkey, agent.verkey], "validation-failed"),
        ([Agent().verkey for _ in range(101)], "validation-failed"),
        ([agent.verkey[:-1] + "0"], "validation-failed"),
        (["1" + agent.verkey], "validation-failed"),
        (["z" * 44], "validation-failed"),
        (["1" * 44], "validation-failed"),
        (["z" * 100_000], "validation-failed"),
        ([7], "validation-failed"),
        (agent.verkey, "validation-failed"),
        ([low_order], "invalid-key"),
        ([off_curve], "invalid-key"),
        ([agent.verkey, low_order], "invalid-key"),
    ):
        await refuses("/didcomm/pack", {"to": to, "message": HELLO}, 422, slug)


def near(text):
    """Changes of bytes: one bit at each end, and other lengths."""
    data = raw(text)
    yield bytes([data[0] ^ 1]) + data[1:]
    yield data[:-1] + bytes([data[-1] ^ 1])
    yield from (b"", data[:-1], data[1:])


async def test_a_mismatch_says_nothing_more(client, wallet, agent):
    key, cek = await wallet(), os.urandom(32)
    verkey, other = key["b58"], Agent()
    good = agent.pack([verkey], b"hello")
    changed = [
        good | {name: b64(data)}
        for name in ("iv", "ciphertext", "tag")
        for data in near(good[name])
    ]
    # The same header, written in another way.
    header = json.loads(raw(good["protected"]))
    changed.append(good | {"protected": b64(json.dumps(header, indent=1).encode())})
    # Bytes that moved between ciphertext and tag.
    whole = raw(good["ciphertext"]) + raw(good["tag"])
    changed.append(good | {"ciphertext": b64(whole[:-15]), "tag": b64(whole[-15:])})

    def written(recipient, alg="Authcrypt", key=cek):
        return envelope(header_of([recipient], alg), b"hello", key)

    named = encrypted_to(verkey, cek, agent)
    for place, name in ((named, "encrypted_key"), (named["header"], "sender")):
        for data in near(place[name]):
            copy = json.loads(json.dumps(named))
            (copy if place is named else copy["header"])[name] = b64(data)
            changed.append(written(copy))
    for data in near(named["header"]["iv"]):
        changed.append(written({**named, "header": {**named["header"], "iv": b64(data)}}))
    low_order = base58.b58encode(bytes([1, *bytes(31)]))
    for text in (b"", b"\xff" * 44, agent.verkey.encode()[:-1], b"z" * 44, low_order):
        changed.append(written(encrypted_to(verkey, cek, agent, text)))
    # Another sender than the named one, and another recipient than the intended one.
    changed.append(written(encrypted_to(verkey, cek, agent, other.verkey.encode())))
    stolen = {**encrypted_to(other.verkey, cek), "header": {"kid": verkey}}
    changed.append(written(stolen, "Anoncrypt"))
    for size in (0, 16, 31):
        short = encrypted_to(verkey, cek[:size])
        changed.append(written(short, "Anoncrypt"))
        changed.append(written(encrypted_to(verkey, cek[:size], agent)))
    changed.append(written(encrypted_to(verkey, os.urandom(32)), "Anoncrypt"))
    details = set()
    for packed in changed:
        response = await client.post("/didcomm/unpack", json={"packed": packed})
        details.add((await refused(response, 422, "decryption-failed"))["detail"])
    assert len(details) == 1


async def test_headers_that_cannot_be(refuses, wallet, agent):
    verkey, cek = (await wallet())["b58"], os.urandom(32)
    named, nobody = encrypted_to(verkey, cek, agent), encrypted_to(verkey, cek)
    good = header_of([named], "Authcrypt")
    bare = {**named, "header": {"kid": verkey, "sender": named["header"]["sender"]}}
    many = [encrypted_to(Agent().verkey, cek) for _ in range(101)]
    kids = ("", "1" * 44, "z" * 44, "1" + verkey, "did:sov:1#key", "z" * 50_000, 7, None)
    headers = [
        *({**good, name: value} for name in good for value in (None, 7, [], {}, "", "x")),
        *({name: good[name] for name in good if name != left} for left in good),
        {**good, "enc": "chacha20poly1305_ietf"},
        {**good, "alg": "Anoncrypt"},
        {**good, "alg": "none"},
        {**good, "recipients": [nobody]},
        {**good, "recipients": [named, nobody]},
        {**good, "recipients": [bare]},
        {**good, "recipients": [named, named]},
        {**good, "recipients": [None]},
        {**good, "recipients": [{"header": named["header"]}]},
        {**good, "recipients": [{"encrypted_key": named["encrypted_key"]}]},
        {**good, "recipients": [{**named, "encrypted_key": b64(bytes(100))}]},
        *({**good, "recipients": [{**nobody, "header": {"kid": kid}}]} for kid in kids),
        header_of(many, "Anoncrypt"),
        {**good, "crit": ["b64"]},
        {**good, "zip": "DEF"},
        {**good, "p2c": 10**9},
        [], None, 7, "x",
    ]  # fmt: skip
    texts = [b64(json.dumps(header).encode()) for header in headers]
    texts += ["", "*", "e30", b64(b"{"), b64(b"\xff"), b64(b"[" * 20_000), "A" * 70_000]
    texts.append(b64(json.dumps({**good, "x": "y" * 70_000}).encode()))
    assert len(headers) > 50
    for text in texts:
        problem = await refuses(
            "/didcomm/unpack", {"packed": envelope(text, b"", cek)}, 422, "validation-failed"
        )
        assert problem["errors"]
        for error in problem["errors"]:
            assert error["pointer"].startswith("#/packed/protected"), text


async def test_envelopes_that_cannot_be(refuses, agent):
    good = agent.pack([agent.verkey], b"hello")
    for packed in (
        *({name: good[name] for name in good if name != left} for left in good),
        *(good | {name: value} for name in good for value in (7, None, "*", [], "a b")),
        good | {"aad": ""},
        json.dumps(good),
        None,
        [],
    ):
        await refuses("/didcomm/unpack", {"packed": packed}, 422, "validation-failed")


async def test_the_audit_log_has_the_key_and_no_message(start, tmp_path, agent):
    path = tmp_path / "audit.log"
    client = await start(create_service(Config(audit_log=str(path))))
    body = {"alg": "ed25519", "operations": BOXES}
    async with client.post("/key/generate", json=body) as response:
        key = await response.json()
    message = base64.urlsafe_b64encode(os.urandom(30)).decode()
    body = {"to": [agent.verkey], "message": message}
    for by in ({"from": key["kid"]}, {}):
        assert (await client.post("/didcomm/pack", json=body | by)).status == 200
    packed = agent.pack([Agent().verkey, key["b58"]], base64.urlsafe_b64decode(message))
    async with client.post("/didcomm/unpack", json={"packed": packed}) as response:
        assert (await response.json())["message"] == message
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()[-3:]]
    assert [(line["operation"], line["kid"], line["alg"]) for line in lines] == [
        ("packDidcomm", key["kid"], "ed25519"),
        ("packDidcomm", None, None),
        ("unpackDidcomm", key["kid"], "ed25519"),
    ]
    for hidden in (message, raw(message).hex(), agent.verkey, packed["ciphertext"]):
        assert hidden not in text


def test_the_private_key_is_the_scalar_that_signs():
    """The conversion that the tests use, by RFC 7748 section 4.1: one scalar, on both curves."""
    signing = SigningKey.generate()
    secret = signing.to_curve25519_private_key()
    assert PrivateKey(bytes(secret)).public_key == signing.verify_key.to_curve25519_public_key()
