"""DIDComm v1 messages, from the bodies of their requests."""

from minikms.keys.didcomm import PackAnonymously, PackFrom, Unpack
from minikms.web.handlers.operation import Body


def pack(body: Body) -> PackFrom | PackAnonymously:
    """Pack a DIDComm v1 message for its recipients."""
    kind = PackAnonymously if body["is_anonymous"] else PackFrom
    return kind(body["to"], body["message"])


def unpack(body: Body) -> Unpack:
    """Unpack a DIDComm v1 message with the key that it was packed for."""
    return Unpack(body["packed"])
