"""NaCl's boxes, from the bodies of their requests."""

from minikms.errors import DecryptionFailed, InvalidKey
from minikms.keys.boxes import MakeBox, OpenBox, OpenSealedBox, SealBox
from minikms.web.handlers.operation import Body, operation
from minikms.web.schemas import box_bodies as schemas
from minikms.web.schemas.operation_bodies import DecryptedData


@operation(
    schemas.BoxRequest,
    schemas.BoxCiphertext,
    "The box.",
    problems=(InvalidKey,),
    tag="boxes",
)
def make_box(body: Body) -> MakeBox:
    """Encrypt bytes from a key to a peer's public key, as a box of NaCl."""
    return MakeBox(body["to"], body["plaintext"])


@operation(
    schemas.OpenBoxRequest,
    DecryptedData,
    "The plaintext.",
    member="plaintext",
    problems=(DecryptionFailed, InvalidKey),
    tag="boxes",
)
def open_box(body: Body) -> OpenBox:
    """Open a box from a peer."""
    return OpenBox(body["sender"], body["boxed"])


@operation(
    schemas.SealBoxRequest,
    schemas.SealedBox,
    "The sealed box.",
    member="ciphertext",
    problems=(InvalidKey,),
    tag="boxes",
)
def seal_box(body: Body) -> SealBox:
    """Encrypt bytes to a public key, as a sealed box, which does not say who sent it."""
    return SealBox(body["plaintext"])


@operation(
    schemas.OpenSealedBoxRequest,
    DecryptedData,
    "The plaintext.",
    member="plaintext",
    problems=(DecryptionFailed,),
    tag="boxes",
)
def open_sealed_box(body: Body) -> OpenSealedBox:
    """Open a sealed box."""
    return OpenSealedBox(body["ciphertext"])
