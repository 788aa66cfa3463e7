"""Key encapsulation and HPKE, from the bodies of their requests."""

from minikms.errors import DecryptionFailed, InvalidKey
from minikms.keys.encapsulation import Decapsulate, Encapsulate
from minikms.keys.hpke import OpenHpke, SealHpke
from minikms.web.handlers.operation import Body, operation
from minikms.web.schemas import encapsulation_bodies as schemas
from minikms.web.schemas.operation_bodies import DecryptedData


@operation(
    schemas.EncapsulateRequest,
    schemas.EncapsulatedSecret,
    "The secret and its ciphertext.",
    problems=(InvalidKey,),
    tag="encapsulation",
)
def encapsulate(_: Body) -> Encapsulate:
    """Make a secret, and encapsulate it to a public key."""
    return Encapsulate()


@operation(
    schemas.DecapsulateRequest,
    schemas.DecapsulatedSecret,
    "The secret.",
    member="secret",
    problems=(DecryptionFailed,),
    tag="encapsulation",
)
def decapsulate(body: Body) -> Decapsulate:
    """Decapsulate the secret of a ciphertext."""
    return Decapsulate(body["ciphertext"])


@operation(
    schemas.SealHpkeRequest,
    schemas.HpkeMessage,
    "What open needs.",
    problems=(InvalidKey,),
    tag="encapsulation",
)
def seal_hpke(body: Body) -> SealHpke:
    """Encrypt bytes to a public key by HPKE."""
    return SealHpke(body["plaintext"], body["options"])


@operation(
    schemas.OpenHpkeRequest,
    DecryptedData,
    "The plaintext.",
    member="plaintext",
    problems=(DecryptionFailed,),
    tag="encapsulation",
)
def open_hpke(body: Body) -> OpenHpke:
    """Decrypt what was encrypted to a key by HPKE."""
    return OpenHpke(body["sealed"], body["options"])
