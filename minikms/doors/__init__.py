"""What the author of a door imports: another protocol on the same keys (docs/writing-a-door.md)."""

from minikms.doors.protocol import Door, DoorCall, DoorOption, DoorRoute, ErrorAnswer
from minikms.errors import (
    BadRequest,
    KmsError,
    MalformedJson,
    RouteNotFound,
    ValidationFailed,
)
from minikms.records import KeyPolicy, KeyRecord, KeyRef

__all__ = [
    "BadRequest",
    "Door",
    "DoorCall",
    "DoorOption",
    "DoorRoute",
    "ErrorAnswer",
    "KeyPolicy",
    "KeyRecord",
    "KeyRef",
    "KmsError",
    "MalformedJson",
    "RouteNotFound",
    "ValidationFailed",
]
