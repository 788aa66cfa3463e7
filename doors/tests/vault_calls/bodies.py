"""Bodies: null as the empty value of a member, and forms."""

from vault_calls.call import HELLO, Call, get, post


def _form(path, body, method="POST", **headers):
    """A call with a form, as `curl -d` and web frameworks send it."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return Call(method, f"transit/{path}", body, headers=headers)


GROUPS = {
    "null when a key is made": [
        call
        for number, body in enumerate(
            (
                {"type": None},
                {"exportable": None, "type": "ed25519"},
                {"auto_rotate_period": None, "type": "ed25519"},
                {"derived": None},
                {"convergent_encryption": None},
                {"key_size": None},
                {"allow_plaintext_backup": None},
            )
        )
        for call in (post(f"keys/nu-{number}", body), get(f"keys/nu-{number}"))
    ],
    "null in settings": [
        post("keys/ns-c", {"type": "ed25519"}),
        post("keys/ns-c/rotate"),
        post(
            "keys/ns-c/config",
            {
                "min_encryption_version": 2,
                "min_decryption_version": 2,
                "deletion_allowed": True,
                "auto_rotate_period": "24h",
            },
        ),
        *(
            call
            for name in (
                *("min_decryption_version", "min_encryption_version", "deletion_allowed"),
                *("auto_rotate_period", "exportable", "allow_plaintext_backup"),
            )
            for call in (post("keys/ns-c/config", {name: None}), get("keys/ns-c"))
        ),
        post("keys/ns-c/config", {"min_encryption_version": 2, "min_decryption_version": 2}),
        post("keys/ns-c/trim", {"min_available_version": None}),
        post("keys/ns-c/csr", {"version": None}),
        post("keys/ns-c/set-certificate", {"certificate_chain": None}),
        post("config/keys", {"disable_upsert": None}),
    ],
    "null in operations": [
        post("keys/nz", {"type": "ed25519", "exportable": True}),
        *(
            post("sign/nz", {"input": HELLO, name: None})
            for name in (
                *("input", "key_version", "hash_algorithm", "algorithm", "marshaling_algorithm"),
                *("salt_length", "prehashed", "signature_algorithm", "batch_input", "context"),
            )
        ),
        *(
            post("verify/nz", {"input": HELLO, **body})
            for body in ({"signature": None}, {"signature": None, "hmac": None}, {"hmac": None})
        ),
        *(post("hmac/nz", {"input": HELLO, name: None}) for name in ("input", "algorithm")),
        *(post("hash", {"input": HELLO, name: None}) for name in ("input", "algorithm", "format")),
        *(post("random", {name: None}) for name in ("bytes", "format")),
        post("keys/nz-aes", {"exportable": True}),
        *(post("datakey/wrapped/nz-aes", {name: None}) for name in ("bits", "key_version")),
        post("decrypt/nz-aes", {"ciphertext": None}),
        post("rewrap/nz-aes", {"ciphertext": None}),
        *(
            post("keys/nz-import/import", body)
            for body in (
                {"type": None},
                {"type": "ed25519", "ciphertext": None},
                {"type": "ed25519", "public_key": None},
            )
        ),
    ],
    "forms": [
        _form("keys/fo", b"type=ed25519"),
        _form("keys/fo-twice", b"type=ed25519&type=rsa-2048"),
        _form("keys/fo-extra", b"type=ed25519&colour=red&"),
        _form("keys/fo-none", b""),
        _form("keys/fo-name", b"name=another&type=ed25519"),
        _form("keys/fo-no-value", b"type"),
        _form("keys/fo-no-name", b"=ed25519"),
        _form("keys/fo-latin", b"type=%ff"),
        _form("keys/fo-escape", b"type=%zz"),
        _form("keys/fo-semicolon", b"type=ed25519;exportable=true"),
        _form("keys/fo-json", b' {"type":"ed25519"}'),
        _form("keys/fo-list", b"[]"),
        _form("keys/fo-put", b"type=ed25519&exportable=true", "PUT"),
        _form("keys/fo-kind", b"type=ed25519", **{"Content-Type": "text/plain"}),
        _form(
            "keys/fo-case",
            b"type=ed25519",
            **{"Content-Type": "Application/X-WWW-Form-URLEncoded ; charset=utf-8"},
        ),
        _form("sign/fo", b"input=aGVsbG8%3D"),
        _form("sign/fo", b"input=aGVsbG8="),
        _form("sign/fo", b"batch_input=x"),
        _form("keys/fo/config", b"min_decryption_version=1&deletion_allowed=true"),
        _form("encrypt/fo-aes", b"plaintext=aGVsbG8%3D&type=aes128-gcm96"),
        _form("hash", b"input=aGVsbG8%3D&format=base64"),
        _form("random", b"bytes=8"),
    ],
}
