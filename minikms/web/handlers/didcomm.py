"""DIDComm v1 messages, from the bodies of their requests."""

from minikms.errors import DecryptionFailed, InvalidKey
from minikms.keys.didcomm import PackAnonymously, PackFrom, Unpack
from minikms.web.handlers.operation import Body, operation
from minikms.web.schemas import didcomm_bodies as schemas


@operation(
    schemas.PackRequest,
    schemas.PackAnswer,
    "The envelope.",
    member="packed",
    problems=(InvalidKey,),
    tag="didcomm",
)
def pack(body: Body) -> PackFrom | PackAnonymously:
    """Pack a DIDComm v1 message for its recipients."""
    kind = PackAnonymously if body["is_anonymous"] else PackFrom
    return kind(body["to"], body["message"])


@operation(
    schemas.UnpackRequest,
    schemas.UnpackAnswer,
    "The message.",
    problems=(DecryptionFailed,),
    tag="didcomm",
)
def unpack(body: Body) -> Unpack:
    """Unpack a DIDComm v1 message with the key that it was packed for."""
    return Unpack(body["packed"])
