"""Key encapsulation, from the bodies of its requests."""

from minikms.errors import DecryptionFailed, InvalidKey
from minikms.keys.encapsulation import Decapsulate, Encapsulate
from minikms.web.handlers.operation import Body, operation
from minikms.web.schemas import encapsulation as schemas


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
