"""Batches: the result or the error of each item, in order, with its reference."""

import base64

import pytest

from minikms.store.keys.key_store import KeyStore
from minikms_vault.performing import MAX_ITEMS

HELLO, BYE = (base64.b64encode(each).decode() for each in (b"hello", b"bye"))


@pytest.fixture
async def keys(vault):
    for kind in ("ed25519", "ecdsa-p256", "aes256-gcm96", "rsa-2048", "hmac"):
        await vault.data("POST", f"transit/keys/{kind}", {"type": kind})
    return vault


async def batch(vault, path, *items, status=200, **more):
    found, answer = await vault.call("POST", f"transit/{path}", {"batch_input": items, **more})
    assert found == status, answer
    results = answer["data"]["batch_results"]
    assert len(results) == len(items)
    assert [each["reference"] for each in results] == [each.get("reference", "") for each in items]
    return results


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256", "rsa-2048"])
async def test_wrong_items_do_not_keep_others_from_being_signed_and_verified(keys, kind):
    wrong = [{"input": "***", "reference": "r"}, {}, {"input": "", "context": "***"}]
    first, *failed, last = await batch(
        keys, f"sign/{kind}", {"input": HELLO, "reference": "a"}, *wrong, {"input": BYE}
    )
    assert [each["key_version"] for each in (first, last)] == [1, 1]
    assert [each.keys() for each in failed] == [{"error", "key_version", "reference"}] * 3
    assert [each["key_version"] for each in failed] == [0] * 3
    one, other = first["signature"], last["signature"]
    results = await batch(
        keys,
        f"verify/{kind}",
        {"input": HELLO, "signature": one, "reference": "b"},
        {"input": BYE, "signature": one},
        {"input": BYE, "signature": other},
        {"input": BYE, "signature": "vault:v9:AAAA"},
        {"signature": one},
    )
    assert [each["valid"] for each in results] == [True, False, True, False, False]
    assert ["error" in each for each in results] == [False, False, False, True, True]


async def test_wrong_items_do_not_keep_others_from_having_macs(keys):
    one, *failed = await batch(
        keys, "hmac/hmac", {"input": HELLO, "reference": "r"}, {}, {"input": "***"}
    )
    assert [each.keys() for each in failed] == [{"error", "reference"}] * 2
    results = await batch(
        keys,
        "verify/hmac",
        {"input": HELLO, "hmac": one["hmac"]},
        {"input": BYE, "hmac": one["hmac"], "reference": "r"},
        {"input": BYE, "hmac": "x"},
        {"hmac": one["hmac"]},
    )
    assert results[0] == {"valid": True, "reference": ""}
    assert results[1] == {"reference": "r"}  # as in Vault
    assert [each.keys() for each in results[2:]] == [{"error", "reference"}] * 2


async def test_ciphertexts_of_several_versions(keys):
    one, other = await batch(
        keys,
        "encrypt/aes256-gcm96",
        {"plaintext": HELLO},
        {"plaintext": BYE, "associated_data": "YQ==", "reference": "r"},
    )
    await keys.call("POST", "transit/keys/aes256-gcm96/rotate")
    newer, older = await batch(
        keys,
        "encrypt/aes256-gcm96",
        {"plaintext": HELLO},
        {"plaintext": BYE, "key_version": 1},
    )
    assert (newer["key_version"], older["key_version"]) == (2, 1)
    opened = await batch(
        keys,
        "decrypt/aes256-gcm96",
        {"ciphertext": newer["ciphertext"], "reference": "n"},
        {"ciphertext": one["ciphertext"]},
        {"ciphertext": other["ciphertext"], "associated_data": "YQ=="},
        {"ciphertext": older["ciphertext"]},
    )
    assert [each["plaintext"] for each in opened] == [HELLO, HELLO, BYE, BYE]
    again = await batch(
        keys,
        "rewrap/aes256-gcm96",
        {"ciphertext": one["ciphertext"], "reference": "w"},
        {"ciphertext": older["ciphertext"], "key_version": 1},
        {"ciphertext": other["ciphertext"]},
        {"ciphertext": "x"},
        {},
    )
    assert [each.get("key_version") for each in again] == [2, 1, None, None, None]
    assert ["error" in each for each in again] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("code", "status", "warned"), [(None, 400, 0), (207, 207, 0), (700, 400, 1), (100, 400, 1)]
)
async def test_a_bad_item_of_encryption_decides_the_status(keys, code, status, warned):
    more = {} if code is None else {"partial_failure_response_code": code}
    items = [{"plaintext": HELLO, "reference": "r"}, {"plaintext": "***"}]
    found, answer = await keys.call(
        "POST", "transit/encrypt/aes256-gcm96", {"batch_input": items, **more}
    )
    assert (found, len(answer["warnings"] or ())) == (status, warned)
    good, bad = answer["data"]["batch_results"]
    assert bad.keys() == {"error", "reference"}
    sealed = [{"ciphertext": good["ciphertext"]}, {"ciphertext": "x"}, {"ciphertext": ""}]
    opened = await batch(keys, "decrypt/aes256-gcm96", *sealed, status=status, **more)
    assert [each["plaintext"] for each in opened] == [HELLO, "", ""]


async def test_the_status_is_400_if_no_item_succeeds(keys):
    more = {"partial_failure_response_code": 207}
    await batch(keys, "encrypt/aes256-gcm96", {"plaintext": "***"}, status=400, **more)


@pytest.mark.parametrize("path", ["sign/ed25519", "hmac/hmac", "encrypt/aes256-gcm96"])
@pytest.mark.parametrize(
    "value", [[], "x", {}, ["x"], [17], 1, [{"input": "", "plaintext": ""}] * (MAX_ITEMS + 1)]
)
async def test_a_wrong_batch_is_refused_as_a_whole(keys, path, value):
    status, answer = await keys.call("POST", f"transit/{path}", {"batch_input": value})
    assert status == 400
    assert answer.keys() == {"errors"}


@pytest.mark.parametrize(
    "items",
    [
        [{"input": ""}],
        [{"input": "", "hmac": "x"}, {"input": "", "signature": "x"}],
        [{"input": "", "hmac": "x"}, {"input": ""}],
        [{"input": "", "signature": "x"}, {"input": ""}],
    ],
)
async def test_a_batch_to_verify_has_one_kind(keys, items):
    status, answer = await keys.call("POST", "transit/verify/ed25519", {"batch_input": items})
    assert (status, answer.keys()) == (400, {"errors"})


@pytest.mark.parametrize("path", ["encrypt", "decrypt"])
async def test_a_batch_without_the_text_of_an_item_is_refused(keys, path):
    items = [{"reference": "r"}]
    status, answer = await keys.call("POST", f"transit/{path}/aes256-gcm96", {"batch_input": items})
    assert (status, answer.keys()) == (400, {"errors"})


async def test_a_batch_of_a_wrong_version_fails_item_by_item(keys):
    results = await batch(keys, "sign/ed25519", {"input": ""}, {"input": ""}, key_version=7)
    assert ["higher than the latest" in each["error"] for each in results] == [True, True]


async def test_a_batch_finds_its_key_once(start_vault, monkeypatch):
    vault = await start_vault(cache_size=0)
    await vault.data("POST", "transit/keys/k", {"type": "ed25519"})
    opened, original = [], KeyStore.open_key

    async def open_key(self, *args):
        opened.append(args)
        return await original(self, *args)

    monkeypatch.setattr(KeyStore, "open_key", open_key)
    await batch(vault, "sign/k", *[{"input": HELLO}] * 50)
    assert len(opened) == 1


@pytest.mark.parametrize("path", ["sign/gone", "hmac/gone"])
async def test_the_items_of_a_key_that_was_deleted_fail(keys, path):
    await keys.data("POST", "transit/keys/gone", {"type": "ed25519"})
    await keys.call("POST", "transit/keys/gone/rotate")
    every = await (await keys.rest.get("/keys", params={"alg": "ed25519"})).json()
    [old] = [key["kid"] for key in every if not key["aliases"]]
    assert (await keys.rest.delete(f"/key/{old}")).status == 200
    [result] = await batch(keys, path, {"input": HELLO}, key_version=1)
    assert "error" in result


async def test_the_items_of_a_version_that_is_disabled_fail_alone(keys):
    sealed = [(await batch(keys, "encrypt/aes256-gcm96", {"plaintext": HELLO}))[0]["ciphertext"]]
    async with keys.rest.get("/key", params={"alias": "aes256-gcm96"}) as response:
        old = (await response.json())["kid"]
    await keys.call("POST", "transit/keys/aes256-gcm96/rotate")
    sealed += [(await batch(keys, "encrypt/aes256-gcm96", {"plaintext": BYE}))[0]["ciphertext"]]
    assert (await keys.rest.patch(f"/key/{old}", json={"state": "disabled"})).status == 200
    items = [{"ciphertext": each} for each in (*sealed, *sealed)]
    more = {"partial_failure_response_code": 207, "status": 207}
    results = await batch(keys, "decrypt/aes256-gcm96", *items, **more)
    assert [each["plaintext"] for each in results] == ["", BYE, "", BYE]
    assert [each.get("error") for each in results] == ["The key is disabled.", None] * 2
    again = await batch(keys, "rewrap/aes256-gcm96", *items)
    assert ["error" in each for each in again] == [True, False] * 2


async def test_the_line_of_a_batch_says_how_many_items_failed(start_vault, audit_lines, tmp_path):
    vault = await start_vault(audit_log=str(tmp_path / "audit.log"))
    for kind in ("ed25519", "aes256-gcm96"):
        await vault.data("POST", f"transit/keys/{kind}", {"type": kind})
    right, wrong = {"input": HELLO}, {"input": "?"}
    await batch(vault, "sign/ed25519", right, right)
    await batch(vault, "sign/ed25519", right, wrong, wrong)
    await batch(vault, "sign/ed25519", wrong, wrong)
    sealed = (await batch(vault, "encrypt/aes256-gcm96", {"plaintext": HELLO}))[0]["ciphertext"]
    right, wrong = {"ciphertext": sealed}, {"ciphertext": "vault:v1:AAAA"}
    for status, *items in ((400, right, wrong), (400, wrong, wrong)):
        await batch(vault, "decrypt/aes256-gcm96", *items, status=status)
    await batch(vault, "rewrap/aes256-gcm96", right, wrong)
    found = [(line["outcome"] == "success", line.get("batch")) for line in audit_lines()[2:]]
    assert found == [
        (True, None),
        (True, {"items": 3, "failed": 2}),
        (False, {"items": 2, "failed": 2}),
        (True, None),
        (True, {"items": 2, "failed": 1}),
        (False, {"items": 2, "failed": 2}),
        (True, {"items": 2, "failed": 1}),
    ]


async def test_the_line_of_a_batch_that_made_its_key_says_how_many_items_failed(
    start_vault, audit_lines, tmp_path
):
    """The key's own line is written before the items are encrypted."""
    vault = await start_vault(audit_log=str(tmp_path / "audit.log"))
    await batch(vault, "encrypt/new", {"plaintext": HELLO}, {"plaintext": "***"}, status=400)
    found = [(line["operation"], line["outcome"], line.get("batch")) for line in audit_lines()]
    line = "vault:encrypt", "success"
    assert found == [(*line, None), (*line, {"items": 2, "failed": 1})]
