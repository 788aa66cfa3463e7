"""NaCl's boxes, both ways against PyNaCl and Askar, and NaCl's own test of crypto_box."""

import pytest
from aries_askar import Key, KeyAlg, crypto_box
from base64url import b64, raw
from nacl import bindings as sodium
from nacl.public import Box, PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey, VerifyKey
from problems import refused

pytestmark = pytest.mark.shared_service

MESSAGES = [b"", b"hello", bytes(range(256)) * 400]
BOXES = ["sign", "verify", "box", "box-open"]

# tests/box.c of NaCl (https://nacl.cr.yp.to/valid.html), on the keys of RFC 7748 section 6.1.
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
NONCE = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37"
PLAINTEXT = (
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c"
    "61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f"
    "21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
)
CIPHERTEXT = (
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1"
    "186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab9321645"
    "48e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b"
    "1f654cb45a74e355a5"
)


class Theirs:
    """A key pair of PyNaCl's: its JWK, and the two as boxes take them."""

    def __init__(self, crv):
        if crv == "X25519":
            self.secret = PrivateKey.generate()
            public = bytes(self.secret.public_key)
        else:
            signing = SigningKey.generate()
            self.secret, public = signing.to_curve25519_private_key(), bytes(signing.verify_key)
        self.jwk = {"kty": "OKP", "crv": crv, "x": b64(public).rstrip("=")}


def public_of(key):
    """The public key of one of ours, as PyNaCl's boxes take it."""
    x = raw(key["jwk"]["x"])
    return VerifyKey(x).to_curve25519_public_key() if key["alg"] == "ed25519" else PublicKey(x)


@pytest.fixture
def ours(generate):
    async def make(alg):
        return await generate(alg, operations=BOXES if alg == "ed25519" else ["box", "box-open"])

    return make


@pytest.fixture(params=["x25519", "ed25519"])
async def key(request, ours):
    return await ours(request.param)


@pytest.fixture(params=["X25519", "Ed25519"])
def theirs(request):
    return Theirs(request.param)


@pytest.mark.parametrize("message", MESSAGES, ids=len)
async def test_boxes_agree_with_pynacl(post, key, theirs, message):
    by, pair = {"kid": key["kid"]}, Box(theirs.secret, public_of(key))
    made = await post("/box", by | {"to": theirs.jwk, "plaintext": b64(message)})
    assert made.keys() == {"ciphertext", "nonce"}
    assert len(raw(made["ciphertext"])) == len(message) + 16
    assert pair.decrypt(raw(made["ciphertext"]), raw(made["nonce"])) == message
    back = pair.encrypt(message)
    body = {"from": theirs.jwk, "ciphertext": b64(back.ciphertext), "nonce": b64(back.nonce)}
    assert await post("/box/open", by | body) == {"plaintext": b64(message)}


@pytest.mark.parametrize("message", MESSAGES, ids=len)
async def test_sealed_boxes_agree_with_pynacl(post, key, theirs, message):
    made = await post("/box/seal", {"to": theirs.jwk, "plaintext": b64(message)})
    assert SealedBox(theirs.secret).decrypt(raw(made["ciphertext"])) == message
    sealed = SealedBox(public_of(key)).encrypt(message)
    body = {"kid": key["kid"], "ciphertext": b64(sealed)}
    assert await post("/box/seal/open", body) == {"plaintext": b64(message)}


async def test_boxes_agree_with_askar(post, ours):
    key, theirs = await ours("x25519"), Key.generate(KeyAlg.X25519)
    by, public = {"kid": key["kid"]}, Key.from_jwk(key["jwk"])
    jwk = {"kty": "OKP", "crv": "X25519", "x": b64(theirs.get_public_bytes()).rstrip("=")}
    made = await post("/box", by | {"to": jwk, "plaintext": b64(b"hello")})
    opened = crypto_box.crypto_box_open(theirs, public, raw(made["ciphertext"]), raw(made["nonce"]))
    assert opened == b"hello"
    nonce = crypto_box.random_nonce()
    back = crypto_box.crypto_box(public, theirs, b"back", nonce)
    body = {"from": jwk, "ciphertext": b64(back), "nonce": b64(nonce)}
    assert await post("/box/open", by | body) == {"plaintext": b64(b"back")}
    made = await post("/box/seal", {"to": jwk, "plaintext": b64(b"hello")})
    assert crypto_box.crypto_box_seal_open(theirs, raw(made["ciphertext"])) == b"hello"
    sealed = {"ciphertext": b64(crypto_box.crypto_box_seal(public, b"back"))}
    assert await post("/box/seal/open", by | sealed) == {"plaintext": b64(b"back")}


async def test_box_of_nacls_own_tests(post):
    keys = [
        await post("/key/import", {"alg": "x25519", "secret": b64(bytes.fromhex(secret))})
        for secret in (ALICE, BOB)
    ]
    for opener, sender in (keys, reversed(keys)):
        box = {"ciphertext": b64(bytes.fromhex(CIPHERTEXT)), "nonce": b64(bytes.fromhex(NONCE))}
        opened = await post("/box/open", {"kid": opener["kid"], "from": sender["jwk"], **box})
        assert raw(opened["plaintext"]).hex() == PLAINTEXT


async def test_an_ed25519_key_boxes_only_by_opt_in(refuses, generate, theirs):
    key = await generate("ed25519")
    for path, body in (
        ("/box", {"to": theirs.jwk, "plaintext": ""}),
        ("/box/open", {"from": theirs.jwk, "ciphertext": "", "nonce": ""}),
        ("/box/seal/open", {"ciphertext": ""}),
    ):
        await refuses(path, {"kid": key["kid"], **body}, 422, "unsupported-operation")


def near(data):
    """Changes of bytes: one bit at each end, and other lengths."""
    yield bytes([data[0] ^ 1]) + data[1:]
    yield data[:-1] + bytes([data[-1] ^ 1])
    yield from (b"", data[:-1], data[1:], data + b"\0", data + data)


async def test_a_mismatch_says_nothing_more(client, post, ours):
    """The refusal does not disclose the part that does not fit."""
    key, other, sender = [await ours("x25519") for _ in range(3)]
    by = {"kid": key["kid"]}
    boxed = await post("/box", {"kid": sender["kid"], "to": key["jwk"], "plaintext": b64(b"hello")})
    good = by | {"from": sender["jwk"], **boxed}
    assert await post("/box/open", good) == {"plaintext": b64(b"hello")}
    changes = [{"from": other["jwk"]}, {"kid": other["kid"]}]
    for part in boxed:
        changes += [{part: b64(data)} for data in near(raw(boxed[part]))]
    calls = [("/box/open", good | change) for change in changes]
    sealed = raw((await post("/box/seal", {"to": key["jwk"], "plaintext": ""}))["ciphertext"])
    low_order = bytes(32) + sealed[32:]
    for data in (*near(sealed), sealed[:47], low_order):
        calls.append(("/box/seal/open", by | {"ciphertext": b64(data)}))
    calls.append(("/box/seal/open", {"kid": other["kid"], "ciphertext": b64(sealed)}))
    details = set()
    for path, body in calls:
        response = await client.post(path, json=body)
        details.add((await refused(response, 422, "decryption-failed"))["detail"])
    assert len(details) == 1


_X = {"kty": "OKP", "crv": "X25519"}
_ED = {"kty": "OKP", "crv": "Ed25519"}
# The base point of edwards25519 and the point of order 2: on the curve, and no multiple of it.
_OUTSIDE = sodium.crypto_core_ed25519_add(
    bytes.fromhex("58" + "66" * 31), (2**255 - 20).to_bytes(32, "little")
)
INVALID = {
    "low order": _X | {"x": b64(bytes(32))},
    "low order of Ed25519": _ED | {"x": b64(bytes([1, *bytes(31)]))},
    "not reduced": _ED | {"x": b64((2**255 - 19 + 4).to_bytes(32, "little"))},
    "off the curve": _ED | {"x": b64(bytes([2, *bytes(31)]))},
    "outside the subgroup": _ED | {"x": b64(_OUTSIDE)},
    "too short": _X | {"x": b64(bytes([9, *bytes(30)]))},
    "too long": _ED | {"x": b64(bytes([9, *bytes(9000)]))},
    "no x": _X,
    "private": _X | {"x": b64(bytes([9, *bytes(31)])), "d": b64(bytes(32))},
    "no type": {"x": b64(bytes([9, *bytes(31)]))},
}


@pytest.mark.parametrize("jwk", INVALID.values(), ids=INVALID)
async def test_a_peer_that_cannot_be(refuses, ours, jwk):
    by = {"kid": (await ours("x25519"))["kid"]}
    for path, body in (
        ("/box", by | {"to": jwk, "plaintext": ""}),
        ("/box/open", by | {"from": jwk, "ciphertext": "", "nonce": ""}),
        ("/box/seal", {"to": jwk, "plaintext": ""}),
    ):
        await refuses(path, body, 422, "invalid-key")


async def test_a_peer_of_another_type(refuses, ours, generate):
    by, jwk = {"kid": (await ours("x25519"))["kid"]}, (await generate("p256"))["jwk"]
    body = {"to": jwk, "plaintext": ""}
    await refuses("/box", by | body, 422, "invalid-key")
    await refuses("/box/seal", body, 422, "unsupported-operation")


async def test_a_sealed_box_needs_no_key_of_ours(client, refuses, theirs):
    """So it takes none, and does ask for the profile."""
    body = {"to": theirs.jwk, "plaintext": ""}
    for by in ({"kid": "a"}, {"alias": "a"}):
        await refuses("/box/seal", body | by, 422, "validation-failed")
    response = await client.post("/box/seal", json=body, headers={"X-Profile": "a b"})
    await refused(response, 422, "validation-failed")
