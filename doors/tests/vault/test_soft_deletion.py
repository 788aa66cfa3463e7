"""A soft-deleted name is refused by each operation with its key, until it is restored."""

import pytest

pytestmark = pytest.mark.shared_service

INPUT = "aGVsbG8="
SAYS = "refusing to use soft-deleted key"
# Each operation: its key, and its body; {} stands for the earlier result of the same key.
USES = {
    "sign": ("ed25519", {"input": INPUT}),
    "sign of a version": ("ed25519", {"input": INPUT, "key_version": 1}),
    "verify": ("ed25519", {"input": INPUT, "signature": "{}"}),
    "encrypt": ("aes256-gcm96", {"plaintext": INPUT}),
    "encrypt of a version": ("aes256-gcm96", {"plaintext": INPUT, "key_version": 1}),
    "decrypt": ("aes256-gcm96", {"ciphertext": "{}"}),
    "rewrap": ("aes256-gcm96", {"ciphertext": "{}"}),
    "hmac": ("aes256-gcm96", {"input": INPUT}),
    "hmac of a version": ("aes256-gcm96", {"input": INPUT, "key_version": 1}),
    "verify of an hmac": ("aes256-gcm96", {"input": INPUT, "hmac": "{}"}),
    "datakey/wrapped": ("aes256-gcm96", {}),
    "datakey/plaintext": ("aes256-gcm96", {}),
}
# The operation that makes the value of a member.
MADE_BY = {
    "signature": ("sign", {"input": INPUT}),
    "ciphertext": ("encrypt", {"plaintext": INPUT}),
    "hmac": ("hmac", {"input": INPUT}),
}


@pytest.mark.parametrize("use", USES)
async def test_no_operation_uses_a_soft_deleted_name(vault, use):
    kind, body = USES[use]
    operation = use.partition(" of ")[0]
    await vault.data("POST", "transit/keys/k", {"type": kind, "exportable": True})
    for member, value in body.items():
        if value == "{}":
            by, given = MADE_BY[member]
            body = {**body, member: (await vault.data("POST", f"transit/{by}/k", given))[member]}
    await vault.data("POST", f"transit/{operation}/k", body)
    await vault.data("DELETE", "transit/keys/k/soft-delete")
    assert await vault.refused(f"{operation}/k", **body) == SAYS
    if not operation.startswith("datakey"):
        status, answer = await vault.call(
            "POST", f"transit/{operation}/k", {"batch_input": [body], **body}
        )
        assert status in (200, 400)
        results = answer.get("data", {}).get("batch_results", [{"error": SAYS}])
        assert [result["error"] for result in results] == [SAYS]
    await vault.data("POST", "transit/keys/k/soft-delete-restore")
    await vault.data("POST", f"transit/{operation}/k", body)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "keys/k/rotate"),
        ("POST", "keys/k/csr"),
        ("POST", "keys/k/set-certificate"),
        ("GET", "export/signing-key/k"),
        ("GET", "export/hmac-key/k"),
        ("GET", "export/public-key/k"),
        ("GET", "export/certificate-chain/k"),
    ],
)
async def test_no_key_of_a_soft_deleted_name_is_shown_or_changed(vault, method, path):
    await vault.data("POST", "transit/keys/k", {"type": "ed25519", "exportable": True})
    await vault.data("DELETE", "transit/keys/k/soft-delete")
    body = {} if method == "POST" else None
    assert await vault.call(method, f"transit/{path}", body) == (400, {"errors": [SAYS]})
