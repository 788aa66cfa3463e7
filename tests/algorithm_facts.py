"""Facts of each built-in algorithm, from its specification and not from its class.

A new built-in algorithm begins here: tests take names, sizes and kinds from this table.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

SIGN, AEAD, WRAP = ("sign", "verify"), ("encrypt", "decrypt"), ("wrap", "unwrap")
MAC, BOX = ("mac", "mac-verify"), ("box", "box-open")
JWE, HPKE = ("jwe-encrypt", "jwe-decrypt"), "hpke-open"
AGREE = ("derive", *JWE)
LIBRARIES = ("pyca", "joserfc", "jwcrypto", "jose")
"""Libraries that check our keys, signatures and JWEs; `jose` is npm's."""
RSA_NAMES = tuple(f"{scheme}{bits}" for scheme in ("RS", "PS") for bits in (256, 384, 512))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of one algorithm; sizes are in bytes."""

    kty: str
    uses: tuple[str, ...]
    """The operations on a key, in the order of the listing."""
    opt_in: tuple[str, ...] = ()
    imports: tuple[str, ...]
    """The forms in which a key is imported."""
    signing: tuple[str, ...] = ()
    """JOSE's names for a signature or a MAC, the default first (RFC 7518, 8812, 9864, 9964)."""
    jose: tuple[str, ...] = ()
    """JOSE's other names: for agreement, encryption or the content's encryption."""
    prehashed: bool = False
    """True if it signs a digest as it signs the message."""
    libraries: tuple[str, ...] = LIBRARIES
    """The libraries that know its keys: tests ask only these."""
    crv: str = ""
    curve: ec.EllipticCurve | None = None
    order: int = 0
    """The order of the curve's base point."""
    hash: hashes.HashAlgorithm | None = None
    public: int = 0
    """The size of the public key's binary form."""
    signature: int = 0
    nonce: int = 0
    tag: int = 0
    multicodec: str = ""
    """The multicodec as a varint, in hexadecimal (the table of multiformats)."""
    kem: int = 0
    """The number of its KEM in HPKE (RFC 9180 section 7.1, draft-ietf-hpke-pq)."""
    enc: int = 0
    """The size of an encapsulated key."""
    aws: str = ""
    """The key spec of AWS KMS."""
    aws_usages: dict[str, list[str]] = field(default_factory=dict)
    """The algorithms of AWS KMS, by usage of the key."""


def _ec(curve, crv, signing, multicodec, digest, aws, kem=0, *, order, libraries=LIBRARIES):
    size = (curve.key_size + 7) // 8
    agreement = {"KEY_AGREEMENT": ["ECDH"]} if crv.startswith("P-") else {}
    return Facts(
        kty="EC",
        uses=(*SIGN, *AGREE, *([HPKE] if kem else [])),
        imports=("jwk", "secret"),
        signing=(signing,),
        jose=("ECDH-ES",),
        prehashed=True,
        libraries=libraries,
        crv=crv,
        curve=curve,
        order=int(order.replace(" ", ""), 16),
        hash=digest,
        public=1 + size,  # SEC 1 section 2.3.3, compressed
        signature=2 * size,
        multicodec=multicodec,
        kem=kem,
        enc=1 + 2 * size if kem else 0,
        aws=aws,
        aws_usages={"SIGN_VERIFY": [f"ECDSA_SHA_{digest.digest_size * 8}"], **agreement},
    )


def _rsa(bits):
    return Facts(
        kty="RSA",
        uses=(*SIGN, *AEAD, *JWE),
        imports=("jwk",),
        signing=RSA_NAMES,
        jose=("RSA-OAEP-256",),
        prehashed=True,
        signature=bits // 8,
        multicodec="8524",
        aws=f"RSA_{bits}",
        aws_usages={
            "SIGN_VERIFY": [
                f"RSASSA_{scheme}_SHA_{size}"
                for scheme in ("PKCS1_V1_5", "PSS")
                for size in (256, 384, 512)
            ],
            "ENCRYPT_DECRYPT": ["RSAES_OAEP_SHA_256"],
        },
    )


def _ml_dsa(level, *, public, signature, multicodec):
    return Facts(  # FIPS 204 section 4
        kty="AKP",
        uses=SIGN,
        imports=("jwk", "seed"),
        signing=(f"ML-DSA-{level}",),
        libraries=("pyca", "jwcrypto"),
        public=public,
        signature=signature,
        multicodec=multicodec,
        aws=f"ML_DSA_{level}",
        aws_usages={"SIGN_VERIFY": ["ML_DSA_SHAKE_256"]},
    )


def _ml_kem(level, *, public, enc, multicodec, kem):
    return Facts(  # FIPS 203 section 8
        kty="AKP",
        uses=("decapsulate", HPKE),
        imports=("jwk", "seed"),
        jose=(f"ML-KEM-{level}",),
        libraries=("pyca",),
        public=public,
        enc=enc,
        multicodec=multicodec,
        kem=kem,
        aws=f"ML_KEM_{level}",
        aws_usages={"ENCAPSULATE_DECAPSULATE": ["ML_KEM"]},
    )


def _bls(group, *, public, multicodec):
    return Facts(
        kty="EC",
        uses=(),
        imports=("jwk", "secret"),
        libraries=(),
        crv=f"BLS12381{group}",
        public=public,
        multicodec=multicodec,
    )


def _secret(uses, *names, **sizes):
    """A symmetric key; its names are JOSE's."""
    signing = names if "mac" in uses else ()
    return Facts(
        kty="oct",
        uses=uses,
        imports=("jwk", "secret"),
        signing=signing,
        jose=() if signing else names,
        **sizes,
    )


def _aead(name, nonce=12, tag=16, **aws):
    return _secret((*AEAD, *JWE), name, nonce=nonce, tag=tag, **aws)


def _hmac(bits):
    usages = {"GENERATE_VERIFY_MAC": [f"HMAC_SHA_{bits}"]}
    return _secret(MAC, f"HS{bits}", aws=f"HMAC_{bits}", aws_usages=usages)


FACTS = {
    "ed25519": Facts(
        kty="OKP",
        uses=(*SIGN, *AGREE, *BOX),
        opt_in=(*AGREE, *BOX),
        imports=("jwk", "secret", "seed"),
        signing=("EdDSA", "Ed25519"),
        crv="Ed25519",
        public=32,
        signature=64,
        multicodec="ed01",
        aws="ECC_NIST_EDWARDS25519",
        aws_usages={"SIGN_VERIFY": ["ED25519_SHA_512"]},
    ),
    "ed448": Facts(
        kty="OKP",
        uses=SIGN,
        imports=("jwk", "secret"),
        signing=("Ed448", "EdDSA"),
        libraries=("pyca", "joserfc", "jwcrypto"),
        crv="Ed448",
        public=57,
        signature=114,
        multicodec="8324",
    ),
    "x25519": Facts(
        kty="OKP",
        uses=(*AGREE, *BOX, HPKE),
        imports=("jwk", "secret", "seed"),
        jose=("ECDH-ES",),
        crv="X25519",
        public=32,
        multicodec="ec01",
        kem=0x20,
        enc=32,
    ),
    "x448": Facts(
        kty="OKP",
        uses=(*AGREE, HPKE),
        imports=("jwk", "secret"),
        jose=("ECDH-ES",),
        libraries=("pyca", "joserfc", "jwcrypto"),
        crv="X448",
        public=56,
        multicodec="8424",
        kem=0x21,
        enc=56,
    ),
    "k256": _ec(
        *(ec.SECP256K1(), "secp256k1", "ES256K", "e701", hashes.SHA256(), "ECC_SECG_P256K1"),
        order="FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE BAAEDCE6AF48A03BBFD25E8CD0364141",
        libraries=("pyca", "joserfc", "jwcrypto"),
    ),
    "p256": _ec(
        *(ec.SECP256R1(), "P-256", "ES256", "8024", hashes.SHA256(), "ECC_NIST_P256", 0x10),
        order="FFFFFFFF00000000FFFFFFFFFFFFFFFF BCE6FAADA7179E84F3B9CAC2FC632551",
    ),
    "p384": _ec(
        *(ec.SECP384R1(), "P-384", "ES384", "8124", hashes.SHA384(), "ECC_NIST_P384", 0x11),
        order="FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF FFFFFFFFFFFFFFFFC7634D81F4372DDF "
        "581A0DB248B0A77AECEC196ACCC52973",
    ),
    "p521": _ec(
        *(ec.SECP521R1(), "P-521", "ES512", "8224", hashes.SHA512(), "ECC_NIST_P521", 0x12),
        order=f"1{'F' * 65}A51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409",
    ),
    "rsa2048": _rsa(2048),
    "rsa3072": _rsa(3072),
    "rsa4096": _rsa(4096),
    "mldsa44": _ml_dsa(44, public=1312, signature=2420, multicodec="9024"),
    "mldsa65": _ml_dsa(65, public=1952, signature=3309, multicodec="9124"),
    "mldsa87": _ml_dsa(87, public=2592, signature=4627, multicodec="9224"),
    "mlkem768": _ml_kem(768, public=1184, enc=1088, multicodec="8c24", kem=0x41),
    "mlkem1024": _ml_kem(1024, public=1568, enc=1568, multicodec="8d24", kem=0x42),
    "bls12381g1": _bls("G1", public=48, multicodec="ea01"),
    "bls12381g2": _bls("G2", public=96, multicodec="eb01"),
    "a128gcm": _aead("A128GCM"),
    "a192gcm": _aead("A192GCM"),
    "a256gcm": _aead(
        "A256GCM", aws="SYMMETRIC_DEFAULT", aws_usages={"ENCRYPT_DECRYPT": ["SYMMETRIC_DEFAULT"]}
    ),
    "a128cbchs256": _aead("A128CBC-HS256", nonce=16),
    "a192cbchs384": _aead("A192CBC-HS384", nonce=16, tag=24),
    "a256cbchs512": _aead("A256CBC-HS512", nonce=16, tag=32),
    "c20p": _aead("C20P"),
    "xc20p": _aead("XC20P", nonce=24),
    "a128kw": _secret((*WRAP, *JWE), "A128KW"),
    "a192kw": _secret((*WRAP, *JWE), "A192KW"),
    "a256kw": _secret((*WRAP, *JWE), "A256KW"),
    "hs256": _hmac(256),
    "hs384": _hmac(384),
    "hs512": _hmac(512),
}

SLOW = ("rsa3072", "rsa4096")
"""Algorithms whose keys take a second to make; all else is as for RSA of 2048 bits."""


def named(condition=lambda facts: True, *, every_size=False):
    """The names of algorithms whose facts meet a condition, without `SLOW` unless `every_size`."""
    return [
        name
        for name, facts in FACTS.items()
        if condition(facts) and (every_size or name not in SLOW)
    ]


def using(*uses, every_size=False):
    """The names of algorithms whose keys have one of these operations."""
    return named(lambda facts: not {*uses}.isdisjoint(facts.uses), every_size=every_size)


KEY_PAIRS = named(lambda facts: facts.kty != "oct")
ECDSA = named(lambda facts: facts.curve is not None)
AEADS = named(lambda facts: facts.nonce)
