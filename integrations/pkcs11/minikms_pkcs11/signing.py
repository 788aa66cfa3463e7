"""Schemes of signatures as mechanisms of PKCS#11, and their check in software."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from pkcs11 import MGF, Mechanism

from minikms.plugin import HASHES, Scheme, UnsupportedOption
from minikms_pkcs11.kinds import PublicKey

# The order of secp256k1's base point (SEC 2 section 2.4.1), and the highest low s.
_K256_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_HALF_OF_K256: Final = (_K256_ORDER // 2).to_bytes(32, "big")

# DigestInfo up to the digest (RFC 8017 section 9.2, note 1). All others differ in the last arc of
# the hash's object identifier.
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
    """The call that makes a signature; raises UnsupportedOption if PKCS#11 has no such scheme."""
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


class Halves(NamedTuple):
    """The halves of an ECDSA signature: their size in bytes, and the highest s that is returned."""

    size: int
    highest: bytes | None


def halves_of(public: PublicKey) -> Halves | None:
    """The halves of a key's signatures; None if they have none.

    Verifiers such as libsecp256k1 refuse a high s.
    """
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return None
    highest = _HALF_OF_K256 if isinstance(public.curve, ec.SECP256K1) else None
    return Halves((public.key_size + 7) // 8, highest)


def normalized(halves: Halves | None, signature: bytes) -> bytes:
    """The signature, with halves as long as the field and without a high s, if it has halves.

    PKCS #11 lets a token leave out leading zeros of both halves.
    """
    if halves is None:
        return signature
    size, half = halves.size, len(signature) // 2
    s = signature[half:].rjust(size, b"\0")
    if halves.highest is not None and s > halves.highest:
        s = (_K256_ORDER - int.from_bytes(s, "big")).to_bytes(size, "big")
    return signature[:half].rjust(size, b"\0") + s


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
