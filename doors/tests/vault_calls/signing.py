"""Signatures."""

from vault_calls.call import BYE, HELLO, post

_HASHES = ("sha1", "sha2-224", "sha2-256", "sha2-384", "sha2-512")
_SHA3 = ("sha3-224", "sha3-256", "sha3-384", "sha3-512")
DIGEST = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="  # SHA-256 of hello


def signed(path, options=None, of=HELLO, **checks):
    """Sign, and verify that, with the same options; then verify it for another input."""
    options = options or {}
    return [
        post(f"sign/{path}", {"input": of, **options}, keep={"sig": "data.signature"}, **checks),
        post(f"verify/{path}", {"input": of, "signature": "{sig}", **options}),
        post(f"verify/{path}", {"input": of[4:] + "aGVs", "signature": "{sig}", **options}),
    ]


_ITEMS = [{"input": HELLO}, {"input": BYE, "reference": "two"}, {"input": "***"}, {}]

GROUPS = {
    "ed25519": [
        post("keys/ed", {"type": "ed25519"}),
        *signed("ed"),
        *signed("ed/sha2-512"),
        *signed("ed", {"hash_algorithm": "sha2-384", "prehashed": True}),
        post("sign/ed", {}),
        post("sign/ed", {"input": ""}),
        post("sign/ed", {"input": "aGVsbG8"}, says="base64"),
        post("sign/ed", {"input": 17}),
        post("sign/ed", {"input": None}),
        post("sign/ed", {"input": [HELLO]}),
        post("sign/ed", b""),
        post("sign/ed", {"input": HELLO, "hash_algorithm": "md5"}, says="invalid hash algorithm"),
        post("sign/ed/md5", {"input": HELLO}, says="invalid hash algorithm"),
        post("sign/ed", {"input": HELLO, "marshaling_algorithm": "x"}, says="invalid marshaling"),
        post("sign/ed", {"input": HELLO, "marshaling_algorithm": "jws"}),
        post("sign/ed-none", {"input": HELLO}, says="signing key not found"),
        post("sign/ed", {"input": HELLO, "hash_algorithm": "none"}, says="prehashed=true"),
        post("verify/ed", {"input": HELLO}, says="neither a 'signature' nor"),
        post("verify/ed", {"input": HELLO, "signature": "{sig}", "hmac": "{sig}"}, says="one of"),
        post("verify/ed", {"input": HELLO, "signature": "x"}, says="prefix"),
        post("verify/ed", {"input": HELLO, "signature": "vault:v1"}),
        post("verify/ed", {"input": HELLO, "signature": "vault:vx:AAAA"}),
        post("verify/ed", {"input": HELLO, "signature": "vault:v2:AAAA"}, says="too new"),
        post("verify/ed", {"input": HELLO, "signature": "vault:v0:AAAA"}),
        post("verify/ed", {"input": HELLO, "signature": "vault:v-1:AAAA"}),
        post("verify/ed", {"input": HELLO, "signature": "vault:v1:AAAA"}),
        post("verify/ed", {"input": HELLO, "signature": "vault:v1:***"}, says="base64"),
        post(
            "verify/ed-none",
            {"input": HELLO, "signature": "vault:v1:AAAA"},
            says="verification key not found",
        ),
    ],
    "ml-dsa": [
        call
        for kind in ("mldsa-44", "mldsa-65", "mldsa-87")
        for call in (
            post(f"keys/ml-{kind}", {"type": kind}),
            *signed(f"ml-{kind}"),
            *signed(f"ml-{kind}/sha2-512"),
            *signed(f"ml-{kind}", {"hash_algorithm": "sha2-384", "prehashed": True}),
            *signed(f"ml-{kind}", {"hash_algorithm": "none"}),
            *signed(f"ml-{kind}", {"marshaling_algorithm": "jws"}),
            *signed(f"ml-{kind}", {"context": "YQ=="}),
            post(f"sign/ml-{kind}", {"input": HELLO, "hash_algorithm": "md5"}, says="invalid hash"),
            post(f"verify/ml-{kind}", {"input": HELLO, "signature": "vault:v1:AAAA"}),
            post(f"keys/ml-{kind}/rotate"),
            post(f"sign/ml-{kind}", {"input": HELLO}),
            post(f"sign/ml-{kind}", {"input": HELLO, "key_version": 1}),
            post(f"encrypt/ml-{kind}", {"plaintext": HELLO}, says="not supported for key type ml"),
            post(f"decrypt/ml-{kind}", {"ciphertext": "vault:v1:AAAA"}, says="key type ml"),
            post(f"datakey/plaintext/ml-{kind}"),
        )
    ],
    "ecdsa": [
        call
        for curve in ("p256", "p384", "p521")
        for call in (
            post(f"keys/ec-{curve}", {"type": f"ecdsa-{curve}"}),
            *signed(f"ec-{curve}"),
            *signed(f"ec-{curve}", {"marshaling_algorithm": "jws"}),
            *signed(f"ec-{curve}", {"prehashed": True}, of=DIGEST),
            *(
                call
                for name in (*_HASHES, *(_SHA3 if curve == "p384" else ()))
                for call in signed(f"ec-{curve}/{name}")
            ),
        )
    ],
    "options of ecdsa": [
        post("keys/eo", {"type": "ecdsa-p256"}),
        *signed("eo", {"hash_algorithm": "sha2-512"}),
        *signed("eo", {"algorithm": "sha2-384"}),
        post("sign/eo", {"input": HELLO, "prehashed": True}),
        post("sign/eo", {"input": HELLO, "prehashed": "true"}),
        post("verify/eo", {"input": HELLO, "signature": "vault:v1:AAAA"}),
        post(
            "verify/eo",
            {"input": HELLO, "signature": "vault:v1:AAAA", "marshaling_algorithm": "jws"},
        ),
        post(
            "verify/eo",
            {"input": HELLO, "signature": "vault:v1:A+/=", "marshaling_algorithm": "jws"},
            says="base64",
        ),
    ],
    "rsa": [
        post("keys/rs", {"type": "rsa-2048"}),
        *signed("rs"),
        *signed("rs/sha2-512"),
        *signed("rs", {"signature_algorithm": "pss"}),
        *signed("rs", {"signature_algorithm": "pss", "salt_length": "hash"}),
        *signed("rs", {"signature_algorithm": "pss", "salt_length": 20}),
        *signed("rs", {"salt_length": "20", "marshaling_algorithm": "jws"}),
        *signed("rs", {"signature_algorithm": "pkcs1v15"}),
        *(
            call
            for name in (*_HASHES, "sha3-256")
            for call in signed(f"rs/{name}", {"signature_algorithm": "pkcs1v15"})
        ),
        *signed("rs", {"prehashed": True, "signature_algorithm": "pkcs1v15"}, of=DIGEST),
        *signed("rs", {"prehashed": True}, of=DIGEST),
        *signed(
            "rs",
            {"prehashed": True, "signature_algorithm": "pkcs1v15", "hash_algorithm": "none"},
            of=DIGEST,
        ),
        post("sign/rs", {"input": HELLO, "prehashed": True}),
        post("sign/rs", {"input": HELLO, "salt_length": "long"}, says="salt length"),
        post("sign/rs", {"input": HELLO, "salt_length": -2}, says="salt length"),
        post("sign/rs", {"input": HELLO, "salt_length": 5000}),
        post("sign/rs", {"input": HELLO, "signature_algorithm": "x"}),
        post("verify/rs", {"input": HELLO, "signature": "vault:v1:AAAA"}),
    ],
    "batches of signatures": [
        post("keys/bs", {"type": "ecdsa-p256"}),
        post(
            "sign/bs",
            {"batch_input": _ITEMS},
            keep={
                "one": "data.batch_results.0.signature",
                "two": "data.batch_results.1.signature",
            },
        ),
        post(
            "verify/bs",
            {
                "batch_input": [
                    {"input": HELLO, "signature": "{one}"},
                    {"input": HELLO, "signature": "{two}", "reference": "wrong"},
                    {"input": "***", "signature": "{two}"},
                    {"signature": "{two}"},
                    {"input": HELLO, "signature": "vault:v9:AAAA"},
                ]
            },
        ),
        post(
            "verify/bs",
            {
                "batch_input": [
                    {"input": HELLO, "signature": signature}
                    for signature in (
                        *("x", "", None, "vault:v1", "vault:vx:AAAA", "vault:v0:AAAA"),
                        *("vault:v1:***", "vault:v1:AAAA", "vault:v1:MAYCAQECAQE="),
                    )
                ]
            },
        ),
        post("sign/bs", {"batch_input": []}, says="missing batch input"),
        post("sign/bs", {"batch_input": None, "input": HELLO}),
        post("sign/bs", {"batch_input": "x"}),
        post("sign/bs", {"batch_input": ["x"]}),
        post("sign/bs", {"batch_input": [{"input": 17}]}),
        post("verify/bs", {"batch_input": [{"input": HELLO}]}),
        post(
            "verify/bs",
            {"batch_input": [{"input": HELLO, "signature": "{one}"}, {"input": HELLO}]},
            says="some elements",
        ),
    ],
    "keys that do not sign": [
        post("keys/ns", {"type": "aes256-gcm96"}),
        post("sign/ns", {"input": HELLO}, says="does not support signing"),
        *(
            post("verify/ns", {"input": HELLO, "signature": signature}, says="does not support")
            for signature in ("vault:v1:AAAA", "vault:v9:AAAA", "x")
        ),
        *(
            post(
                "verify/ns",
                {"batch_input": [{"input": HELLO, "signature": signature}]},
                says="does not support verification",
            )
            for signature in ("vault:v1:AAAA", "x")
        ),
        *(
            post("sign/ns", body, says="does not support signing")
            for body in (
                {"input": "***"},
                {"batch_input": [{"input": HELLO}]},
                {"batch_input": [{"input": "***"}, {}]},
            )
        ),
        post("verify/ns", {"batch_input": [{"input": HELLO, "hmac": "x"}]}),
    ],
}
