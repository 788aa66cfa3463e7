"""encrypt, decrypt, wrap, unwrap, derive, mac and random."""

import hmac
import os

import pytest
from algorithm_facts import AEADS, FACTS, using
from base64url import b64, raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding
from cryptography.hazmat.primitives.padding import PKCS7
from problems import refused

pytestmark = pytest.mark.shared_service


@pytest.mark.parametrize("alg", AEADS)
async def test_a_ciphertext_decrypts_to_its_plaintext(post, generate, alg):
    kid = (await generate(alg))["kid"]
    for plaintext, aad in ((b"", None), (b"hello", None), (os.urandom(5000), b"bound")):
        body = {"kid": kid, "plaintext": b64(plaintext)} | ({"aad": b64(aad)} if aad else {})
        sealed = await post("/encrypt", body)
        nonce_size, tag_size = FACTS[alg].nonce, FACTS[alg].tag
        assert len(raw(sealed["nonce"])) == nonce_size
        assert len(raw(sealed["tag"])) == tag_size
        back = {"kid": kid, **sealed} | ({"aad": b64(aad)} if aad else {})
        assert await post("/decrypt", back) == {"plaintext": b64(plaintext)}
    again = await post("/encrypt", body)
    assert again["nonce"] != sealed["nonce"]


@pytest.mark.parametrize("alg", AEADS)
async def test_any_mismatch_is_refused_and_no_more_is_said(client, post, generate, alg):
    kid = (await generate(alg))["kid"]
    sealed = await post("/encrypt", {"kid": kid, "plaintext": b64(b"hello"), "aad": b64(b"a")})
    good = {"kid": kid, "aad": b64(b"a"), **sealed}
    changes = [{"aad": b64(b"b")}, {"aad": ""}, {"kid": (await generate(alg))["kid"]}]
    for name in ("ciphertext", "nonce", "tag"):
        value = raw(sealed[name])
        flipped = bytes([value[0] ^ 1]) + value[1:]
        changes += [{name: b64(data)} for data in (flipped, value[:-1], value + b"\0", b"")]
    # The same bytes with the border between ciphertext and tag moved.
    whole = raw(sealed["ciphertext"]) + raw(sealed["tag"])
    changes.append({"ciphertext": b64(whole[:1]), "tag": b64(whole[1:])})
    details = set()
    for change in changes:
        response = await client.post("/decrypt", json=good | change)
        details.add((await refused(response, 422, "decryption-failed"))["detail"])
    assert len(details) == 1


@pytest.mark.parametrize(
    ("alg", "digest", "half"),
    [
        ("a128cbchs256", hashes.SHA256(), 16),
        ("a192cbchs384", hashes.SHA384(), 24),
        ("a256cbchs512", hashes.SHA512(), 32),
    ],
)
async def test_cbc_with_hmac_is_that_of_rfc_7518(refuses, post, alg, digest, half):
    """Sections 5.2.2.1 and 5.2.2.2, of pyca/cryptography's parts."""
    secret, aad = os.urandom(2 * half), b"header"
    kid = (await post("/key/import", {"alg": alg, "secret": b64(secret)}))["kid"]

    def tag(nonce, ciphertext):
        code = HMAC(secret[:half], digest)
        code.update(aad + nonce + ciphertext + (8 * len(aad)).to_bytes(8, "big"))
        return code.finalize()[:half]

    def cipher(nonce):
        return Cipher(AES(secret[half:]), CBC(nonce))

    for size in (0, 15, 16, 17):
        plaintext = bytes(size)
        made = await post("/encrypt", {"kid": kid, "plaintext": b64(plaintext), "aad": b64(aad)})
        nonce, ciphertext = raw(made["nonce"]), raw(made["ciphertext"])
        assert raw(made["tag"]) == tag(nonce, ciphertext)
        reader, unpadder = cipher(nonce).decryptor(), PKCS7(128).unpadder()
        padded = reader.update(ciphertext) + reader.finalize()
        assert unpadder.update(padded) + unpadder.finalize() == plaintext

    def body(padded):
        nonce, cut = os.urandom(16), len(padded) // 16 * 16
        writer = cipher(nonce).encryptor()
        ciphertext = writer.update(padded[:cut]) + writer.finalize() + padded[cut:]
        parts = {"ciphertext": ciphertext, "nonce": nonce, "tag": tag(nonce, ciphertext)}
        return {"kid": kid, "aad": b64(aad)} | {name: b64(part) for name, part in parts.items()}

    assert await post("/decrypt", body(b"hello" + b"\x0b" * 11)) == {"plaintext": b64(b"hello")}
    # Under a tag that is right: no padding, no whole block, nothing.
    for padded in (bytes(16), b"\x11" * 32, b"hello", b"", b"\x10" * 16 + b"hello"):
        await refuses("/decrypt", body(padded), 422, "decryption-failed")


@pytest.mark.parametrize("alg", using("wrap"))
async def test_wrap_and_unwrap_agree_with_pyca(refuses, get, post, generate, alg):
    kid = (await generate(alg, exportable=True))["kid"]
    kek = raw((await get(f"/key/{kid}/export"))["jwk"]["k"])
    for length in (16, 17, 20, 24, 31, 32, 33, 40, 64):
        secret = os.urandom(length)
        wrapped = (await post("/wrap", {"kid": kid, "key": b64(secret)}))["wrapped"]
        theirs = aes_key_wrap_with_padding if length % 8 else aes_key_wrap
        assert raw(wrapped) == theirs(kek, secret)
        assert await post("/unwrap", {"kid": kid, "wrapped": wrapped}) == {"key": b64(secret)}
        bad = bytes([raw(wrapped)[0] ^ 1]) + raw(wrapped)[1:]
        for data in (bad, raw(wrapped)[:-1], b"", raw(wrapped)[:16]):
            body = {"kid": kid, "wrapped": b64(data)}
            await refuses("/unwrap", body, 422, "decryption-failed")
    for length in (0, 8, 15):
        body = {"kid": kid, "key": b64(b"k" * length)}
        await refuses("/wrap", body, 422, "invalid-key")


@pytest.mark.parametrize("alg", using("derive"))
async def test_both_sides_derive_the_same_secret(post, generate, alg):
    ours, theirs = [await generate(alg, operations=["derive"]) for _ in range(2)]
    one = await post("/derive", {"kid": ours["kid"], "peer": theirs["jwk"]})
    assert one == await post("/derive", {"kid": theirs["kid"], "peer": ours["jwk"]})
    assert len(raw(one["secret"])) == len(raw(ours["jwk"]["x"]))
    assert one != await post("/derive", {"kid": ours["kid"], "peer": ours["jwk"]})


@pytest.mark.parametrize("alg", using("derive"))
async def test_a_peer_that_is_none_of_this_curve_is_refused(refuses, generate, alg):
    key = await generate(alg, operations=["derive"])
    # Ed25519 acts as X25519, and takes both.
    other = await generate("p256" if alg in ("ed25519", "x25519") else "x25519")
    jwk = key["jwk"]
    peers = [other["jwk"], {}, {**jwk, "x": "AAAA"}, {**jwk, "x": 7}, {**jwk, "kty": "oct"}]
    peers.append({name: value for name, value in jwk.items() if name != "x"})
    peers.append({**jwk, "d": jwk["x"]})
    if "y" in jwk:
        peers += [{**jwk, "y": jwk["x"]}, {**jwk, "x": jwk["y"]}]
    for peer in peers:
        body = {"kid": key["kid"], "peer": peer}
        await refuses("/derive", body, 422, "invalid-key")


@pytest.mark.parametrize("bits", [256, 384, 512])
async def test_a_mac_is_that_of_pythons_hmac(refuses, post, bits):
    alg, size = f"hs{bits}", bits // 8
    for secret in (os.urandom(size), os.urandom(size + 100)):
        kid = (await post("/key/import", {"alg": alg, "secret": b64(secret)}))["kid"]
        mac = (await post("/mac", {"kid": kid, "data": b64(b"hello")}))["mac"]
        assert raw(mac) == hmac.digest(secret, b"hello", f"sha{bits}")
        for given, valid in ((raw(mac), True), (b"", False), (raw(mac)[:-1], False)):
            body = {"kid": kid, "data": b64(b"hello"), "mac": b64(given)}
            assert await post("/mac/verify", body) == {"valid": valid}
        body = {"kid": kid, "data": b64(b"hell0"), "mac": mac}
        assert await post("/mac/verify", body) == {"valid": False}
    body = {"alg": alg, "secret": b64(os.urandom(size - 1))}
    await refuses("/key/import", body, 422, "invalid-key")


async def test_random_bytes_have_the_asked_length(refuses, post):
    for length in (1, 32, 65536):
        assert len(raw((await post("/random", {"length": length}))["bytes"])) == length
    assert await post("/random", {"length": 32}) != await post("/random", {"length": 32})
    for length in (0, -1, 65537, "32", 1.5, True, None):
        body = {"length": length}
        await refuses("/random", body, 422, "validation-failed")
