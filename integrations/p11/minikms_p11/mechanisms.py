"""The mechanisms of a slot, and how a mechanism signs with a key of the service."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.algorithms import Algorithm, Curve, digest_size
from minikms_p11.keys import base64url
from minikms_p11.refusal import Refusal
from minikms_p11.wire import PssParameter

DIGESTS: Final = {
    c.CKM_SHA_1: "sha1",
    c.CKM_SHA224: "sha224",
    c.CKM_SHA256: "sha256",
    c.CKM_SHA384: "sha384",
    c.CKM_SHA512: "sha512",
}
_JOSE_HASHES: Final = {"sha256": "256", "sha384": "384", "sha512": "512"}
_MGFS: Final = {
    c.CKM_SHA256: c.CKG_MGF1_SHA256,
    c.CKM_SHA384: c.CKG_MGF1_SHA384,
    c.CKM_SHA512: c.CKG_MGF1_SHA512,
}
# The start of a DigestInfo of each hash (RFC 8017 section 9.2, note 1).
_DIGEST_INFOS: Final = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


@dataclass(frozen=True)
class Signing:
    """A mechanism that signs, or makes MACs."""

    key_type: int
    hash: str = ""  # of the data; if empty, the program gives a digest, or for a MAC the data
    pss: bool = False
    mac: str = ""  # the hash of HMAC


SIGNING: Final = {
    c.CKM_ECDSA: Signing(c.CKK_EC),
    c.CKM_ECDSA_SHA1: Signing(c.CKK_EC, "sha1"),
    c.CKM_ECDSA_SHA224: Signing(c.CKK_EC, "sha224"),
    c.CKM_ECDSA_SHA256: Signing(c.CKK_EC, "sha256"),
    c.CKM_ECDSA_SHA384: Signing(c.CKK_EC, "sha384"),
    c.CKM_ECDSA_SHA512: Signing(c.CKK_EC, "sha512"),
    c.CKM_RSA_PKCS: Signing(c.CKK_RSA),
    c.CKM_SHA256_RSA_PKCS: Signing(c.CKK_RSA, "sha256"),
    c.CKM_SHA384_RSA_PKCS: Signing(c.CKK_RSA, "sha384"),
    c.CKM_SHA512_RSA_PKCS: Signing(c.CKK_RSA, "sha512"),
    c.CKM_RSA_PKCS_PSS: Signing(c.CKK_RSA, pss=True),
    c.CKM_SHA256_RSA_PKCS_PSS: Signing(c.CKK_RSA, "sha256", pss=True),
    c.CKM_SHA384_RSA_PKCS_PSS: Signing(c.CKK_RSA, "sha384", pss=True),
    c.CKM_SHA512_RSA_PKCS_PSS: Signing(c.CKK_RSA, "sha512", pss=True),
    c.CKM_EDDSA: Signing(c.CKK_EC_EDWARDS),
    c.CKM_SHA256_HMAC: Signing(c.CKK_GENERIC_SECRET, mac="sha256"),
    c.CKM_SHA384_HMAC: Signing(c.CKK_GENERIC_SECRET, mac="sha384"),
    c.CKM_SHA512_HMAC: Signing(c.CKK_GENERIC_SECRET, mac="sha512"),
}


def signing(mechanism: int, parameter: Any, key_type: int) -> Signing:
    """How a mechanism signs; raises Refusal if its parameter or the key's type do not fit."""
    found = SIGNING.get(mechanism)
    if found is None:
        raise Refusal(c.CKR_MECHANISM_INVALID)
    if found.key_type != key_type:
        raise Refusal(c.CKR_KEY_TYPE_INCONSISTENT)
    if not found.pss:
        if parameter is not None:
            raise Refusal(c.CKR_MECHANISM_PARAM_INVALID)
        return found
    hash_name = DIGESTS.get(parameter.hash) if isinstance(parameter, PssParameter) else None
    # The service signs by RFC 7518 section 3.5: the hash also in MGF1, and a salt of its length.
    if (
        hash_name not in _JOSE_HASHES
        or found.hash not in ("", hash_name)
        or _MGFS[parameter.hash] != parameter.mgf
        or parameter.salt != digest_size(hash_name)
    ):
        raise Refusal(c.CKR_MECHANISM_PARAM_INVALID)
    return found


def mechanism_infos(algorithms: list[Algorithm]) -> dict[int, tuple[int, int, int]]:
    """The mechanisms for these algorithms: the least and the largest size of a key, and flags."""
    return dict(_infos(algorithms))


def _infos(algorithms: list[Algorithm]) -> Iterator[tuple[int, tuple[int, int, int]]]:
    bits: dict[int, list[int]] = {}
    for algorithm in algorithms:
        bits.setdefault(algorithm.key_type, []).append(algorithm.bits)
    sizes = {kind: (min(found), max(found)) for kind, found in bits.items()}
    macs = {algorithm.hash for algorithm in algorithms if algorithm.is_secret}
    for number, row in SIGNING.items():
        if row.key_type in sizes and (not row.mac or row.mac in macs):
            named = c.CKF_EC_NAMED if row.key_type == c.CKK_EC else 0
            yield number, (*sizes[row.key_type], c.CKF_SIGN | c.CKF_VERIFY | named)
    if c.CKK_EC in sizes:
        yield c.CKM_EC_KEY_PAIR_GEN, (*sizes[c.CKK_EC], c.CKF_GENERATE_KEY_PAIR | c.CKF_EC_NAMED)
        yield c.CKM_ECDH1_DERIVE, (*sizes[c.CKK_EC], c.CKF_DERIVE | c.CKF_EC_NAMED)
    if c.CKK_RSA in sizes:
        yield c.CKM_RSA_PKCS_KEY_PAIR_GEN, (*sizes[c.CKK_RSA], c.CKF_GENERATE_KEY_PAIR)
        yield c.CKM_RSA_PKCS_OAEP, (*sizes[c.CKK_RSA], c.CKF_ENCRYPT | c.CKF_DECRYPT)
    for number in DIGESTS:
        yield number, (0, 0, c.CKF_DIGEST)


def fitted(digest: bytes, curve: Curve) -> bytes:
    """A digest of any hash as ECDSA on a curve takes it (SEC 1 section 4.1.3): its first bytes.

    A shorter one gets zeros in front, which do not change its number.
    """
    if not digest or len(digest) > 64:  # SHA-512 has the longest
        raise Refusal(c.CKR_DATA_LEN_RANGE)
    return digest[: curve.digest].rjust(curve.digest, b"\0")


def digest_info(value: bytes) -> tuple[str, bytes]:
    """The hash and the digest of a DigestInfo; raises Refusal for any other bytes."""
    for name, start in _DIGEST_INFOS.items():
        if value.startswith(start) and len(value) == len(start) + digest_size(name):
            return name, value[len(start) :]
    raise Refusal(c.CKR_DATA_INVALID)


def pss_hash(parameter: PssParameter, digest: bytes) -> str:
    """The hash of a PSS signature over this digest."""
    name = DIGESTS[parameter.hash]
    if len(digest) != digest_size(name):
        raise Refusal(c.CKR_DATA_LEN_RANGE)
    return name


def signature_length(algorithm: Algorithm) -> int:
    """The bytes of a signature, or of a MAC."""
    if algorithm.curve is not None:
        return 2 * algorithm.curve.size
    if algorithm.key_type == c.CKK_EC_EDWARDS:
        return 64
    return digest_size(algorithm.hash) if algorithm.hash else algorithm.bits // 8


def request_of(
    algorithm: Algorithm, row: Signing, parameter: Any, content: bytes
) -> tuple[str, dict[str, Any]]:
    """The path, and the body without the kid, of the call that signs a digest or data."""
    if row.mac:
        return "mac", {"data": base64url(content)}
    if row.key_type == c.CKK_EC_EDWARDS:
        return "sign", {"data": base64url(content)}
    if algorithm.curve is not None:
        content = fitted(content, algorithm.curve)
        return "sign", {"data": base64url(content), "prehashed": True}
    if row.pss:
        name, family = pss_hash(parameter, content), "PS"
    elif row.hash:
        name, family = row.hash, "RS"
    else:
        (name, content), family = digest_info(content), "RS"
    if name not in _JOSE_HASHES:
        raise Refusal(c.CKR_DATA_INVALID)
    alg = family + _JOSE_HASHES[name]
    return "sign", {"data": base64url(content), "prehashed": True, "alg": alg}


def new_hash(name: str) -> Any:
    """A hash object; the program decides what SHA-1 is for."""
    return hashlib.new(name, usedforsecurity=False)
