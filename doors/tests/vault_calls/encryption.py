"""Encryption, and keys of data."""

from vault_calls.call import BYE, HELLO, post


def encrypted(path, options=None, plaintext=HELLO):
    """Encrypt, and decrypt that, with the same options."""
    options = options or {}
    return [
        post(
            f"encrypt/{path}",
            {"plaintext": plaintext, **options},
            keep={"sealed": "data.ciphertext"},
        ),
        post(f"decrypt/{path}", {"ciphertext": "{sealed}", **options}),
    ]


_RANDOM = {"data.plaintext": "a random key"}
_SYMMETRIC = ("aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305")

GROUPS = {
    "encryption": [
        call
        for kind in (*_SYMMETRIC, "rsa-2048")
        for call in (
            post(f"keys/e-{kind}", {"type": kind, "exportable": True}),
            *encrypted(f"e-{kind}"),
            *encrypted(f"e-{kind}", plaintext=""),
            *(encrypted(f"e-{kind}", {"associated_data": "YWFk"}) if kind != "rsa-2048" else ()),
            post(f"rewrap/e-{kind}", {"ciphertext": "{sealed}"})
            if kind == "rsa-2048"
            else post(f"rewrap/e-{kind}", {"ciphertext": "{sealed}", "associated_data": "YWFk"}),
        )
    ],
    "refusals of encryption": [
        post("keys/re", {"exportable": True}),
        post(
            "encrypt/re",
            {"plaintext": HELLO, "associated_data": "YWFk"},
            keep={"a": "data.ciphertext"},
        ),
        post("decrypt/re", {"ciphertext": "{a}"}),
        post("decrypt/re", {"ciphertext": "{a}", "associated_data": "YWFl"}),
        post("decrypt/re", {"ciphertext": "{a}", "associated_data": "***"}),
        post("encrypt/re", {}, says="missing plaintext"),
        post("encrypt/re", {"plaintext": "***"}, says="base64"),
        post("encrypt/re", {"plaintext": 17}),
        post("encrypt/re", {"plaintext": None}),
        post("encrypt/re", {"plaintext": HELLO, "type": None}),  # the key exists already
        post("encrypt/re", {"plaintext": HELLO, "key_version": 2}),
        post("encrypt/re", {"plaintext": HELLO, "associated_data": "***"}),
        post("encrypt/re", {"plaintext": HELLO, "nonce": "AAAAAAAAAAAAAAAA"}),
        post("encrypt/re", {"plaintext": HELLO, "context": "YQ=="}),
        post("decrypt/re", {}, says="missing ciphertext"),
        post("decrypt/re", {"ciphertext": ""}),
        post("decrypt/re", {"ciphertext": "x"}, says="prefix"),
        post("decrypt/re", {"ciphertext": "vault:v1"}),
        post("decrypt/re", {"ciphertext": "vault:v1:"}),
        post("decrypt/re", {"ciphertext": "vault:v1:AAAA"}),
        post("decrypt/re", {"ciphertext": "vault:v1:***"}),
        post("decrypt/re", {"ciphertext": "vault:v0:AAAA"}),
        post("decrypt/re", {"ciphertext": "vault:vx:AAAA"}),
        post("decrypt/re", {"ciphertext": "vault:v2:AAAA"}),
        post("decrypt/re", {"ciphertext": "vault:v999999999999:AAAA"}),
        post("decrypt/re", {"ciphertext": "vault:v99999999999999999999:AAAA"}),
        post("decrypt/re-none", {"ciphertext": "vault:v1:AAAA"}, says="not found"),
        post("rewrap/re-none", {"ciphertext": "vault:v1:AAAA"}, says="not found"),
        post("rewrap/re", {"ciphertext": "x"}, says="prefix"),
        post("keys/re-ed", {"type": "ed25519"}),
        post("encrypt/re-ed", {"plaintext": HELLO}),
        post("decrypt/re-ed", {"ciphertext": "vault:v1:AAAA"}),
        post("keys/re-rsa", {"type": "rsa-2048"}),
        post("encrypt/re-rsa", {"plaintext": HELLO, "associated_data": "YWFk"}),
        post("encrypt/re-rsa", {"plaintext": "AAAA" * 80}),
        post("decrypt/re-rsa", {"ciphertext": "vault:v1:AAAA"}),
    ],
    "keys that encrypt makes": [
        post("encrypt/made", {"plaintext": HELLO}, keep={"a": "data.ciphertext"}),
        post("decrypt/made", {"ciphertext": "{a}"}),
        post("encrypt/made-128", {"plaintext": HELLO, "type": "aes128-gcm96"}),
        post("encrypt/made-ec", {"plaintext": HELLO, "type": "ecdsa-p256"}, says="not supported"),
        post("encrypt/made-des", {"plaintext": HELLO, "type": "des"}, says="unknown key type"),
        post("encrypt/made-bad", {"plaintext": "***"}, says="base64"),
        post("encrypt/made-null", {"plaintext": HELLO, "type": None}, says="unknown key type"),
        post("encrypt/made-of-null", {"plaintext": None}),
        post("encrypt/made-no-context", {"plaintext": HELLO, "context": None}),
        post("encrypt/made-in-batch", {"batch_input": [{"plaintext": None}]}),
    ],
    "batches of encryption": [
        post("keys/be", {"exportable": True}),
        post(
            "encrypt/be",
            {
                "batch_input": [
                    {"plaintext": HELLO},
                    {"plaintext": BYE, "reference": "two", "associated_data": "YWFk"},
                ]
            },
            keep={
                "one": "data.batch_results.0.ciphertext",
                "two": "data.batch_results.1.ciphertext",
            },
        ),
        post(
            "decrypt/be",
            {
                "batch_input": [
                    {"ciphertext": "{one}"},
                    {"ciphertext": "{two}", "reference": "two", "associated_data": "YWFk"},
                ]
            },
        ),
        post(
            "decrypt/be",
            {
                "batch_input": [
                    {"ciphertext": "{one}"},
                    {"ciphertext": "{two}"},
                    {"ciphertext": "x"},
                ]
            },
        ),
        post("rewrap/be", {"batch_input": [{"ciphertext": "{one}", "reference": "r"}]}),
        post("rewrap/be", {"batch_input": [{"ciphertext": "{one}"}, {"ciphertext": "x"}]}),
        post("encrypt/be", {"batch_input": [{"plaintext": HELLO}, {"plaintext": "***"}]}),
        post(
            "encrypt/be",
            {
                "batch_input": [{"plaintext": HELLO}, {"plaintext": "***"}],
                "partial_failure_response_code": 202,
            },
        ),
        *(
            post(
                "encrypt/be",
                {
                    "batch_input": [{"plaintext": HELLO}, {"plaintext": "***"}],
                    "partial_failure_response_code": status,
                },
            )
            for status in (200, 204, "204", 600, 0, None)
        ),
        *(
            post(
                "encrypt/be",
                {
                    "batch_input": [{"plaintext": HELLO}, {"plaintext": "***"}],
                    "partial_failure_response_code": status,
                },
                ours=(400, "RFC 9110: it has no body"),
            )
            for status in (205, 304)
        ),
        post(
            "decrypt/be",
            {
                "batch_input": [{"ciphertext": "{one}"}, {"ciphertext": "x"}],
                "partial_failure_response_code": 204,
            },
        ),
        post(
            "encrypt/be",
            {"batch_input": [{"plaintext": "***"}], "partial_failure_response_code": 204},
        ),
        post("encrypt/be", {"plaintext": HELLO, "partial_failure_response_code": "x"}),
        post("encrypt/be", {"batch_input": [{"plaintext": "***"}]}),
        post("encrypt/be", {"batch_input": [{"plaintext": HELLO, "key_version": 7}]}),
        post("encrypt/be", {"batch_input": []}, says="missing batch input"),
        post("decrypt/be", {"batch_input": []}, says="missing batch input"),
        post("encrypt/be", {"batch_input": [{}]}),
        post("decrypt/be", {"batch_input": [{}]}),
        post("encrypt/be", {"batch_input": [{"plaintext": 17}]}, ours=(400, "an item's error")),
        post("encrypt/be", {"batch_input": {"plaintext": HELLO}}),
    ],
    "batches by a key that does not encrypt": [
        post("keys/bn", {"type": "ed25519"}),
        post("encrypt/bn", {"batch_input": [{"plaintext": HELLO}, {"plaintext": "***"}]}),
        post("decrypt/bn", {"batch_input": [{"ciphertext": "vault:v1:AAAA"}]}),
        post("decrypt/bn", {"batch_input": [{"ciphertext": "x"}]}),
        post("rewrap/bn", {"batch_input": [{"ciphertext": "vault:v1:AAAA"}]}),
    ],
    "data keys": [
        post("keys/dk", {"exportable": True}),
        post("datakey/plaintext/dk", keep={"sealed": "data.ciphertext"}, differs=_RANDOM),
        post("decrypt/dk", {"ciphertext": "{sealed}"}, differs=_RANDOM),
        post("datakey/wrapped/dk"),
        post("datakey/plaintext/dk", {"bits": 512}, differs=_RANDOM),
        post("datakey/plaintext/dk", {"bits": 128}, differs=_RANDOM),
        post("datakey/plaintext/dk", {"bits": 129}),
        post("datakey/other/dk"),
        post("datakey/plaintext/dk-none"),
        post("keys/dk-ed", {"type": "ed25519"}),
        post("datakey/plaintext/dk-ed"),
    ],
}
