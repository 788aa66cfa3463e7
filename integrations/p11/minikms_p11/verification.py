"""Verification of signatures, and encryption, with public keys: in the sidecar."""

from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from minikms_p11 import constants as c
from minikms_p11.algorithms import CURVES_BY_OID, HASHES, OIDS_BY_CURVE, digest_size
from minikms_p11.keys import PublicKey
from minikms_p11.mechanisms import Signing, digest_info, fitted, pss_hash
from minikms_p11.refusal import Refusal

_BY_DIGEST: Final = {digest_size(name): name for name in ("sha256", "sha384", "sha512")}


def key_type_of(key: PublicKey) -> int:
    """CKA_KEY_TYPE of a public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return c.CKK_RSA
    return c.CKK_EC_EDWARDS if isinstance(key, ed25519.Ed25519PublicKey) else c.CKK_EC


def verify(key: PublicKey, row: Signing, parameter: Any, content: bytes, sig: bytes) -> None:
    """Check a signature over a digest or data; raises Refusal."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _verify_rsa(key, row, parameter, content, sig)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            _verify_ecdsa(key, content, sig)
        else:
            key.verify(sig, content)
    except InvalidSignature:
        raise Refusal(c.CKR_SIGNATURE_INVALID) from None


def _verify_rsa(
    key: rsa.RSAPublicKey, row: Signing, parameter: Any, content: bytes, sig: bytes
) -> None:
    if len(sig) != (key.key_size + 7) // 8:
        raise Refusal(c.CKR_SIGNATURE_LEN_RANGE)
    if row.pss:
        name = pss_hash(parameter, content)
        algorithm = HASHES[name]()
        scheme: padding.AsymmetricPadding = padding.PSS(
            padding.MGF1(algorithm), algorithm.digest_size
        )
    else:
        name, content = (row.hash, content) if row.hash else digest_info(content)
        algorithm, scheme = HASHES[name](), padding.PKCS1v15()
    key.verify(sig, content, scheme, utils.Prehashed(algorithm))


def _verify_ecdsa(key: ec.EllipticCurvePublicKey, content: bytes, sig: bytes) -> None:
    _, curve = CURVES_BY_OID[OIDS_BY_CURVE[key.curve.name]]
    if len(sig) != 2 * curve.size:
        raise Refusal(c.CKR_SIGNATURE_LEN_RANGE)
    r, s = (int.from_bytes(half) for half in (sig[: curve.size], sig[curve.size :]))
    digest = fitted(content, curve)
    algorithm = ec.ECDSA(utils.Prehashed(HASHES[_BY_DIGEST[len(digest)]]()))
    key.verify(utils.encode_dss_signature(r, s), digest, algorithm)


def oaep() -> padding.OAEP:
    """RSA-OAEP as the service decrypts it: SHA-256, also in MGF1, and no label."""
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
