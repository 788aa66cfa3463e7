"""HMACs by each type of key, and their verification."""

import base64
import hashlib
import hmac

import pytest

pytestmark = pytest.mark.shared_service

MESSAGE = b"a message"
INPUT = base64.b64encode(MESSAGE).decode()
HASHES = {
    "sha1": "sha1",
    "sha2-224": "sha224",
    "sha2-256": "sha256",
    "sha2-384": "sha384",
    "sha2-512": "sha512",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}
KINDS = ["aes256-gcm96", "xchacha20-poly1305", "ed25519", "ecdsa-secp256k1", "ecdsa-p521"]


async def make(vault, kind):
    await vault.data("POST", "transit/keys/k", {"type": kind, "exportable": True})


async def mac(vault, path="k", **options):
    return (await vault.data("POST", f"transit/hmac/{path}", {"input": INPUT, **options}))["hmac"]


async def valid(vault, made, path="k", **options):
    body = {"input": INPUT, "hmac": made, **options}
    return (await vault.data("POST", f"transit/verify/{path}", body))["valid"]


@pytest.mark.parametrize(("name", "known"), HASHES.items())
async def test_an_hmac_key_computes_each_hash(vault, name, known):
    await make(vault, "hmac")
    exported = await vault.data("GET", "transit/export/hmac-key/k/1")
    secret = base64.b64decode(exported["keys"]["1"])
    digest = hmac.new(secret, MESSAGE, getattr(hashlib, known)).digest()
    made = await mac(vault, f"k/{name}")
    assert made == f"vault:v1:{base64.b64encode(digest).decode()}"
    assert made == await mac(vault, algorithm=name)
    assert await valid(vault, made, f"k/{name}")
    assert await valid(vault, made, hash_algorithm=name)


@pytest.mark.parametrize("kind", [*KINDS, "rsa-2048", "mldsa-44"])
async def test_every_key_has_an_hmac_of_its_own(vault, kind):
    await make(vault, kind)
    made = await mac(vault)
    assert len(base64.b64decode(made.removeprefix("vault:v1:"))) == 32
    assert await valid(vault, made)
    assert not await valid(vault, made, "k/sha3-256")
    assert not await valid(vault, made, input="")
    await vault.call("POST", "transit/keys/k/rotate")
    assert (await mac(vault)).removeprefix("vault:v2:") != made.removeprefix("vault:v1:")
    assert await mac(vault, key_version=1) == made
    assert await valid(vault, made)


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("hmac/k", {}, "missing input"),
        ("hmac/k", {"input": "***"}, "base64"),
        ("hmac/k", {"input": []}, "input"),
        ("hmac/k/md5", {"input": INPUT}, "algorithm"),
        ("hmac/k/none", {"input": INPUT}, "none"),
        ("hmac/k", {"input": INPUT, "algorithm": "x"}, "algorithm"),
        ("hmac/k", {"input": INPUT, "key_version": 2}, "latest key version"),
        ("hmac/k", {"input": INPUT, "key_version": -1}, "negative"),
        ("hmac/none", {"input": INPUT}, "not found"),
        ("verify/none", {"input": INPUT, "hmac": "vault:v1:AAAA"}, "encryption key not found"),
        ("verify/k", {"input": INPUT, "hmac": "x"}, "no prefix"),
        ("verify/k", {"input": INPUT, "hmac": "vault:v1"}, "wrong number of fields"),
        ("verify/k", {"input": INPUT, "hmac": "vault:vx:AAAA"}, "could not be decoded"),
        ("verify/k", {"input": INPUT, "hmac": "vault:v2:AAAA"}, "too new"),
        ("verify/k", {"input": INPUT, "hmac": "vault:v0:AAAA"}, "too old"),
        ("verify/k", {"input": INPUT, "hmac": "vault:v1:***"}, "base64"),
        ("verify/k/none", {"input": INPUT, "hmac": "vault:v1:AAAA"}, "none"),
    ],
)
async def test_a_wrong_member_is_refused(vault, path, body, says):
    await make(vault, "hmac")
    assert says in await vault.refused(path, **body)


async def test_versions_are_bounded_by_the_configuration(vault):
    await make(vault, "hmac")
    made = await mac(vault)
    await vault.call("POST", "transit/keys/k/rotate")
    config = {"min_decryption_version": 2, "min_encryption_version": 2}
    await vault.call("POST", "transit/keys/k/config", config)
    assert "less than the minimum" in await vault.refused("hmac/k", input=INPUT, key_version=1)
    assert "too old" in await vault.refused("verify/k", input=INPUT, hmac=made)
