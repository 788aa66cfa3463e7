"""What the author of a door imports: another protocol on the same keys (docs/writing-a-door.md)."""

from minikms.doors.protocol import Door, DoorCall, DoorOption, DoorRoute, ErrorAnswer
from minikms.errors import (
    BadRequest,
    KmsError,
    MalformedJson,
    RouteNotFound,
    Unauthenticated,
    ValidationFailed,
)
from minikms.records import KeyPolicy, KeyRecord, KeyRef, KeySource
from minikms.startup_errors import SetupError

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
    "KeySource",
    "KmsError",
    "MalformedJson",
    "RouteNotFound",
    "SetupError",
    "Unauthenticated",
    "ValidationFailed",
]
