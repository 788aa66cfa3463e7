"""Key encapsulation and HPKE, from the bodies of their requests."""

from minikms.keys.encryption import Decapsulate, Encapsulate, OpenHpke, SealHpke
from minikms.web.handlers.operation import Body


def encapsulate(_: Body) -> Encapsulate:
    """Make a secret, and encapsulate it to a public key."""
    return Encapsulate()


def decapsulate(body: Body) -> Decapsulate:
    """Decapsulate the secret of a ciphertext."""
    return Decapsulate(body["ciphertext"])


def seal_hpke(body: Body) -> SealHpke:
    """Encrypt bytes to a public key by HPKE."""
    return SealHpke(body["plaintext"], body["options"])


def open_hpke(body: Body) -> OpenHpke:
    """Decrypt what was encrypted to a key by HPKE."""
    return OpenHpke(body["sealed"], body["options"])
