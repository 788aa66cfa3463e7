"""Rules of a key hold at the Vault door, for each version of a name."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from minikms_vault import imports

pytestmark = pytest.mark.shared_service

INPUT = base64.b64encode(b"hello").decode()
RAW = {"raw": False}


@pytest.fixture
def ruled(vault):
    """Make a key of a type, then give it rules; gives its kid."""

    async def make(kind, rules, **more):
        await vault.data("POST", "transit/keys/k", {"type": kind, **more})
        async with vault.rest.get("/key", params={"alias": "k"}) as answer:
            kid = (await answer.json())["kid"]
        async with vault.rest.patch(f"/key/{kid}", json={"rules": rules}) as answer:
            assert answer.status == 200, await answer.text()
        return kid

    return make


async def denied(vault, path, rule="raw", **body):
    status, answer = await vault.call("POST", f"transit/{path}", {"input": INPUT, **body})
    assert status == 403, answer
    assert answer["errors"][0].startswith(f"The rule {rule}: ")


async def test_only_allowed_algorithms_sign(vault, ruled):
    await ruled("ecdsa-p256", {"algs": ["ES256"]})
    assert await vault.data("POST", "transit/sign/k", {"input": INPUT})
    # With another hash, the signature has no JOSE name.
    await denied(vault, "sign/k/sha2-512", "algs")
    await denied(vault, "hmac/k", "algs")
    body = {"batch_input": [{"input": INPUT}], "hash_algorithm": "sha2-512"}
    status, answer = await vault.call("POST", "transit/sign/k", body)
    assert status in (200, 400)
    [item] = answer["data"]["batch_results"]
    assert item["error"].startswith("The rule algs: ")


async def test_the_rule_that_refuses_an_item_is_in_the_audit_log(guarded, admin, audit_lines):
    head = {"Authorization": f"Bearer {admin[0]}"}
    body = {"alg": "p256", "alias": "k", "rules": {"algs": ["ES256"]}}
    async with guarded.rest.post("/key/generate", json=body, headers=head) as answer:
        assert answer.status == 200
    body = {"batch_input": [{"input": INPUT}] * 2, "hash_algorithm": "sha2-512"}
    await guarded.call("POST", "transit/sign/k", body, token=admin[0])
    assert audit_lines()[-1]["rule"] == "algs"


FORMS = [
    {"signature_algorithm": "pss"},
    {"signature_algorithm": "pss", "salt_length": "hash"},
    {"signature_algorithm": "pkcs1v15", "hash_algorithm": "sha2-512"},
    {"signature_algorithm": "pkcs1v15", "hash_algorithm": "sha1"},
    {"signature_algorithm": "pkcs1v15", "hash_algorithm": "none", "prehashed": True},
    {"signature_algorithm": "pkcs1v15", "hash_algorithm": "sha3-256", "prehashed": True},
    {"signature_algorithm": "pkcs1v15", "algorithm": "sha2-384", "marshaling_algorithm": "jws"},
]


async def test_no_form_of_a_signature_has_another_algorithm(vault, ruled):
    await ruled("rsa-2048", {"algs": ["RS384"]})
    for form in FORMS:  # with another hash, even if JOSE has a name for it
        await denied(vault, "sign/k", "algs", **form)


async def test_no_setting_of_a_key_ends_its_rules(vault, ruled):
    kid = await ruled("ecdsa-p256", RAW)
    for path, body in (
        ("keys/k/config", {"exportable": True}),
        ("keys/k/config", {"allow_plaintext_backup": True}),
        ("keys/k/config", {"deletion_allowed": True, "rules": {}}),
        ("keys/k", {"type": "ecdsa-p256", "exportable": True}),
        ("keys/k", {"type": "ed25519"}),
        ("keys/k/import", {"type": "ecdsa-p256", "ciphertext": ""}),
        ("restore/k", {"backup": "", "force": True}),
    ):
        await vault.call("POST", f"transit/{path}", body)
        async with vault.rest.get(f"/key/{kid}") as answer:
            key = await answer.json()
        assert (key["rules"], key["exportable"]) == (RAW, False)
        await denied(vault, "sign/k")


async def test_each_version_keeps_the_rules(vault, ruled):
    await ruled("ecdsa-p256", RAW)
    await vault.data("POST", "transit/keys/k/rotate")
    for version in (0, 1, 2):
        await denied(vault, "sign/k", key_version=version)
    await vault.data("POST", "transit/keys/k/config", {"min_encryption_version": 2})
    await denied(vault, "sign/k")


def public_key():
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
async def imported(vault):
    """Import a key as `k`; gives its kid."""
    body = {"type": "ecdsa-p256", "public_key": public_key()}
    assert (await vault.call("POST", "transit/keys/k/import", body))[0] == 204
    return (await latest(vault))["kid"]


async def latest(vault):
    """The key object of the last version of `k`."""
    async with vault.rest.get("/key", params={"alias": "k"}) as answer:
        return await answer.json()


async def give(vault, kid, rules):
    async with vault.rest.patch(f"/key/{kid}", json={"rules": rules}) as answer:
        assert answer.status == 200, await answer.text()


async def import_version(vault):
    body = {"public_key": public_key()}
    return (await vault.call("POST", "transit/keys/k/import_version", body))[0]


async def test_an_imported_version_has_the_rules_of_the_version_before(vault, imported):
    await give(vault, imported, RAW)
    assert await import_version(vault) == 204
    second = await latest(vault)
    assert second["kid"] != imported
    assert second["rules"] == RAW


@pytest.mark.parametrize("before", [None, {"raw": False, "per_day": 9}])
async def test_rules_that_are_set_while_a_version_is_imported_are_not_lost(
    vault, imported, monkeypatch, before
):
    if before is not None:
        await give(vault, imported, before)
    tighter = {"raw": False, "per_day": 5}
    read = imports._source

    async def read_late(*args):
        found = await read(*args)
        await give(vault, imported, tighter)
        return found

    with monkeypatch.context() as turn:
        turn.setattr(imports, "_source", read_late)
        assert await import_version(vault) == 400
    assert (await latest(vault))["kid"] == imported
    assert await import_version(vault) == 204
    assert (await latest(vault))["rules"] == tighter


async def test_a_batch_counts_as_its_items(vault, ruled):
    await ruled("ecdsa-p256", {"per_minute": 5})
    for number, status in ((3, 200), (3, 429), (2, 200), (1, 429)):
        body = {"batch_input": [{"input": INPUT}] * number}
        assert (await vault.call("POST", "transit/sign/k", body))[0] == status
