"""encrypt, decrypt, rewrap and datakey: ciphertexts opened by pyca/cryptography."""

import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt

pytestmark = pytest.mark.shared_service

PLAINTEXT = b"a plaintext"


def b64(data):
    return base64.b64encode(data).decode()


def xchacha20poly1305(key):
    class Cipher:
        def decrypt(self, nonce, sealed, aad):
            return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, aad, nonce, key)

    return Cipher()


CIPHERS = {
    "aes128-gcm96": (AESGCM, 12),
    "aes256-gcm96": (AESGCM, 12),
    "chacha20-poly1305": (ChaCha20Poly1305, 12),
    "xchacha20-poly1305": (xchacha20poly1305, 24),
}


async def make(vault, kind, name="k", **options):
    await vault.data("POST", f"transit/keys/{name}", {"type": kind, "exportable": True, **options})


async def encrypt(vault, plaintext=PLAINTEXT, name="k", **options):
    body = {"plaintext": b64(plaintext), **options}
    return (await vault.data("POST", f"transit/encrypt/{name}", body))["ciphertext"]


async def decrypt(vault, ciphertext, name="k", **options):
    body = {"ciphertext": ciphertext, **options}
    return base64.b64decode(
        (await vault.data("POST", f"transit/decrypt/{name}", body))["plaintext"]
    )


@pytest.mark.parametrize("kind", CIPHERS)
@pytest.mark.parametrize("aad", [b"", b"associated"])
@pytest.mark.parametrize("plaintext", [b"", PLAINTEXT])
async def test_a_ciphertext_is_nonce_ciphertext_and_tag(vault, kind, aad, plaintext):
    await make(vault, kind)
    options = {"associated_data": b64(aad)} if aad else {}
    sealed = await encrypt(vault, plaintext, **options)
    exported = await vault.data("GET", "transit/export/encryption-key/k/1")
    cipher, size = CIPHERS[kind]
    data = base64.b64decode(sealed.removeprefix("vault:v1:"), validate=True)
    opened = cipher(base64.b64decode(exported["keys"]["1"])).decrypt(data[:size], data[size:], aad)
    assert opened == plaintext
    assert await decrypt(vault, sealed, **options) == plaintext
    other = {} if aad else {"associated_data": b64(b"other")}
    assert await vault.refused("decrypt/k", ciphertext=sealed, **other)
    assert await encrypt(vault, plaintext, **options) != sealed


@pytest.mark.parametrize("bits", [2048, 3072])
async def test_rsa_encrypts_by_oaep_with_sha256(vault, bits):
    await make(vault, f"rsa-{bits}")
    sealed = await encrypt(vault)
    exported = await vault.data("GET", "transit/export/encryption-key/k/1")
    key = ser.load_pem_private_key(exported["keys"]["1"].encode(), None)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    data = base64.b64decode(sealed.removeprefix("vault:v1:"))
    assert key.decrypt(data, oaep) == PLAINTEXT
    by_pyca = b64(key.public_key().encrypt(PLAINTEXT, oaep))
    assert await decrypt(vault, f"vault:v1:{by_pyca}") == PLAINTEXT
    for body in ({"plaintext": b64(bytes(600))}, {"plaintext": "", "associated_data": "YQ=="}):
        assert await vault.refused("encrypt/k", **body)
    assert await vault.refused("decrypt/k", ciphertext="vault:v1:AAAA")
    assert await vault.refused("decrypt/k", ciphertext=sealed, associated_data="YQ==")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "missing plaintext"),
        ({"plaintext": "***"}, "base64"),
        ({"plaintext": 17}, "base64"),
        ({"plaintext": []}, "plaintext"),
        ({"plaintext": "YQ==", "associated_data": "***"}, "base64"),
        ({"plaintext": "YQ==", "associated_data": {}}, "associated_data"),
        ({"plaintext": "YQ==", "context": "***"}, "base64"),
        ({"plaintext": "YQ==", "key_version": 2}, "higher than the latest"),
        ({"plaintext": "YQ==", "key_version": -1}, "negative"),
        ({"plaintext": "YQ==", "key_version": []}, "key_version"),
    ],
)
async def test_a_wrong_member_is_refused(vault, body, says):
    await make(vault, "aes256-gcm96")
    assert says in await vault.refused("encrypt/k", **body)


@pytest.mark.parametrize(
    ("ciphertext", "says"),
    [
        (None, "missing ciphertext"),
        ("", "missing ciphertext"),
        ("x", "no prefix"),
        ("vault:v1", "wrong number of fields"),
        ("vault:vx:AAAA", "could not be decoded"),
        ("vault:v2:AAAA", "too new"),
        ("vault:v-1:AAAA", "too old"),
        ("vault:v1:***", "base64"),
        ("vault:v1:AAAA", "ciphertext length"),
        ("vault:v1:" + b64(bytes(20)), ""),
        ("vault:v1:" + b64(bytes(40)), ""),
        ([], "ciphertext"),
    ],
)
async def test_a_wrong_ciphertext_is_refused(vault, ciphertext, says):
    await make(vault, "aes256-gcm96")
    assert says in await vault.refused("decrypt/k", ciphertext=ciphertext)
    assert says in await vault.refused("rewrap/k", ciphertext=ciphertext)


async def test_the_oldest_ciphertexts_begin_at_version_0(vault):
    await make(vault, "aes256-gcm96")
    sealed = await encrypt(vault)
    assert await decrypt(vault, sealed.replace(":v1:", ":v0:")) == PLAINTEXT


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256", "hmac"])
async def test_other_types_do_not_encrypt(vault, kind):
    await make(vault, kind)
    assert f"not supported for key type {kind}" in await vault.refused("encrypt/k", plaintext="")
    sentence = await vault.refused("decrypt/k", ciphertext="vault:v1:AAAA")
    assert f"not supported for key type {kind}" in sentence
    assert "not supported" in await vault.refused("datakey/wrapped/k")


@pytest.mark.parametrize("alg", ["a192gcm", "a128cbchs256", "a192cbchs384", "a256cbchs512"])
async def test_a_key_whose_ciphertexts_have_no_form_in_vault_does_not_encrypt(vault, alg):
    body = {"alg": alg, "alias": "k"}
    async with vault.rest.post("/key/generate", json=body) as response:
        assert response.status == 200
    says = f"Vault has no ciphertexts by a key of {alg}"
    assert await vault.refused("encrypt/k", plaintext="YQ==") == says
    assert await vault.refused("datakey/plaintext/k") == says
    sealed = f"vault:v1:{b64(bytes(60))}"
    assert await vault.refused("decrypt/k", ciphertext=sealed) == says
    assert await vault.refused("rewrap/k", ciphertext=sealed) == says
    _, answer = await vault.call(
        "POST", "transit/encrypt/k", {"batch_input": [{"plaintext": "YQ=="}]}
    )
    assert answer["data"]["batch_results"] == [{"error": says, "reference": ""}]


async def test_an_older_version_encrypts_and_decrypts(vault):
    await make(vault, "aes256-gcm96")
    old = await encrypt(vault)
    await vault.call("POST", "transit/keys/k/rotate")
    assert (await encrypt(vault)).startswith("vault:v2:")
    assert (await encrypt(vault, key_version=1)).startswith("vault:v1:")
    again = await vault.data("POST", "transit/rewrap/k", {"ciphertext": old})
    assert again["key_version"] == 2
    assert await decrypt(vault, again["ciphertext"]) == PLAINTEXT
    await vault.call("POST", "transit/keys/k/config", {"min_decryption_version": 2})
    assert "too old" in await vault.refused("decrypt/k", ciphertext=old)
    await vault.call("POST", "transit/keys/k/config", {"min_encryption_version": 2})
    assert "less than the minimum" in await vault.refused("encrypt/k", plaintext="", key_version=1)


async def test_encrypt_makes_a_key_that_does_not_exist(vault):
    sealed = await encrypt(vault, name="made")
    assert await decrypt(vault, sealed, name="made") == PLAINTEXT
    assert (await vault.data("GET", "transit/keys/made"))["type"] == "aes256-gcm96"
    await encrypt(vault, name="small", type="aes128-gcm96")
    assert (await vault.data("GET", "transit/keys/small"))["type"] == "aes128-gcm96"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"plaintext": "", "type": "rsa-2048"}, "not supported"),
        ({"plaintext": "", "type": "ecdsa-p256"}, "not supported"),
        ({"plaintext": "", "type": "des"}, "unknown key type"),
        ({"plaintext": "", "context": "YQ=="}, "not supported"),
        ({"plaintext": "", "convergent_encryption": True}, "not supported"),
        ({"plaintext": "***"}, "base64"),
        ({"batch_input": [{"plaintext": "***"}]}, "base64"),
        ({"batch_input": []}, "missing batch"),
    ],
)
async def test_a_call_that_cannot_succeed_makes_no_key(vault, body, says):
    assert says in await vault.refused("encrypt/none", **body)
    assert (await vault.call("GET", "transit/keys/none"))[0] == 404


@pytest.mark.parametrize("path", ["decrypt/none", "rewrap/none", "datakey/wrapped/none"])
async def test_other_calls_make_no_key(vault, path):
    assert "not found" in await vault.refused(path, ciphertext="vault:v1:AAAA")
    assert (await vault.call("GET", "transit/keys/none"))[0] == 404


@pytest.mark.parametrize(("bits", "size"), [(128, 16), (None, 32), (256, 32), ("512", 64)])
async def test_a_data_key_is_returned_encrypted_and_plain(vault, bits, size):
    await make(vault, "aes256-gcm96")
    body = {"associated_data": "YQ==", **({} if bits is None else {"bits": bits})}
    made = await vault.data("POST", "transit/datakey/plaintext/k", body)
    key = base64.b64decode(made["plaintext"])
    assert len(key) == size
    assert await decrypt(vault, made["ciphertext"], associated_data="YQ==") == key
    wrapped = await vault.data("POST", "transit/datakey/wrapped/k", body)
    assert wrapped.keys() == {"ciphertext", "key_version"}


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("wrapped", {"bits": 100}, "bit length"),
        ("wrapped", {"bits": "x"}, "bits"),
        ("other", {}, "Invalid path"),
        ("wrapped", {"key_version": 3}, "higher than the latest"),
        ("wrapped", {"associated_data": "***"}, "base64"),
    ],
)
async def test_a_wrong_data_key_is_refused(vault, path, body, says):
    await make(vault, "aes256-gcm96")
    assert says in await vault.refused(f"datakey/{path}/k", **body)
