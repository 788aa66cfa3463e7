"""Keys of the Vault door: making, reading, listing, configuring, deleting, export and import."""

import contextlib
import re
import secrets
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientError
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from vault_calls.judge import public_of

from minikms.doors import DoorCall
from minikms.keys import described_keys
from minikms.web.state import SERVICE, STORE
from minikms_vault import imports, keys

pytestmark = pytest.mark.shared_service

# Type, body besides, alg here, encrypts, signs, derives, name of a version.
TYPES = [
    ("aes128-gcm96", {}, "a128gcm", True, False, True, None),
    ("aes256-gcm96", {}, "a256gcm", True, False, True, None),
    ("chacha20-poly1305", {}, "c20p", True, False, True, None),
    ("xchacha20-poly1305", {}, "xc20p", True, False, True, None),
    ("ed25519", {}, "ed25519", False, True, True, "ed25519"),
    ("ecdsa-p256", {}, "p256", False, True, False, "P-256"),
    ("ecdsa-p384", {}, "p384", False, True, False, "P-384"),
    ("ecdsa-p521", {}, "p521", False, True, False, "P-521"),
    ("ecdsa-secp256k1", {}, "k256", False, True, False, "secp256k1"),
    ("rsa-2048", {}, "rsa2048", True, True, False, "rsa-2048"),
    ("hmac", {"key_size": 32}, "hs256", False, False, False, None),
    ("hmac", {"key_size": 48}, "hs384", False, False, False, None),
    ("hmac", {"key_size": 64}, "hs512", False, False, False, None),
    ("mldsa-44", {}, "mldsa44", False, True, False, "mldsa-44"),
    ("mldsa-65", {}, "mldsa65", False, True, False, "mldsa-65"),
    ("mldsa-87", {}, "mldsa87", False, True, False, "mldsa-87"),
]


async def refused(vault, method, path, body=None):
    """The sentence of a call that is refused by 400."""
    status, answer = await vault.call(method, path, body)
    assert status == 400, answer
    (sentence,) = answer["errors"]
    return sentence


async def make(vault, name, kind="ed25519", **body):
    return await vault.data("POST", f"transit/keys/{name}", {"type": kind, **body})


async def record(vault, name):
    """The key at the REST port."""
    answer = await vault.rest.get("/key", params={"alias": name})
    assert answer.status == 200
    return await answer.json()


@pytest.mark.parametrize(("kind", "more", "alg", "encrypts", "signs", "derives", "shown"), TYPES)
async def test_a_key_of_each_type(vault, kind, more, alg, encrypts, signs, derives, shown):
    made = await make(vault, "k", kind, **more)
    keys = made.pop("keys", None)
    assert made == {
        "name": "k",
        "type": kind,
        "derived": False,
        "deletion_allowed": False,
        "min_available_version": 0,
        "min_decryption_version": 1,
        "min_encryption_version": 0,
        "latest_version": 1,
        "exportable": False,
        "allow_plaintext_backup": False,
        "supports_encryption": encrypts,
        "supports_decryption": encrypts,
        "supports_signing": signs,
        "supports_derivation": derives,
        "auto_rotate_period": 0,
        "imported_key": False,
        "soft_deleted": False,
        **more,
    }
    here = await record(vault, "k")
    assert (here["alg"], here["aliases"]) == (alg, ["k"])
    now = datetime.now(UTC)
    if shown is None:
        if kind == "hmac":
            assert keys is None
        else:
            assert abs(keys.pop("1") - now.timestamp()) < 60
            assert keys == {}
    else:
        key = keys.pop("1")
        assert keys == {}
        assert key.keys() == {"name", "public_key", "certificate_chain", "creation_time"}
        assert (key["name"], key["certificate_chain"]) == (shown, "")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", key["creation_time"])
        made_at = datetime.fromisoformat(key["creation_time"][:19] + "+00:00")
        assert abs(made_at - now) < timedelta(minutes=1)
        is_pem = key["public_key"].startswith("-----")
        assert is_pem is not shown.startswith(("ed25519", "mldsa"))
        public_of(key["public_key"])


@pytest.mark.parametrize("number", ["44", "65", "87"])
async def test_the_other_names_of_ml_dsa_make_the_same_type(vault, number):
    own = await make(vault, "own", f"mldsa-{number}")
    named = await make(vault, "named", f"ml-dsa-{number}")
    as_vault = await make(vault, "as-vault", "ml-dsa", parameter_set=number)
    for made in (own, named, as_vault):
        assert made["type"] == made["keys"]["1"]["name"] == f"mldsa-{number}"
    assert (await record(vault, "as-vault"))["alg"] == f"mldsa{number}"


async def test_a_parameter_set_of_another_type_is_ignored_with_a_warning(vault):
    body = {"type": "ed25519", "parameter_set": "44"}
    status, answer = await vault.call("POST", "transit/keys/k", body)
    assert (status, answer["data"]["type"], len(answer["warnings"])) == (200, "ed25519", 1)
    status, answer = await vault.call("POST", "transit/keys/m", {**body, "type": "ml-dsa"})
    assert (status, answer["warnings"]) == (200, None)


async def test_the_default_is_aes256_and_a_key_that_exists_stays(vault):
    first = await vault.data("POST", "transit/keys/k")
    assert first["type"] == "aes256-gcm96"
    again = await make(vault, "k", "ed25519")
    assert again == first
    assert (await vault.call("PUT", "transit/keys/k"))[1]["data"] == first


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"type": "nope"}, "unknown key type nope"),
        ({"type": "managed_key"}, "unknown key type managed_key"),
        ({"type": "ml-dsa"}, "parameter_set is 44, 65 or 87"),
        ({"type": "ml-dsa", "parameter_set": "1"}, "parameter_set is 44, 65 or 87"),
        ({"key_size": 32}, "key_size is not valid for algorithm aes256-gcm96"),
        ({"type": "hmac", "key_size": 3}, "invalid key_size 3"),
        ({"type": "hmac", "key_size": 600}, "invalid key_size 600"),
        ({"type": "hmac", "key_size": 33}, "key_size is 32, 48 or 64"),
        ({"derived": True}, "derived keys are not supported"),
        ({"derived": True, "convergent_encryption": True}, "derived keys are not supported"),
        ({"convergent_encryption": True}, "convergent encryption requires derivation"),
        ({"auto_rotate_period": "1m"}, "auto rotate period must be 0 to disable or at least an"),
        ({"auto_rotate_period": "3651d"}, "auto rotate period must be ten years or less"),
        ({"auto_rotate_period": "soon"}, "auto_rotate_period is not a duration"),
    ],
)
async def test_a_key_that_is_refused(vault, body, sentence):
    assert (await refused(vault, "POST", "transit/keys/k", body)).startswith(sentence)
    assert await vault.call("GET", "transit/keys/k") == (404, {"errors": []})


@pytest.mark.parametrize("period", [0, "0", "", "0s"])
async def test_automatic_rotation_may_be_off(vault, period):
    await vault.data("POST", "transit/keys/k", {"auto_rotate_period": period})


async def test_a_plaintext_backup_is_not_promised(vault):
    for path in ("transit/keys/k", "transit/keys/k/config"):
        body = {"allow_plaintext_backup": True}
        status, answer = await vault.call("POST", path, body)
        assert (status, answer["data"]["allow_plaintext_backup"]) == (200, False)
        assert "minikms store backup" in answer["warnings"][0]
    assert "minikms store backup" in await refused(vault, "GET", "transit/backup/k")
    assert "minikms store backup" in await refused(vault, "POST", "transit/restore/k", {})
    assert (await vault.call("GET", "transit/backup/none"))[0] == 404


async def test_keys_are_listed_by_name(vault):
    assert await vault.call("GET", "transit/keys?list=true") == (404, {"errors": []})
    for name in ("b", "a.1", "c", "a-2"):
        await make(vault, name)
    # Neither are keys of other kinds here, nor names that Vault does not admit.
    await vault.rest.post("/key/generate", json={"alg": "x25519", "alias": "x"})
    await vault.rest.post("/key/generate", json={"alg": "ed25519", "alias": "did:x#1"})
    await vault.rest.post("/key/generate", json={"alg": "ed25519", "alias": "-d"})
    await vault.rest.post("/key/generate", json={"alg": "k256", "alias": "rest"})
    names = ["a-2", "a.1", "b", "c", "rest"]
    assert await vault.data("GET", "transit/keys?list=true") == {"keys": names}
    page = await vault.data("GET", "transit/keys?list=true&after=a.1&limit=2")
    assert page == {"keys": ["b", "c"]}
    assert (await vault.call("GET", "transit/keys?list=true&after=rest"))[0] == 404
    assert (await vault.call("GET", "transit/keys/x"))[0] == 404
    assert (await vault.call("GET", "transit/keys/did:x%231"))[0] == 404
    assert "of a kind that Transit does not have" in await refused(
        vault, "POST", "transit/keys/x", {}
    )


async def test_a_key_is_deleted_once_that_is_allowed(vault):
    made = await make(vault, "k")
    assert await refused(vault, "DELETE", "transit/keys/k") == (
        "error deleting policy k: deletion is not allowed for this key"
    )
    changed = await vault.data("POST", "transit/keys/k/config", {"deletion_allowed": "true"})
    assert changed == {**made, "deletion_allowed": True}
    assert await vault.data("GET", "transit/keys/k") == changed
    assert await vault.call("DELETE", "transit/keys/k") == (204, None)
    assert await vault.call("GET", "transit/keys/k") == (404, {"errors": []})
    assert await refused(vault, "DELETE", "transit/keys/k") == (
        "error deleting policy k: could not delete key; not found"
    )
    assert (await make(vault, "k"))["deletion_allowed"] is False


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("config", "no existing key named none could be found"),
        ("rotate", "key not found"),
        ("trim", "invalid key name"),
    ],
)
async def test_a_change_of_a_key_that_does_not_exist(vault, path, sentence):
    body = {"min_available_version": 2}
    assert await refused(vault, "POST", f"transit/keys/none/{path}", body) == sentence


async def test_a_soft_deleted_key_is_kept_but_not_used(vault):
    made = await make(vault, "k", exportable=True)
    marked = await vault.data("DELETE", "transit/keys/k/soft-delete")
    assert marked == {**made, "soft_deleted": True}
    status, again = await vault.call("DELETE", "transit/keys/k/soft-delete")
    assert (status, again["warnings"]) == (200, ["key was already marked as soft deleted"])
    sentence = "refusing to use soft-deleted key"
    assert await refused(vault, "POST", "transit/keys/k/rotate") == sentence
    assert await refused(vault, "GET", "transit/export/signing-key/k") == sentence
    assert await vault.data("POST", "transit/keys/k/soft-delete-restore") == made
    status, again = await vault.call("POST", "transit/keys/k/soft-delete-restore")
    assert (status, again["warnings"]) == (200, ["key was already restored"])
    await vault.data("POST", "transit/keys/k/rotate")
    for method, path in (("DELETE", "soft-delete"), ("POST", "soft-delete-restore")):
        assert await vault.call(method, f"transit/keys/none/{path}") == (204, None)


async def test_settings_that_the_service_decides(vault):
    for path, data in (("config/keys", {"disable_upsert": False}), ("cache-config", {"size": 0})):
        assert await vault.data("GET", f"transit/{path}") == data
        assert await vault.data("POST", f"transit/{path}", data) == data
    assert "keys:write" in await refused(
        vault, "POST", "transit/config/keys", {"disable_upsert": True}
    )
    status, answer = await vault.call("GET", "transit/cache-config")
    assert (status, len(answer["warnings"])) == (200, 1)


async def test_a_key_cannot_become_exportable(vault):
    await make(vault, "k")
    sentence = "a key that was not made exportable cannot become so"
    path = "transit/keys/k/config"
    assert await refused(vault, "POST", path, {"exportable": True}) == sentence
    await make(vault, "e", exportable=True)
    for exportable in (True, False):
        body = {"exportable": exportable}
        assert (await vault.data("POST", "transit/keys/e/config", body))["exportable"] is True


async def test_another_profile_does_not_have_the_key(vault):
    await vault.rest.post("/profile", json={"name": "other"})
    made = await make(vault, "k")
    status, _ = await vault.call("GET", "transit/keys/k", **{"X-Vault-Namespace": "other"})
    assert status == 404
    other = await vault.call(
        "POST", "transit/keys/k", {"type": "ed25519"}, **{"X-Vault-Namespace": "other"}
    )
    assert other[1]["data"]["keys"] != made["keys"]
    assert await vault.data("GET", "transit/keys/k") == made


# Export


def loaded_private(text):
    return ser.load_pem_private_key(text.encode(), None)


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("ecdsa-p256", "EC PRIVATE KEY"),
        ("ecdsa-p384", "EC PRIVATE KEY"),
        ("ecdsa-p521", "EC PRIVATE KEY"),
        ("ecdsa-secp256k1", "EC PRIVATE KEY"),
        ("rsa-2048", "RSA PRIVATE KEY"),
    ],
)
async def test_key_pairs_are_exported_in_the_forms_of_openbao(vault, kind, label):
    made = await make(vault, "k", kind, exportable=True)

    async def exported(what, form=""):
        data = await vault.data("GET", f"transit/export/{what}/k?format={form}")
        assert (data["name"], data["type"]) == ("k", made["type"])
        return data["keys"]["1"]

    own = await exported("signing-key")
    assert own.startswith(f"-----BEGIN {label}-----\n")
    public = loaded_private(own).public_key()
    text = await exported("public-key")
    assert ser.load_pem_public_key(text.encode()) == public
    assert text.endswith("\n") is own.endswith("\n") is (kind == "rsa-2048")
    assert made["keys"]["1"]["public_key"] == f"{text.rstrip()}\n"
    pkcs8 = await exported("signing-key", "pem")
    assert pkcs8.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert loaded_private(pkcs8).public_key() == public
    der = ser.load_der_private_key(b64decode(await exported("signing-key", "der")), None)
    assert der.public_key() == public
    assert ser.load_der_public_key(b64decode(await exported("public-key", "der"))) == public
    for what in ("signing-key", "public-key"):
        sentence = await refused(vault, "GET", f"transit/export/{what}/k?format=raw")
        assert sentence.startswith("unknown key format for")
    sentence = await refused(vault, "GET", "transit/export/certificate-chain/k")
    assert sentence == "selected key version does not have a certificate chain imported"


@pytest.mark.parametrize("number", ["44", "65", "87"])
async def test_ml_dsa_is_exported_as_its_seed_or_in_der_or_pem(vault, number):
    made = await make(vault, "k", f"mldsa-{number}", exportable=True)
    shown = made["keys"]["1"]["public_key"]

    async def exported(what, form):
        data = await vault.data("GET", f"transit/export/{what}/k?format={form}")
        return data["keys"]["1"]

    for form in ("", "raw"):
        seed = b64decode(await exported("signing-key", form), validate=True)
        assert len(seed) == 32
        assert await exported("public-key", form) == shown
    of_pem = loaded_private(await exported("signing-key", "pem"))
    der = b64decode(await exported("signing-key", "der"))
    for key in (of_pem, ser.load_der_private_key(der, None)):
        assert key.private_bytes_raw() == seed
        assert key.public_key() == public_of(shown)
    public = ser.load_der_public_key(b64decode(await exported("public-key", "der")))
    assert public == public_of(shown) == public_of(await exported("public-key", "pem"))


async def test_ed25519_is_exported_raw_or_as_pkcs8(vault):
    made = await make(vault, "k", exportable=True)
    public = made["keys"]["1"]["public_key"]
    for form in ("", "raw"):
        data = await vault.data("GET", f"transit/export/signing-key/k?format={form}")
        own = b64decode(data["keys"]["1"])
        data = await vault.data("GET", f"transit/export/public-key/k?format={form}")
        assert data["keys"] == {"1": public}
        assert own[32:] == b64decode(public)
        key = ed25519.Ed25519PrivateKey.from_private_bytes(own[:32])
        assert key.public_key().public_bytes_raw() == own[32:]
    data = await vault.data("GET", "transit/export/signing-key/k?format=pem")
    assert loaded_private(data["keys"]["1"]).private_bytes_raw() == own[:32]
    assert not data["keys"]["1"].endswith("\n")


@pytest.mark.parametrize(
    ("kind", "what", "size"),
    [
        ("aes128-gcm96", "encryption-key", 16),
        ("aes256-gcm96", "encryption-key", 32),
        ("chacha20-poly1305", "encryption-key", 32),
        ("xchacha20-poly1305", "encryption-key", 32),
        ("hmac", "hmac-key", 32),
        ("aes256-gcm96", "hmac-key", 32),
        ("ecdsa-p256", "hmac-key", 32),
    ],
)
async def test_secrets_are_exported(vault, kind, what, size):
    await make(vault, "k", kind, exportable=True)
    first = (await vault.data("GET", f"transit/export/{what}/k"))["keys"]["1"]
    assert len(b64decode(first, validate=True)) == size
    await vault.data("POST", "transit/keys/k/rotate")
    both = (await vault.data("GET", f"transit/export/{what}/k?format=raw"))["keys"]
    assert both.keys() == {"1", "2"}
    assert both["1"] == first != both["2"]
    sentence = await refused(vault, "GET", f"transit/export/{what}/k?format=der")
    assert sentence == "unknown format for HMAC key; supported values are `` or `raw`"


async def test_versions_are_exported_by_number(vault):
    await make(vault, "k", "aes256-gcm96", exportable=True)
    for _ in range(2):
        await vault.data("POST", "transit/keys/k/rotate")
    path = "transit/export/encryption-key/k"
    every = (await vault.data("GET", path))["keys"]
    assert list(every) == ["1", "2", "3"]
    for version, number in (("2", "2"), ("v2", "2"), ("latest", "3")):
        assert (await vault.data("GET", f"{path}/{version}"))["keys"] == {number: every[number]}
    await vault.data("POST", "transit/keys/k/config", {"min_decryption_version": 2})
    assert list((await vault.data("GET", path))["keys"]) == ["2", "3"]
    for version, sentence in (
        ("1", "version for export is below minimum decryption version"),
        ("4", "version does not exist or cannot be found"),
        ("x", "invalid key version"),
    ):
        assert await refused(vault, "GET", f"{path}/{version}") == sentence


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("bogus/k", "invalid export type: bogus"),
        ("signing-key/k?format=x", "invalid format: x"),
        ("encryption-key/k", "encryption not supported for the key"),
        ("signing-key/a", "signing not supported for the key"),
        ("public-key/a", "unknown key type aes256-gcm96 for export type public-key"),
        ("certificate-chain/a", "certificate chain not supported for keys that do not support"),
        ("signing-key/fixed", "private key material is not exportable"),
        ("hmac-key/fixed", "private key material is not exportable"),
    ],
)
async def test_an_export_that_is_refused(vault, path, sentence):
    await make(vault, "k", exportable=True)
    await make(vault, "a", "aes256-gcm96", exportable=True)
    await make(vault, "fixed")
    assert (await refused(vault, "GET", f"transit/export/{path}")).startswith(sentence)
    assert await vault.call("GET", "transit/export/signing-key/none") == (404, {"errors": []})
    await vault.data("GET", "transit/export/public-key/fixed")


# Import


@pytest.fixture
async def wrapped(vault):
    """Wrap a key as `bao transit import` does."""
    text = (await vault.data("GET", "transit/wrapping_key"))["public_key"]
    public = ser.load_pem_public_key(text.encode())
    assert public.key_size == 4096

    def wrap(material, digest=None):
        digest = digest or hashes.SHA256()
        aes_key = secrets.token_bytes(32)
        oaep = padding.OAEP(padding.MGF1(digest), digest, None)
        whole = public.encrypt(aes_key, oaep)
        whole += keywrap.aes_key_wrap_with_padding(aes_key, material)
        return b64encode(whole).decode()

    return wrap


def pkcs8(key):
    return key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption())


def keys_to_import():
    return {
        "ecdsa-p256": ec.generate_private_key(ec.SECP256R1()),
        "ecdsa-secp256k1": ec.generate_private_key(ec.SECP256K1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "rsa-2048": rsa.generate_private_key(65537, 2048),
        "mldsa-65": mldsa.MLDSA65PrivateKey.generate(),
    }


@pytest.mark.timeout(120)  # makes an RSA key of 4,096 bits
async def test_keys_of_each_kind_are_imported(vault, wrapped):
    for kind, key in keys_to_import().items():
        body = {"type": kind, "ciphertext": wrapped(pkcs8(key)), "exportable": True}
        assert await vault.call("POST", f"transit/keys/{kind}/import", body) == (204, None)
        data = await vault.data("GET", f"transit/keys/{kind}")
        assert (data["type"], data["imported_key"]) == (kind, True)
        assert data["imported_key_allow_rotation"] is False
        exported = await vault.data("GET", f"transit/export/signing-key/{kind}?format=der")
        assert b64decode(exported["keys"]["1"]) == pkcs8(key)
        sentence = await refused(vault, "POST", f"transit/keys/{kind}/rotate")
        assert sentence == f"imported key {kind} does not allow rotation within Vault"
        schedule = {"auto_rotate_period": "24h"}
        path = f"transit/keys/{kind}/config"
        assert await refused(vault, "POST", path, schedule) == sentence
    # An older name takes the parameter set of the key; a type of OpenBao has its own alone.
    key = keys_to_import()["mldsa-65"]
    body = {"type": "ml-dsa", "ciphertext": wrapped(pkcs8(key))}
    assert await vault.call("POST", "transit/keys/ml-dsa/import", body) == (204, None)
    assert (await vault.data("GET", "transit/keys/ml-dsa"))["type"] == "mldsa-65"
    await refused(vault, "POST", "transit/keys/wrong/import", {**body, "type": "mldsa-44"})
    for kind, size in (("aes256-gcm96", 32), ("chacha20-poly1305", 32), ("hmac", 48)):
        secret = secrets.token_bytes(size)
        body = {"type": kind, "ciphertext": wrapped(secret), "exportable": True}
        assert await vault.call("POST", f"transit/keys/{kind}/import", body) == (204, None)
        what = "hmac-key" if kind == "hmac" else "encryption-key"
        exported = await vault.data("GET", f"transit/export/{what}/{kind}")
        assert b64decode(exported["keys"]["1"]) == secret
    # Nobody sees the wrapping key here, and nobody but this door may rename it.
    listed = (await vault.data("GET", "transit/keys?list=true"))["keys"]
    assert [name for name in listed if "wrapping" in name] == []
    assert (await vault.call("GET", "transit/keys/vault:wrapping-key"))[0] == 404


@pytest.mark.timeout(120)  # makes an RSA key of 4,096 bits
async def test_nobody_uses_the_wrapping_key_elsewhere(vault, wrapped):
    sealed = b64decode(wrapped(secrets.token_bytes(32)))[:512]
    ciphertext = b64encode(sealed).decode().translate(str.maketrans("+/", "-_"))
    async with vault.rest.get("/key?alias=vault:wrapping-key") as response:
        record = await response.json()
    kid = record["kid"]
    assert record["operations"] == []
    await vault.rest.post(f"/key/{kid}/associate", json={"alias": "mine"})
    for by in ({"alias": "vault:wrapping-key"}, {"kid": kid}, {"alias": "mine"}):
        async with vault.rest.post("/decrypt", json={**by, "ciphertext": ciphertext}) as response:
            assert (await response.json())["type"].endswith("unsupported-operation")
    wrong = {"ciphertext": f"vault:v1:{b64encode(sealed).decode()}"}
    assert "may not decrypt" in await refused(vault, "POST", "transit/decrypt/mine", wrong)
    # The wrapping key can be deleted: the door makes another.
    async with vault.rest.delete(f"/key/{kid}") as response:
        assert response.status == 200
    assert (await vault.data("GET", "transit/wrapping_key"))["public_key"]


@pytest.mark.timeout(120)  # makes an RSA key of 4,096 bits
async def test_versions_are_imported(vault, wrapped):
    first, second = keys_to_import()["ecdsa-p256"], keys_to_import()["ecdsa-p256"]
    body = {"type": "ecdsa-p256", "ciphertext": wrapped(pkcs8(first)), "allow_rotation": True}
    assert await vault.call("POST", "transit/keys/k/import", body) == (204, None)
    again = {"ciphertext": wrapped(pkcs8(second))}
    assert await vault.call("POST", "transit/keys/k/import_version", again) == (204, None)
    data = await vault.data("GET", "transit/keys/k")
    assert (data["latest_version"], data["imported_key_allow_rotation"]) == (2, True)
    for number, key in (("1", first), ("2", second)):
        shown = ser.load_pem_public_key(data["keys"][number]["public_key"].encode())
        assert shown == key.public_key()
    rotated = await vault.data("POST", "transit/keys/k/rotate")
    assert (rotated["latest_version"], rotated["imported_key"]) == (3, False)
    assert "imported_key_allow_rotation" not in rotated
    path = "transit/keys/k/import_version"
    assert "only be used with an imported key" in await refused(vault, "POST", path, again)
    await make(vault, "made")
    for name, sentence in (
        ("made", "the import_version endpoint can only be used with an imported key"),
        ("none", "no key found with name none; to import a new key, use the import/ endpoint"),
    ):
        path = f"transit/keys/{name}/import_version"
        assert await refused(vault, "POST", path, again) == sentence
    body["ciphertext"] = wrapped(pkcs8(keys_to_import()["ecdsa-p256"]))
    sentence = await refused(vault, "POST", "transit/keys/k/import", body)
    assert sentence.startswith("the import path cannot be used with an existing key")


@pytest.mark.timeout(120)  # makes an RSA key of 4,096 bits
@pytest.mark.parametrize("kind", ["ecdsa-p256", "aes256-gcm96"])
@pytest.mark.parametrize("exportable", [None, False, True])
async def test_an_imported_name_leaves_only_if_it_was_imported_so(vault, wrapped, kind, exportable):
    """The first version decides for all later ones, whatever their bodies say."""

    def material():
        if kind == "aes256-gcm96":
            return wrapped(secrets.token_bytes(32))
        return wrapped(pkcs8(ec.generate_private_key(ec.SECP256R1())))

    body = {"type": kind, "ciphertext": material(), "allow_rotation": True}
    given = {} if exportable is None else {"exportable": exportable}
    assert (await vault.call("POST", "transit/keys/k/import", {**body, **given}))[0] == 204
    for said in ({}, {"exportable": not exportable}):
        again = {"ciphertext": material(), **said}
        assert (await vault.call("POST", "transit/keys/k/import_version", again))[0] == 204
    assert (await vault.data("GET", "transit/keys/k"))["exportable"] is bool(exportable)
    listed = await (await vault.rest.get("/keys")).json()
    alg = {"ecdsa-p256": "p256", "aes256-gcm96": "a256gcm"}[kind]
    assert [key["exportable"] for key in listed if key["alg"] == alg] == [bool(exportable)] * 3
    what = "signing-key" if kind == "ecdsa-p256" else "encryption-key"
    for version in ("", "/1", "/2", "/3"):
        path = f"transit/export/{what}/k{version}"
        if exportable:
            assert (await vault.data("GET", path))["keys"]
        else:
            assert await refused(vault, "GET", path) == "private key material is not exportable"


async def test_an_imported_key_of_an_older_version_stays_imported(vault):
    """The key's label says so, but its record may not."""
    body = {"alg": "ed25519", "alias": "k", "labels": {"vault%3Aimported": "rotatable"}}
    assert (await vault.rest.post("/key/generate", json=body)).status == 200
    for _ in range(2):
        data = await vault.data("GET", "transit/keys/k")
        assert (data["imported_key"], data["imported_key_allow_rotation"]) == (True, True)
        await vault.data("POST", "transit/keys/k/rotate")


@pytest.mark.timeout(120)  # makes an RSA key of 4,096 bits
async def test_an_imported_key_has_its_period_in_one_transaction(
    vault, wrapped, monkeypatch, clock
):
    texts = [wrapped(pkcs8(ec.generate_private_key(ec.SECP256R1()))) for _ in range(2)]
    app = vault.rest.app
    monkeypatch.setattr(app[STORE], "change", None)
    monkeypatch.setattr(app[STORE].aliases, "change_versions", None)
    body = {"type": "ecdsa-p256", "auto_rotate_period": "1h", "allow_rotation": True}
    path = "transit/keys/k/import"
    assert await vault.call("POST", path, {**body, "ciphertext": texts[0]}) == (204, None)
    again = {"ciphertext": texts[1]}
    assert await vault.call("POST", f"{path}_version", again) == (204, None)
    data = await vault.data("GET", "transit/keys/k")
    assert (data["latest_version"], data["auto_rotate_period"]) == (2, 3600)
    # The schedule belongs to the name: the first version no longer has it.
    clock(3660)
    await app[SERVICE].sweep()
    assert (await vault.data("GET", "transit/keys/k"))["latest_version"] == 3
    listed = await (await vault.rest.get("/keys")).json()
    assert [key.get("rotate_every") for key in listed if key["alg"] == "p256"] == [None, None, 3600]
    # A public key alone is not rotated, nor imported to be.
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()
    for name in ("k/import_version", "public/import"):
        await refused(vault, "POST", f"transit/keys/{name}", {**body, "public_key": pem})
    assert (await vault.data("GET", "transit/keys/k"))["latest_version"] == 3
    assert (await vault.call("GET", "transit/keys/public"))[0] == 404


async def test_a_public_key_is_imported(vault):
    for name, said in (("k", {}), ("free", {"allow_rotation": True})):
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        pem = key.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()
        body = {"type": "ecdsa-p256", "public_key": pem, **said}
        assert await vault.call("POST", f"transit/keys/{name}/import", body) == (204, None)
        data = await vault.data("GET", f"transit/keys/{name}")
        assert data["keys"]["1"]["public_key"] == pem
        assert (data["imported_key"], data["imported_key_allow_rotation"]) == (True, bool(said))
    key = mldsa.MLDSA44PrivateKey.generate().public_key()
    pem_of_set = key.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()
    body = {"type": "mldsa-44", "public_key": pem_of_set}
    assert await vault.call("POST", "transit/keys/ml/import", body) == (204, None)
    data = await vault.data("GET", "transit/keys/ml")
    assert public_of(data["keys"]["1"]["public_key"]) == key
    await refused(vault, "POST", "transit/keys/a/import", {**body, "type": "mldsa-65"})
    body = {"type": "aes256-gcm96", "public_key": pem}
    sentence = await refused(vault, "POST", "transit/keys/a/import", body)
    assert sentence == "provided type does not support public_key import"
    body = {"type": "ed25519", "public_key": "x"}
    assert "not in PEM" in await refused(vault, "POST", "transit/keys/a/import", body)


@pytest.mark.timeout(120)  # makes an RSA key of 4,096 bits
async def test_an_import_that_is_refused(vault, wrapped):
    p256 = keys_to_import()["ecdsa-p256"]
    for body, sentence in (
        ({"ciphertext": "AAAA"}, "provided ciphertext is too short"),
        ({"ciphertext": "!"}, "illegal base64 data in ciphertext"),
        ({"ciphertext": b64encode(bytes(600)).decode()}, "the ciphertext is not for the wrapping"),
        ({"ciphertext": wrapped(b"x" * 32)[:-8] + "AAAAAAA="}, "the key that the ciphertext wraps"),
        ({"ciphertext": "AAAA", "hash_function": "SHA1"}, "hash_function SHA1 is not supported"),
        ({"ciphertext": wrapped(b"x" * 31)}, "A a256gcm key must have 32 bytes."),
        ({"type": "ed25519", "ciphertext": wrapped(b"x")}, "error parsing asymmetric key"),
        ({"type": "ed25519", "ciphertext": wrapped(pkcs8(p256))}, ""),
        ({"type": "nope", "ciphertext": "AAAA"}, "unknown key type nope"),
        ({"type": "hmac", "ciphertext": wrapped(b"x" * 33)}, "key_size is 32, 48 or 64"),
        ({"derived": True}, "derived keys are not supported"),
        ({"convergent_encryption": False}, "import cannot be used on keys with convergent"),
    ):
        found = await refused(vault, "POST", "transit/keys/k/import", body)
        assert found.startswith(sentence)
    assert (await vault.call("GET", "transit/keys/k"))[0] == 404


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("DELETE", "keys/k/soft-delete"), "refusing to use soft-deleted key"),
        (("DELETE", "keys/k"), "no key found with name k; to import a new key"),
    ],
    ids=["soft-delete", "delete"],
)
async def test_a_name_that_changes_while_a_version_is_read_is_checked_again(
    vault, monkeypatch, change, sentence
):
    def public():
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        pem = key.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()
        return {"type": "ecdsa-p256", "public_key": pem}

    assert await vault.call("POST", "transit/keys/k/import", public()) == (204, None)
    await vault.data("POST", "transit/keys/k/config", {"deletion_allowed": True})
    read = imports._source

    async def source(call, body, kind):
        found = await read(call, body, kind)
        method, path = change
        assert (await vault.call(method, f"transit/{path}"))[0] in (200, 204)
        return found

    monkeypatch.setattr(imports, "_source", source)
    refusal = await refused(vault, "POST", "transit/keys/k/import_version", public())
    assert refusal.startswith(sentence)
    async with vault.rest.get("/keys") as response:
        assert len(await response.json()) == (change == ("DELETE", "keys/k/soft-delete"))


@pytest.mark.parametrize(
    "change",
    [{"rules": {"raw": False}}, {"rotate_every": 7200}, {"labels": {"vault%3Aimported": "fixed"}}],
    ids=lambda change: min(change),
)
async def test_settings_that_change_while_a_version_is_read_are_not_lost(
    vault, wrapped, monkeypatch, change
):
    """The new version would have the old ones; the caller may try again."""

    def private():
        key = ec.generate_private_key(ec.SECP256R1())
        return {"type": "ecdsa-p256", "ciphertext": wrapped(pkcs8(key)), "allow_rotation": True}

    bodies = [private() for _ in range(3)]
    assert await vault.call("POST", "transit/keys/k/import", bodies[0]) == (204, None)
    read = imports._source

    async def source(call, body, kind):
        found = await read(call, body, kind)
        kid = (await record(vault, "k"))["kid"]
        async with vault.rest.patch(f"/key/{kid}", json=change) as response:
            assert response.status == 200, await response.text()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(imports, "_source", source)
        path = "transit/keys/k/import_version"
        assert await refused(vault, "POST", path, bodies[1]) == "the key k was replaced meanwhile"
    assert await vault.call("POST", path, bodies[2]) == (204, None)
    now = await record(vault, "k")
    (name, value) = next(iter(change.items()))
    assert now[name] == value
    assert (await vault.data("GET", "transit/keys/k"))["latest_version"] == 2


@pytest.mark.parametrize("bound", ["MAX_NAMES", "MAX_NAME_BYTES"])
async def test_a_listing_is_bounded_and_continues_after_the_last_name(vault, monkeypatch, bound):
    names = [f"{number:02d}" for number in range(20)]
    for place in range(20):
        await make(vault, names[7 * place % 20])
    monkeypatch.setattr(keys, bound, {"MAX_NAMES": 6, "MAX_NAME_BYTES": 12}[bound])
    monkeypatch.setattr(described_keys, "_PAGE", 3)
    listed, path = [], "transit/keys?list=true"
    while len(listed) < len(names):
        after = f"&after={listed[-1]}" if listed else ""
        _, answer = await vault.call("GET", path + after)
        listed += answer["data"]["keys"]
        assert (answer["warnings"] is None) == (len(listed) == len(names))
    assert listed == names
    _, answer = await vault.call("GET", f"{path}&limit=5")
    assert (answer["data"]["keys"], answer["warnings"]) == (names[:5], None)
    _, answer = await vault.call("GET", f"{path}&limit=7")
    assert (answer["data"]["keys"], len(answer["warnings"])) == (names[:6], 1)


async def test_a_listing_ends_when_its_caller_is_gone(vault, monkeypatch):
    for name in "abcdef":
        await make(vault, name)
    monkeypatch.setattr(described_keys, "_PAGE", 2)
    checked = []

    def presence(self):
        def check():
            checked.append(self.request.path)
            if len(checked) == 2:
                raise ConnectionResetError

        return check

    monkeypatch.setattr(DoorCall, "presence", presence)
    with contextlib.suppress(ClientError):
        await vault.call("LIST", "transit/keys")  # which the client does not repeat
    assert len(checked) == 2
