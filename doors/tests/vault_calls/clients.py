"""Calls of identity software, according to its source code."""

from vault_calls.call import HELLO, Call, delete, get, post
from vault_calls.signing import DIGEST


def _eudiplo(name):
    """A key's life in EUDIPLO: apps/backend/src/crypto/key/kms/adapters/vault-kms.adapter.ts."""
    signing = {"input": HELLO, "marshaling_algorithm": "jws", "prehashed": False}
    return [
        Call("POST", "sys/mounts/transit", {"type": "transit"}, says="path is already in use"),
        post(f"keys/{name}", {"type": "ecdsa-p256", "exportable": False}),
        get(f"keys/{name}"),
        post(f"sign/{name}/sha2-256", signing),
        Call("GET", "sys/health", differs={"version": "", "cluster*": ""}),
        post(f"keys/{name}/config", {"deletion_allowed": True}),
        delete(f"keys/{name}"),
    ]


def _old_eudiplo(name):
    """The same before May 2026: apps/backend/src/crypto/key/adapters/vault-key.service.ts."""
    return [
        Call("POST", "sys/mounts/transit", {"type": "transit"}, says="path is already in use"),
        post(f"keys/{name}", {"exportable": False, "type": "ecdsa-p256"}),
        get(f"keys?list=true&after={name[:-1]}&limit=1"),
        get(f"keys/{name}"),
        post(f"sign/{name}", {"input": HELLO, "marshaling_algorithm": "jws"}),
        post(f"keys/{name}/config", {"deletion_allowed": True}),
        delete(f"keys/{name}"),
    ]


def _waltid(name):
    """walt.id's first library: waltid-crypto, TSEKey.kt."""
    return [
        call
        for kind in ("ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048")
        for key in (f"{name}-{kind}",)
        for call in (
            post(f"keys/{key}", {"type": kind}),
            get(f"keys/{key}"),
            post(f"sign/{key}", {"input": HELLO}, keep={"sig": "data.signature"}),
            post(f"verify/{key}", {"input": HELLO, "signature": "{sig}"}),
            post(f"keys/{key}/config", {"deletion_allowed": True}),
            delete(f"keys/{key}"),
        )
    ]


def _waltid_2(name):
    """walt.id's second library: waltid-crypto2-kms, VaultTransitKeyProvider.kt."""
    making = {"exportable": False, "allow_plaintext_backup": False}
    signatures = {
        "ed25519": [{}],
        "ecdsa-p256": [
            {"hash_algorithm": f"sha2-{bits}", "marshaling_algorithm": marshaling}
            for bits in (256, 384, 512)
            for marshaling in ("asn1", "jws")
        ],
        "rsa-2048": [
            {"hash_algorithm": "sha2-512", "signature_algorithm": "pkcs1v15"},
            {"hash_algorithm": "sha2-256", "signature_algorithm": "pss", "salt_length": "hash"},
        ],
    }
    oaep = {"padding_scheme": "oaep", "oaep_hash": "sha256"}
    calls = []
    for kind, options in signatures.items():
        key = f"{name}-{kind}"
        calls += [post(f"keys/{key}", {"type": kind, **making}), get(f"keys/{key}")]
        for each in options:
            body = {"input": HELLO, "prehashed": False, "key_version": 1, **each}
            digest = {**body, "input": DIGEST, "prehashed": True}
            verified = {**body, "signature": "{sig}"}
            calls.append(post(f"sign/{key}", body, keep={"sig": "data.signature"}))
            calls.append(post(f"verify/{key}", verified))
            if each.get("hash_algorithm") == "sha2-256":
                calls.append(post(f"sign/{key}", digest))
        if kind == "rsa-2048":
            sealing = {**oaep, "plaintext": HELLO, "key_version": 1}
            calls.append(post(f"encrypt/{key}", sealing, keep={"sealed": "data.ciphertext"}))
            calls.append(post(f"decrypt/{key}", {**oaep, "ciphertext": "{sealed}"}))
        calls.append(post(f"keys/{key}/config", {"deletion_allowed": True}))
        calls.append(delete(f"keys/{key}"))
    return calls


def _edc(name):
    """The Eclipse Dataspace Connector: vault-hashicorp, HashicorpVaultSignatureService.java."""
    health = "sys/health?standbyok=false&perfstandbyok=false"
    asked = {"X-Vault-Request": "true"}
    return [
        Call("GET", health, headers=asked, differs={"version": "", "cluster*": ""}),
        Call("GET", "auth/token/lookup-self", headers=asked, differs={"data.*": "its own"}),
        post(f"keys/{name}", {"type": "ed25519"}),
        post(f"sign/{name}", {"input": HELLO}, keep={"sig": "data.signature"}),
        post(f"verify/{name}", {"input": HELLO, "signature": "{sig}"}),
        post(f"keys/{name}/rotate", b""),
        post(f"sign/{name}", {"input": HELLO}),
        post(f"verify/{name}", {"input": HELLO, "signature": "{sig}"}),
    ]


def _sops(name):
    """sops: hcvault/keysource.go, by Vault's client for Go, which writes by PUT."""
    return [
        post(f"keys/{name}"),
        Call(
            "PUT",
            f"transit/encrypt/{name}",
            {"plaintext": HELLO},
            keep={"sealed": "data.ciphertext"},
        ),
        Call("PUT", f"transit/decrypt/{name}", {"ciphertext": "{sealed}"}),
    ]


def _cosign(name):
    """cosign's plugin: sigstore, pkg/signature/kms/hashivault/client.go, which writes by PUT."""
    calls = []
    for kind, hashed in (("ecdsa-p256", "/sha2-256"), ("rsa-2048", "/sha2-256"), ("ed25519", "")):
        key = f"{name}-{kind}"
        body = {"input": DIGEST, "prehashed": bool(hashed)}
        signing = {**body, "key_version": "0", "signature_algorithm": "pkcs1v15"}
        verifying = {**body, "signature": "{sig}"}
        calls += [
            Call("PUT", f"transit/keys/{key}", {"type": kind}),
            get(f"keys/{key}"),
            Call("PUT", f"transit/sign/{key}{hashed}", signing, keep={"sig": "data.signature"}),
            # The client verifies RSA as PSS, so its own signatures are not valid.
            Call("PUT", f"transit/verify/{key}{hashed}", verifying),
        ]
    return calls


GROUPS = {
    "EUDIPLO": _eudiplo("eudiplo"),
    "EUDIPLO before May 2026": _old_eudiplo("0c4de2c6-4a63-4ac8-a1e1-0f5b1c6d3a11"),
    "walt.id": _waltid("kwalt"),
    "walt.id, waltid-crypto2": _waltid_2("walt2"),
    "EDC": _edc("edc"),
    "sops": _sops("sops"),
    "cosign": _cosign("cosign"),
}
