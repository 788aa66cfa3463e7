"""HMACs, hashes and random bytes."""

from vault_calls.call import BYE, HELLO, post

_HASHES = ("sha2-224", "sha2-256", "sha2-384", "sha2-512", "sha3-224", "sha3-256", "sha3-512")


def mac(path, options=None):
    """Compute an HMAC, and verify it; then verify it for another input."""
    options = options or {}
    return [
        post(f"hmac/{path}", {"input": HELLO, **options}, keep={"mac": "data.hmac"}),
        post(f"verify/{path}", {"input": HELLO, "hmac": "{mac}", **options}),
        post(f"verify/{path}", {"input": BYE, "hmac": "{mac}", **options}),
    ]


GROUPS = {
    "hmac": [
        post("keys/h", {"type": "hmac", "key_size": 32, "exportable": True}),
        *mac("h"),
        *(call for name in _HASHES for call in mac(f"h/{name}")),
        post("hmac/h", {"input": HELLO, "algorithm": "sha2-512"}),
        post("hmac/h", {}, says="missing input"),
        post("hmac/h", {"input": "***"}, says="base64"),
        post("hmac/h/md5", {"input": HELLO}, says="algorithm"),
        post("hmac/h", {"input": HELLO, "key_version": 2}),
        post("hmac/h-none", {"input": HELLO}, says="encryption key not found"),
        post(
            "verify/h-none",
            {"input": HELLO, "hmac": "vault:v1:AAAA"},
            says="encryption key not found",
        ),
        post("verify/h", {"input": HELLO, "hmac": "x"}, says="prefix"),
        post("verify/h", {"input": HELLO, "hmac": "vault:v1"}),
        post("verify/h", {"input": HELLO, "hmac": "vault:vx:AAAA"}),
        post("verify/h", {"input": HELLO, "hmac": "vault:v2:AAAA"}, says="too new"),
        post("verify/h", {"input": HELLO, "hmac": "vault:v1:***"}, says="base64"),
        post("verify/h", {"input": HELLO, "hmac": "vault:v1:AAAA"}),
        post("sign/h", {"input": HELLO}, says="does not support signing"),
        post("encrypt/h", {"plaintext": HELLO}),
        post(
            "hmac/h",
            {"batch_input": [{"input": HELLO, "reference": "r"}, {"input": "***"}, {}]},
            keep={"one": "data.batch_results.0.hmac"},
        ),
        post(
            "verify/h",
            {
                "batch_input": [
                    {"input": HELLO, "hmac": "{one}"},
                    {"input": BYE, "hmac": "{one}", "reference": "r"},
                    {"input": BYE, "hmac": "x"},
                ]
            },
        ),
        post("hmac/h", {"batch_input": []}, says="missing batch input"),
        post("keys/h/rotate"),
        post("hmac/h", {"input": HELLO}),
        post("hmac/h", {"input": HELLO, "key_version": 1}),
        post("verify/h", {"input": HELLO, "hmac": "{mac}"}),
    ],
    "hmac of other keys": [
        call
        for kind in ("aes256-gcm96", "ed25519", "ecdsa-p256", "rsa-2048")
        for call in (
            post(f"keys/ho-{kind}", {"type": kind, "exportable": True}),
            *mac(f"ho-{kind}"),
            *mac(f"ho-{kind}/sha2-512"),
            post(f"hmac/ho-{kind}", {"input": HELLO}),
        )
    ],
    "hash": [
        *(post(f"hash/{name}", {"input": HELLO}) for name in _HASHES),
        post("hash", {"input": HELLO}),
        post("hash", {"input": HELLO, "algorithm": "sha2-512", "format": "base64"}),
        post("hash/sha2-256", {"input": HELLO, "format": "hex"}),
        post("hash/sha2-256", {"input": HELLO, "format": "x"}, says="format"),
        post("hash/md5", {"input": HELLO}, says="algorithm"),
        post("hash", {}),
        post("hash", {"input": "***"}, says="base64"),
    ],
    "random": [
        post("random"),
        post("random/12"),
        post("random", {"bytes": 64, "format": "hex"}),
        post("random", {"bytes": "16"}),
        post("random/platform/8"),
        post("random/all/8"),
        post("random/nowhere/8"),
        post("random/16", {"bytes": "x"}, says="cannot parse value as 'int'"),
        post("random/16", {"bytes": 5}),
        post("random/platform/16", {"bytes": [1]}),
        post("random/0"),
        post("random/-1", ours=(400, "a number below 1")),
        post("random/x"),
        post("random", {"bytes": 200000}),
        post("random", {"format": "x"}, says="format"),
    ],
}
