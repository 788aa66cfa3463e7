"""sign and verify: each type, hash and form, checked by pyca/cryptography."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, utils
from vault_calls.judge import HASHES, public_of

pytestmark = pytest.mark.shared_service

MESSAGE = b"a message"
INPUT = base64.b64encode(MESSAGE).decode()
CURVES = {"ecdsa-p256": 32, "ecdsa-p384": 48, "ecdsa-p521": 66, "ecdsa-secp256k1": 32}


def b64(data):
    return base64.b64encode(data).decode()


def raw(text, version=1):
    """The bytes of a signature of a version, in either base64."""
    prefix = f"vault:v{version}:"
    assert text.startswith(prefix)
    text = text.removeprefix(prefix)
    if set("-_") & set(text) or len(text) % 4:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return base64.b64decode(text, validate=True)


async def make(vault, kind, name="k"):
    """Make a key; gives its public key."""
    keys = (await vault.data("POST", f"transit/keys/{name}", {"type": kind}))["keys"]
    return public_of(keys["1"]["public_key"])


async def sign(vault, path="k", **options):
    signed = await vault.data("POST", f"transit/sign/{path}", {"input": INPUT, **options})
    return signed["signature"]


async def valid(vault, signature, path="k", **options):
    body = {"input": INPUT, "signature": signature, **options}
    return (await vault.data("POST", f"transit/verify/{path}", body))["valid"]


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("kind", CURVES)
async def test_each_curve_signs_with_each_hash(vault, kind, name):
    public = await make(vault, kind)
    signature = await sign(vault, f"k/{name}")
    public.verify(raw(signature), MESSAGE, ec.ECDSA(HASHES[name]))
    assert await valid(vault, signature, hash_algorithm=name)
    assert not await valid(vault, signature, f"k/{name}", input=b64(b"another"))


@pytest.mark.parametrize("kind", CURVES)
async def test_the_default_of_each_curve_is_sha256_in_der(vault, kind):
    public = await make(vault, kind)
    signature = await sign(vault)
    public.verify(raw(signature), MESSAGE, ec.ECDSA(hashes.SHA256()))
    assert await valid(vault, signature)


@pytest.mark.parametrize(("kind", "size"), CURVES.items())
async def test_jws_marshaling_is_url_safe_and_fixed_in_length(vault, kind, size):
    public = await make(vault, kind)
    signature = await sign(vault, marshaling_algorithm="jws")
    assert not {*"=+/"} & {*signature}
    data = raw(signature)
    assert len(data) == 2 * size
    r, s = (int.from_bytes(half, "big") for half in (data[:size], data[size:]))
    public.verify(utils.encode_dss_signature(r, s), MESSAGE, ec.ECDSA(hashes.SHA256()))
    assert await valid(vault, signature, marshaling_algorithm="jws")
    plain = b64(data)
    if plain.rstrip("=") != signature.removeprefix("vault:v1:"):
        sentence = await vault.refused(
            "verify/k",
            input=INPUT,
            signature=f"vault:v1:{plain}",
            marshaling_algorithm="jws",
        )
        assert "base64" in sentence


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("digest", [hashlib.sha256(MESSAGE).digest(), b"\1\2\3"])
async def test_a_curve_signs_a_digest_of_any_length(vault, kind, digest):
    public = await make(vault, kind)
    signature = await sign(vault, input=b64(digest), prehashed=True)
    padded = digest.rjust(32, b"\0")
    public.verify(raw(signature), padded, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    assert await valid(vault, signature, input=b64(digest), prehashed=True)


async def test_ed25519_signs_the_message_whatever_the_options(vault):
    public = await make(vault, "ed25519")
    for options in ({}, {"hash_algorithm": "sha2-512"}, {"prehashed": True}, {"salt_length": 3}):
        signature = await sign(vault, **options)
        public.verify(raw(signature), MESSAGE)
        assert await valid(vault, signature, **options)


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("mldsa-44", mldsa.MLDSA44PublicKey),
        ("mldsa-65", mldsa.MLDSA65PublicKey),
        ("mldsa-87", mldsa.MLDSA87PublicKey),
    ],
)
async def test_ml_dsa_signs_the_message_whatever_the_options(vault, kind, cls):
    public = await make(vault, kind)
    assert isinstance(public, cls)
    for options in ({}, {"hash_algorithm": "none"}, {"prehashed": True}):
        signature = await sign(vault, **options)
        public.verify(raw(signature), MESSAGE)
        assert await valid(vault, signature, **options)
    assert "key type mldsa" in await vault.refused("encrypt/k", plaintext=INPUT)


@pytest.fixture
async def rsa(vault):
    return await make(vault, "rsa-2048")


@pytest.mark.parametrize("name", HASHES)
async def test_rsa_signs_pss_and_pkcs1_with_each_hash(vault, rsa, name):
    chosen = HASHES[name]
    signature = await sign(vault, f"k/{name}")
    longest = padding.PSS(padding.MGF1(chosen), 256 - 2 - chosen.digest_size)
    rsa.verify(raw(signature), MESSAGE, longest, chosen)
    assert await valid(vault, signature, f"k/{name}")
    older = {"signature_algorithm": "pkcs1v15"}
    signature = await sign(vault, f"k/{name}", **older)
    rsa.verify(raw(signature), MESSAGE, padding.PKCS1v15(), chosen)
    assert await valid(vault, signature, f"k/{name}", **older)
    assert not await valid(vault, signature, f"k/{name}")
    digest = b64(hashlib.new(name.replace("sha2-", "sha").replace("3-", "3_"), MESSAGE).digest())
    assert await sign(vault, f"k/{name}", input=digest, prehashed=True, **older) == signature


@pytest.mark.parametrize(
    ("salt", "length"), [("auto", 222), (0, 222), ("hash", 32), ("-1", 32), (20, 20), ("222", 222)]
)
async def test_rsa_pss_has_the_salt_that_is_asked_for(vault, rsa, salt, length):
    signature = await sign(vault, salt_length=salt)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), length)
    rsa.verify(raw(signature), MESSAGE, scheme, hashes.SHA256())
    assert await valid(vault, signature, salt_length=salt)
    assert await valid(vault, signature)
    assert not await valid(vault, signature, salt_length=21)


async def test_rsa_pkcs1_signs_bytes_without_a_hash(vault, rsa):
    options = {
        "prehashed": True,
        "hash_algorithm": "none",
        "signature_algorithm": "pkcs1v15",
    }
    signature = await sign(vault, **options)
    recovered = rsa.recover_data_from_signature(raw(signature), padding.PKCS1v15(), None)
    assert recovered == MESSAGE
    assert await valid(vault, signature, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"salt_length": "223"}, "salt length 223"),
        ({"salt_length": str(2**70)}, "salt length"),
        ({"salt_length": "long"}, "salt length"),
        ({"salt_length": -2}, "salt length"),
        ({"salt_length": []}, "salt_length"),
        ({"signature_algorithm": "x"}, "signature algorithm x"),
        ({"hash_algorithm": "none"}, "prehashed=true"),
        ({"hash_algorithm": "none", "prehashed": True}, "prehashed=true"),
        ({"hash_algorithm": "md5"}, "invalid hash algorithm"),
        ({"hash_algorithm": {}}, "hash_algorithm"),
        ({"marshaling_algorithm": "x"}, "invalid marshaling"),
        ({"prehashed": True}, "32 bytes"),
        ({"prehashed": "maybe"}, "prehashed"),
        ({"input": "***"}, "base64"),
        ({"input": "YQ"}, "base64"),
        ({"input": ["YQ=="]}, "input"),
        ({"context": "***"}, "base64"),
        ({"key_version": 2}, "higher than the latest"),
        ({"key_version": -1}, "negative"),
        ({"key_version": "x"}, "key_version"),
        ({"key_version": 2**64}, "higher than the latest"),
    ],
)
async def test_a_wrong_member_is_refused(vault, rsa, options, says):
    assert says in await vault.refused("sign/k", **{"input": INPUT, **options})


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        ("x", "no prefix"),
        ("vault:v1", "wrong number of fields"),
        ("vault:vx:AAAA", "could not be decoded"),
        ("vault:v99999999999999999999:AAAA", "could not be decoded"),
        ("vault:v2:AAAA", "too new"),
        ("vault:v0:AAAA", "too old"),
        ("vault:v-1:AAAA", "too old"),
        ("vault:v1:***", "base64"),
        ("vault:v1:AAAA", "supplied signature is invalid"),
        (None, "no prefix"),
        (17, "no prefix"),
    ],
)
async def test_a_wrong_signature_is_refused(vault, signature, says):
    await make(vault, "ecdsa-p256")
    assert says in await vault.refused("verify/k", input=INPUT, signature=signature)


async def test_der_with_more_behind_it_is_refused(vault):
    await make(vault, "ecdsa-p256")
    longer = f"vault:v1:{b64(raw(await sign(vault)) + b'x')}"
    assert "invalid" in await vault.refused("verify/k", input=INPUT, signature=longer)


@pytest.mark.parametrize("kind", ["aes256-gcm96", "hmac"])
async def test_other_types_do_not_sign(vault, kind):
    await vault.data("POST", "transit/keys/s", {"type": kind})
    assert f"key type {kind} does not support signing" == await vault.refused("sign/s", input=INPUT)
    assert "does not support verification" in await vault.refused(
        "verify/s", input=INPUT, signature="vault:v1:AAAA"
    )


async def test_an_unknown_key_is_refused(vault):
    assert "not found" in await vault.refused("sign/none", input=INPUT)
    assert "not found" in await vault.refused("verify/none", input=INPUT, signature="vault:v1:AAAA")


async def test_an_older_version_signs_and_verifies(vault):
    await make(vault, "ed25519")
    old = await sign(vault)
    await vault.call("POST", "transit/keys/k/rotate")
    assert raw(await sign(vault), 2) != raw(old)
    assert await sign(vault, key_version=1) == old
    assert await valid(vault, old)
    await vault.call("POST", "transit/keys/k/config", {"min_encryption_version": 2})
    assert "less than the minimum" in await vault.refused("sign/k", input=INPUT, key_version=1)
    assert await valid(vault, old)
    await vault.call("POST", "transit/keys/k/config", {"min_decryption_version": 2})
    assert "too old" in await vault.refused("verify/k", input=INPUT, signature=old)


async def test_a_key_of_the_rest_port_is_a_key_here(vault):
    made = await vault.rest.post("/key/generate", json={"alg": "p256", "alias": "by-rest"})
    signature = raw(await sign(vault, "by-rest", marshaling_algorithm="jws"))
    sig = base64.urlsafe_b64encode(signature).decode()
    data = base64.urlsafe_b64encode(MESSAGE).decode()
    kid = (await made.json())["kid"]
    checked = await vault.rest.post("/verify", json={"kid": kid, "data": data, "sig": sig})
    assert await checked.json() == {"valid": True}


@pytest.mark.parametrize("state", ["disabled", "verify-only"])
async def test_a_key_that_is_not_enabled_does_not_sign(vault, state):
    await make(vault, "ed25519")
    signature = await sign(vault)
    found = await vault.rest.get("/key", params={"alias": "k"})
    kid = (await found.json())["kid"]
    await vault.rest.patch(f"/key/{kid}", json={"state": state})
    assert state in await vault.refused("sign/k", input=INPUT)
    assert state in await vault.refused("hmac/k", input=INPUT)
    if state == "verify-only":
        assert await valid(vault, signature)
    else:
        assert state in await vault.refused("verify/k", input=INPUT, signature=signature)


async def test_a_key_does_only_the_operations_that_it_may(vault):
    body = {"alg": "p256", "alias": "k", "operations": ["verify"]}
    assert (await vault.rest.post("/key/generate", json=body)).status == 200
    assert "may not sign" in await vault.refused("sign/k", input=INPUT)
