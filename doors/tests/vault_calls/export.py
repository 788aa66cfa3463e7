"""Keys that leave, and keys that come in."""

from vault_calls.call import HELLO, get, post

GROUPS = {
    "export": [
        call
        for kind, exported in (
            ("aes256-gcm96", "encryption-key"),
            ("xchacha20-poly1305", "encryption-key"),
            ("rsa-2048", "encryption-key"),
            ("rsa-2048", "signing-key"),
            ("ed25519", "signing-key"),
            ("ecdsa-p256", "signing-key"),
            ("ecdsa-p384", "signing-key"),
            ("ecdsa-p521", "signing-key"),
            ("mldsa-44", "signing-key"),
            ("mldsa-65", "signing-key"),
            ("mldsa-87", "signing-key"),
            ("mldsa-44", "hmac-key"),
            ("mldsa-44", "encryption-key"),
            ("aes128-gcm96", "hmac-key"),
        )
        for call in (
            post(f"keys/x-{kind}", {"type": kind, "exportable": True}),
            get(f"export/{exported}/x-{kind}"),
            get(f"export/{exported}/x-{kind}/1"),
            get(f"export/{exported}/x-{kind}/latest"),
            get(f"export/{exported}/x-{kind}/2"),
            *(
                get(f"export/{exported}/x-{kind}?format={form}")
                for form in ("raw", "der", "pem", "x")
                if (kind, form) != ("rsa-2048", "der")  # its length varies
            ),
        )
    ],
    "public keys": [
        call
        for kind in ("ed25519", "ecdsa-p256", "rsa-2048", "mldsa-44", "mldsa-65", "mldsa-87")
        for call in (
            post(f"keys/p-{kind}", {"type": kind}),
            get(f"export/public-key/p-{kind}"),
            get(f"export/public-key/p-{kind}?format=raw"),
            get(f"export/public-key/p-{kind}?format=der"),
            get(f"export/public-key/p-{kind}/1?format=pem"),
        )
    ],
    "refusals of export": [
        post("keys/rx", {"type": "ed25519"}),
        get("export/signing-key/rx", says="not exportable"),
        get("export/signing-key/rx-none"),
        get("export/other-key/rx", says="invalid export type"),
        post("keys/rx-aes", {"exportable": True}),
        get("export/signing-key/rx-aes"),
        get("export/encryption-key/rx-aes/x"),
        get("export/encryption-key/rx-aes/0"),
        post("keys/rx-aes/rotate"),
        post("keys/rx-aes/config", {"min_decryption_version": 2}),
        get("export/encryption-key/rx-aes/1"),
    ],
    "import": [
        get("wrapping_key"),
        post("keys/i/import", {"type": "ed25519"}),
        post("keys/i/import", {"type": "ed25519", "ciphertext": "AAAA"}),
        post("keys/i/import", {"type": "des", "ciphertext": "AAAA"}),
    ],
    "certificates": [
        call
        for kind in ("ecdsa-p256", "rsa-2048", "ed25519", "mldsa-44")
        for call in (
            post(f"keys/cs-{kind}", {"type": kind}),
            post(f"keys/cs-{kind}/csr"),
            post(f"keys/cs-{kind}/csr", {"version": 2}),
            post(f"keys/cs-{kind}/csr", {"csr": "x"}),
            post(f"keys/cs-{kind}/set-certificate", {"certificate_chain": "x"}),
            post(f"keys/cs-{kind}/set-certificate"),
            get(f"export/certificate-chain/cs-{kind}"),
        )
    ]
    + [
        post("keys/cs-none/csr", says="provided name 'cs-none' not found"),
        post(
            "keys/cs-none/set-certificate",
            {"certificate_chain": "x"},
            says="provided name 'cs-none' not found",
        ),
        post("keys/cs-aes"),
        post("keys/cs-aes/csr"),
        post("keys/cs-aes/set-certificate", {"certificate_chain": "x"}),
    ],
    "what is not there": [
        get("backup/b-none", ours=(404, "as other reads")),
        post("restore", {"backup": "AAAA"}),
        get("nothing"),
        post("nothing", {"a": 1}),
        post("sign", {"input": HELLO}),
        post("keys/a/b/c", {}),
    ],
}
