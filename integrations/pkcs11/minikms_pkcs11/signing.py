"""Signature schemes as PKCS#11 mechanisms, and verification in software."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from pkcs11 import MGF, Mechanism

from minikms.plugin import HASHES, Scheme, UnsupportedOption
from minikms_pkcs11.kinds import PublicKey

# The order of secp256k1's base point (SEC 2 section 2.4.1), and the highest low s.
_K256_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_HALF_OF_K256: Final = (_K256_ORDER // 2).to_bytes(32, "big")

# DigestInfo up to the digest (RFC 8017 section 9.2, note 1). For hashes other than SHA-1, only the
# last arc of the object identifier and the lengths differ.
_SHA1_INFO: Final = bytes.fromhex("3021300906052b0e03021a05000414")
_ARCS: Final = {
    "sha224": 4,
    "sha256": 1,
    "sha384": 2,
    "sha512": 3,
    "sha3_224": 7,
    "sha3_256": 8,
    "sha3_384": 9,
    "sha3_512": 10,
}
_PSS: Final[Mapping[str, tuple[Mechanism, MGF]]] = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha224": (Mechanism.SHA224, MGF.SHA224),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}


class Signing(NamedTuple):
    """The arguments of C_SignInit and C_Sign."""

    mechanism: Mechanism
    parameter: Any
    data: bytes


def signing(data: bytes, scheme: Scheme) -> Signing:
    """Choose the arguments for a signature; raises UnsupportedOption for a missing scheme."""
    match scheme.name:
        case "ecdsa":
            return Signing(Mechanism.ECDSA, None, data)
        case "eddsa":
            return Signing(Mechanism.EDDSA, None, data)
        case "rsa-pkcs1v15":
            return Signing(Mechanism.RSA_PKCS, None, _digest_info(scheme.hash) + data)
        case "rsa-pss":
            hash_and_mgf = _PSS.get(scheme.hash or "")
            if hash_and_mgf is None:
                raise UnsupportedOption("The token has no PSS with this hash.")
            return Signing(Mechanism.RSA_PKCS_PSS, (*hash_and_mgf, scheme.salt_length), data)


class Form(NamedTuple):
    """The form of a key's signatures.

    `size` is their length in bytes. An ECDSA signature has two halves; `highest` is the highest
    allowed s, None for any.
    """

    size: int
    has_halves: bool = False
    highest: bytes | None = None


def form_of(public: PublicKey) -> Form:
    """Return the form of a key's signatures.

    Verifiers such as libsecp256k1 refuse a high s.
    """
    if isinstance(public, ec.EllipticCurvePublicKey):
        highest = _HALF_OF_K256 if isinstance(public.curve, ec.SECP256K1) else None
        return Form(2 * ((public.key_size + 7) // 8), has_halves=True, highest=highest)
    if isinstance(public, rsa.RSAPublicKey):
        return Form((public.key_size + 7) // 8)
    return Form(64)  # of Ed25519 (RFC 8032 section 5.1.6)


def normalized(form: Form, signature: bytes) -> bytes:
    """Normalize an ECDSA signature: halves as long as the field, and no high s.

    PKCS #11 lets a token omit leading zeros of both halves. Raises InvalidSignature if the
    signature has another length.
    """
    size, length = form.size, len(signature)
    if length != size and not (form.has_halves and 0 < length < size and length % 2 == 0):
        raise InvalidSignature
    if not form.has_halves:
        return signature
    half, whole = length // 2, size // 2
    s = signature[half:].rjust(whole, b"\0")
    if form.highest is not None and s > form.highest:
        s = (_K256_ORDER - int.from_bytes(s, "big")).to_bytes(whole, "big")
    return signature[:half].rjust(whole, b"\0") + s


def verify(public: PublicKey, data: bytes, scheme: Scheme, signature: bytes) -> None:
    """Verify a signature in software; raises InvalidSignature."""
    digest: Any = utils.Prehashed(HASHES[scheme.hash]) if scheme.hash else utils.NoDigestInfo()
    if isinstance(public, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        r, s = (int.from_bytes(each, "big") for each in (signature[:half], signature[half:]))
        public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(digest))
    elif isinstance(public, rsa.RSAPublicKey):
        scheme_padding: padding.AsymmetricPadding = padding.PKCS1v15()
        if scheme.name == "rsa-pss":
            scheme_padding = padding.PSS(
                padding.MGF1(HASHES[scheme.hash or ""]), scheme.salt_length or 0
            )
        public.verify(signature, data, scheme_padding, digest)
    else:
        public.verify(signature, data)


def _digest_info(name: str | None) -> bytes:
    if name is None:
        return b""
    if name == "sha1":
        return _SHA1_INFO
    size = HASHES[name].digest_size
    algorithm = bytes.fromhex(f"300d06096086480165030402{_ARCS[name]:02x}0500")
    return bytes([0x30, len(algorithm) + 2 + size]) + algorithm + bytes([0x04, size])
