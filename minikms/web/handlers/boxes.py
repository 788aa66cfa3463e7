"""NaCl's boxes, from the bodies of their requests."""

from minikms.keys.encryption import MakeBox, OpenBox, OpenSealedBox, SealBox
from minikms.web.handlers.operation import Body


def make_box(body: Body) -> MakeBox:
    """Encrypt bytes from a key to a peer's public key, as a box of NaCl."""
    return MakeBox(body["to"], body["plaintext"])


def open_box(body: Body) -> OpenBox:
    """Open a box from a peer."""
    return OpenBox(body["sender"], body["boxed"])


def seal_box(body: Body) -> SealBox:
    """Encrypt bytes to a public key, as a sealed box, which does not say who sent it."""
    return SealBox(body["plaintext"])


def open_sealed_box(body: Body) -> OpenSealedBox:
    """Open a sealed box."""
    return OpenSealedBox(body["ciphertext"])
