"""brainpoolP256r1 for Mini KMS (RFC 5639): ECDSA and ECDH, 64-byte signatures."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from minikms.plugin import EcAlgorithm, Pkcs8KeyAlgorithm


class BP256(EcAlgorithm, Pkcs8KeyAlgorithm[ec.EllipticCurvePrivateKey]):
    """The store keeps its keys as PKCS #8; they have no multicodec."""

    name, crv = "bp256", "BP-256"
    aliases = ("brainpoolP256r1",)
    signing_algs = ("ESB256",)
    curve, hash = ec.BrainpoolP256R1(), hashes.SHA256()
