"""The public surface for authors of doors (docs/writing-a-door.md): `__all__` below.

Also public are `minikms.doors.operations`, `minikms.doors.paths` and `minikms.doors.public_keys`;
the other modules of this wing are private and may change at any time.
"""

from minikms import errors
from minikms.doors.json_bodies import parse_json
from minikms.doors.protocol import (
    ANY_TOKEN,
    LOGIN,
    OPEN,
    Door,
    DoorAnswer,
    DoorCall,
    DoorCaller,
    DoorOption,
    DoorRoute,
    ErrorAnswer,
)
from minikms.doors.service import DoorService
from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import (
    BadRequest,
    KmsError,
    MalformedJson,
    RouteNotFound,
    Unauthenticated,
    ValidationFailed,
)
from minikms.events import keep_key, set_alias, set_batch
from minikms.key_bounds import KID_PATTERN, MAX_LABEL_VALUE, MAX_LABELS, MAX_ROTATE_EVERY
from minikms.key_requests import KeyPolicy, KeyRef, KeySource
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.rules import Rules
from minikms.startup_errors import SetupError
from minikms.versions import KeyVersions

__all__ = [
    "ANY_TOKEN",
    "DEFAULT_PROFILE",
    "KID_PATTERN",
    "LOGIN",
    "MAX_LABELS",
    "MAX_LABEL_VALUE",
    "MAX_ROTATE_EVERY",
    "OPEN",
    "AlgorithmRegistry",
    "BadRequest",
    "Door",
    "DoorAnswer",
    "DoorCall",
    "DoorCaller",
    "DoorOption",
    "DoorRoute",
    "DoorService",
    "ErrorAnswer",
    "KeyPolicy",
    "KeyRecord",
    "KeyRef",
    "KeySource",
    "KeyVersions",
    "KmsError",
    "MalformedJson",
    "RouteNotFound",
    "Rules",
    "SetupError",
    "Unauthenticated",
    "ValidationFailed",
    "b64url_decode",
    "errors",
    "jose_b64url",
    "keep_key",
    "parse_json",
    "set_alias",
    "set_batch",
]
