"""What a door is: another protocol on the same keys, with a port of its own.

A door is loaded for the help of `minikms serve`, too, so its module imports little.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from minikms.errors import KmsError

if TYPE_CHECKING:
    from aiohttp import web

    from minikms.keys.service import KeyService
    from minikms.plugin.registry import AlgorithmRegistry


class DoorOption(NamedTuple):
    """An option of a door's own: `--DOOR-NAME` of `minikms serve`, and `MINIKMS_DOOR_NAME`."""

    name: str
    help: str
    default: str = ""
    value: str = "TEXT"
    """What stands for the value in the help, such as FILE."""


@dataclass(frozen=True, slots=True)
class DoorCall:
    """A call that has passed the gate: its caller is known, and may do this in this profile.

    `request` is aiohttp's, whose body was read: it is `body`.
    """

    request: "web.Request"
    body: bytes = field(repr=False)
    profile: str
    service: "KeyService"


# Gives the body of a success.
Handler: TypeAlias = Callable[[DoorCall], Awaitable[bytes]]


class DoorRoute(NamedTuple):
    """One operation of a door, and the scope that its callers need (`access.policy.SCOPES`).

    They need those of `also`, too. The audit log and the metrics have it as `DOOR:OPERATION`.
    """

    operation: str
    scope: str
    handler: Handler
    also: tuple[str, ...] = ()


class ErrorAnswer(NamedTuple):
    """The answer of an error."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    """With its Content-Type."""


class Door(ABC):
    """Another protocol on the same keys.

    It is made once in each process, with its own options and the installed algorithms. What its
    methods raise, if it is a KmsError, is answered by `answer`, and so is all that fails before
    they are called: what does not parse, a body that is too large, a caller who is not known.
    """

    name: ClassVar[str]
    """Lower-case letters and digits; its options begin with it: `--NAME-port`, `--NAME-host`."""
    title: ClassVar[str]
    """What it speaks, for the help and the log."""
    content_type: ClassVar[str]
    """The Content-Type of a success."""
    request_id_header: ClassVar[str] = "X-Request-Id"
    """The header of an answer that has the request's id."""
    options: ClassVar[tuple[DoorOption, ...]] = ()
    """Its own options, besides port and host."""
    max_body: ClassVar[int | None] = None
    """The largest body that it takes, in bytes, where that is less than the service takes."""
    alias_prefixes: ClassVar[tuple[str, ...]] = ()
    """Prefixes of aliases that the door alone gives, moves and removes: the main port refuses."""

    def __init__(self, options: Mapping[str, str], registry: "AlgorithmRegistry") -> None:
        """Raises SetupError for options that cannot be used."""
        self.given = options
        self.registry = registry

    @property
    @abstractmethod
    def routes(self) -> Sequence[DoorRoute]:
        """Its operations."""

    @abstractmethod
    def route_of(self, request: "web.Request") -> DoorRoute:
        """The one of `routes` that a request calls, by its head; raises KmsError for none."""

    @abstractmethod
    def token(self, request: "web.Request") -> str:
        """The token that the caller brings, empty for none; it is checked where one is needed."""

    @abstractmethod
    def profile(self, request: "web.Request") -> str:
        """The name of the profile that a request is for; raises KmsError where it cannot be one."""

    @abstractmethod
    def answer(self, error: KmsError) -> ErrorAnswer:
        """The answer of an error, which has nothing of it but what a caller may know."""
