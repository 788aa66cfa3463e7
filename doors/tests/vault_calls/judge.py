"""Check signatures, ciphertexts and MACs of a server by pyca/cryptography."""

import base64
import hmac
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as open_xchacha
from vault import Answer, Vault

from vault_calls.call import Call

HASHES = {
    "sha1": hashes.SHA1(),
    "sha2-224": hashes.SHA224(),
    "sha2-256": hashes.SHA256(),
    "sha2-384": hashes.SHA384(),
    "sha2-512": hashes.SHA512(),
    "sha3-224": hashes.SHA3_224(),
    "sha3-256": hashes.SHA3_256(),
    "sha3-384": hashes.SHA3_384(),
    "sha3-512": hashes.SHA3_512(),
}

# Public keys that are shown as their bytes, by their number (RFC 8032, FIPS 204 table 2).
_RAW_KEYS: Any = {
    32: ed25519.Ed25519PublicKey,
    1312: mldsa.MLDSA44PublicKey,
    1952: mldsa.MLDSA65PublicKey,
    2592: mldsa.MLDSA87PublicKey,
}


def public_of(shown: str) -> Any:
    """Load a public key as a read shows it: in PEM, or its bytes in base64."""
    if shown.startswith("-----"):
        return load_pem_public_key(shown.encode())
    raw = base64.b64decode(shown, validate=True)
    return _RAW_KEYS[len(raw)].from_public_bytes(raw)


def judge(server: Vault, call: Call, answer: Answer) -> int:
    """Check all signatures, ciphertexts and MACs of a successful answer; their number."""
    _, _, path = call.path.partition("?")[0].partition("/")
    operation, *rest = path.split("/")
    check = _CHECKS.get(operation)
    if check is None or answer.status != 200:
        return 0
    if isinstance(call.body, bytes):  # a form
        call = replace(call, body=dict(parse_qsl(call.body.decode())))
    call = replace(call, body=call.body or {})
    name = rest[1] if operation == "datakey" else rest[0]
    if operation != "datakey" and len(rest) > 1:
        call = replace(call, body={**call.body, "hash_algorithm": rest[1]})
    data = answer.body["data"]
    items = call.body.get("batch_input") or [call.body]
    results = data.get("batch_results") or [data]
    checked = 0
    for item, result in zip(items, results, strict=True):
        if not result.get("error"):
            checked += check(server, name, {**call.body, **item}, result)
    return checked


def _parts(value: str) -> tuple[str, str]:
    vault, version, rest = value.split(":")
    assert vault == "vault"
    return version.removeprefix("v"), rest


def _sign(server: Vault, name: str, asked: dict[str, Any], result: dict[str, Any]) -> int:
    version, text = _parts(result["signature"])
    assert str(result["key_version"]) == version
    public = server.ask("GET", f"transit/keys/{name}").data["keys"][version]["public_key"]
    message = base64.b64decode(asked.get("input") or "")
    if asked.get("marshaling_algorithm") == "jws":
        assert not set(text) & set("=+/")
        signature = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    else:
        signature = base64.b64decode(text, validate=True)
    key = public_of(public)
    if not public.startswith("-----"):
        key.verify(signature, message)
        return 1
    named = asked.get("hash_algorithm") or asked.get("algorithm") or "sha2-256"
    used: Any = HASHES.get(named)
    if str(asked.get("prehashed")).lower() == "true":
        digest = message
    else:
        hashing = hashes.Hash(used)
        hashing.update(message)
        digest = hashing.finalize()
    if isinstance(key, ec.EllipticCurvePublicKey):
        _verify_ecdsa(key, signature, digest, asked)
    else:
        assert isinstance(key, rsa.RSAPublicKey)
        _verify_rsa(key, signature, digest, used, asked)
    return 1


def _verify_ecdsa(
    key: ec.EllipticCurvePublicKey, signature: bytes, digest: bytes, asked: dict[str, Any]
) -> None:
    if asked.get("marshaling_algorithm") == "jws":
        length = (key.curve.key_size + 7) // 8
        assert len(signature) == 2 * length
        r, s = (int.from_bytes(half, "big") for half in (signature[:length], signature[length:]))
        signature = utils.encode_dss_signature(r, s)
    # ECDSA takes the first bits of a digest, so any hash of its length will do.
    of_length = {each.digest_size: each for each in HASHES.values()}.get(len(digest))
    if of_length:  # pyca takes no digest of another length
        key.verify(signature, digest, ec.ECDSA(utils.Prehashed(of_length)))


def _verify_rsa(
    key: rsa.RSAPublicKey, signature: bytes, digest: bytes, used: Any, asked: dict[str, Any]
) -> None:
    if asked.get("signature_algorithm") == "pkcs1v15":
        if used is None:
            assert key.recover_data_from_signature(signature, padding.PKCS1v15(), None) == digest
        else:
            key.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(used))
        return
    salt: Any = asked.get("salt_length", "auto")
    salts = {"auto": padding.PSS.MAX_LENGTH, "hash": padding.PSS.DIGEST_LENGTH}
    length = salts[salt] if salt in salts else int(salt)
    scheme = padding.PSS(padding.MGF1(used), length)
    key.verify(signature, digest, scheme, utils.Prehashed(used))


def _export(server: Vault, kind: str, name: str, version: str) -> str | None:
    answer = server.ask("GET", f"transit/export/{kind}/{name}/{version}")
    return answer.data["keys"][version] if answer.status == 200 else None


def opened(server: Vault, name: str, ciphertext: str, associated: str = "") -> bytes | None:
    """The plaintext of a ciphertext, by the exported key; None if it is not exportable."""
    version, text = _parts(ciphertext)
    sealed = base64.b64decode(text, validate=True)
    secret = _export(server, "encryption-key", name, version)
    if secret is None:
        return None
    if secret.startswith("-----"):
        key = load_pem_private_key(secret.encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        used = hashes.SHA256()
        return key.decrypt(sealed, padding.OAEP(padding.MGF1(used), used, None))
    raw, aad = base64.b64decode(secret), base64.b64decode(associated) or None
    kind = server.ask("GET", f"transit/keys/{name}").data["type"]
    if kind == "xchacha20-poly1305":
        return open_xchacha(sealed[24:], aad, sealed[:24], raw)
    cipher = aead.ChaCha20Poly1305(raw) if kind == "chacha20-poly1305" else aead.AESGCM(raw)
    return cipher.decrypt(sealed[:12], sealed[12:], aad)


def _encrypt(server: Vault, name: str, asked: dict[str, Any], result: dict[str, Any]) -> int:
    found = opened(server, name, result["ciphertext"], asked.get("associated_data", ""))
    if found is None:
        return 0
    assert found == base64.b64decode(asked["plaintext"] or "")
    return 1


def _rewrap(server: Vault, name: str, asked: dict[str, Any], result: dict[str, Any]) -> int:
    before, after = (
        opened(server, name, each["ciphertext"], asked.get("associated_data", ""))
        for each in (asked, result)
    )
    assert before == after
    return 1


def _data_key(server: Vault, name: str, asked: dict[str, Any], result: dict[str, Any]) -> int:
    found = opened(server, name, result["ciphertext"])
    assert found is not None
    assert len(found) == asked.get("bits", 256) // 8
    if "plaintext" in result:
        assert found == base64.b64decode(result["plaintext"])
    return 1


def _hmac(server: Vault, name: str, asked: dict[str, Any], result: dict[str, Any]) -> int:
    version, text = _parts(result["hmac"])
    secret = _export(server, "hmac-key", name, version)
    assert secret is not None
    named = asked.get("hash_algorithm") or asked.get("algorithm") or "sha2-256"
    used = named.replace("sha2-", "sha").replace("sha3-", "sha3_")
    expected = hmac.digest(base64.b64decode(secret), base64.b64decode(asked["input"] or ""), used)
    assert base64.b64decode(text, validate=True) == expected
    return 1


_CHECKS = {
    "sign": _sign,
    "encrypt": _encrypt,
    "rewrap": _rewrap,
    "datakey": _data_key,
    "hmac": _hmac,
}
