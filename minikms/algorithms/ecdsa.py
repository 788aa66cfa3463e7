"""The NIST curves and secp256k1 (FIPS 186-5, SEC 2, RFC 7518 section 3.4, RFC 8812)."""

from importlib.util import find_spec
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec

from minikms.plugin import BytesStored, EcAlgorithm, Pkcs8KeyAlgorithm, PycaHpke

# coincurve has no wheel for Python 3.14.
if find_spec("coincurve"):
    from minikms.algorithms.libsecp256k1 import K256
else:
    from minikms.algorithms.secp256k1 import K256  # type: ignore[assignment] # one of the two

__all__ = ["K256", "P256", "P384", "P521"]

NistHpke: TypeAlias = PycaHpke[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]


class P256(EcAlgorithm, NistHpke, BytesStored[ec.EllipticCurvePrivateKey]):
    """NIST P-256: ES256, 64-byte signatures."""

    name, crv, multicodec = "p256", "P-256", 0x1200
    aliases = ("P-256", "secp256r1", "prime256v1")
    signing_algs = ("ES256",)
    curve, hash, hpke_kem = ec.SECP256R1(), hashes.SHA256(), hpke.KEM.P256


class P384(EcAlgorithm, NistHpke, BytesStored[ec.EllipticCurvePrivateKey]):
    """NIST P-384: ES384, 96-byte signatures."""

    name, crv, multicodec = "p384", "P-384", 0x1201
    aliases = ("P-384", "secp384r1")
    signing_algs = ("ES384",)
    curve, hash, hpke_kem = ec.SECP384R1(), hashes.SHA384(), hpke.KEM.P384
    slow = frozenset({"verify", "derive", "hpke-open"})


class P521(EcAlgorithm, NistHpke, Pkcs8KeyAlgorithm[ec.EllipticCurvePrivateKey]):
    """NIST P-521, not in Askar: ES512, 132-byte signatures."""

    name, crv, multicodec = "p521", "P-521", 0x1202
    aliases = ("P-521", "secp521r1")
    signing_algs = ("ES512",)
    curve, hash, hpke_kem = ec.SECP521R1(), hashes.SHA512(), hpke.KEM.P521
    slow = frozenset({"verify", "derive", "hpke-open"})
