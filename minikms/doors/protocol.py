"""The plugin interface of a door: another protocol on the same keys, with a port of its own.

The help of `minikms serve` loads the installed doors, so this module imports little.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol, TypeAlias

from minikms.doors.service import DoorService
from minikms.errors import KmsError
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DELETE_SCOPE

if TYPE_CHECKING:
    from aiohttp import web

    from minikms.http.gate import GatedCall


class DoorCaller(Protocol):
    """The caller of a door, as a handler sees it; without tokens, anybody with every scope.

    `profiles` None means all profiles. `token` is the public id of its token in the store, empty
    without one. `created` and `expires` are the times of its token in nanoseconds since the epoch,
    None if it has none.
    """

    @property
    def name(self) -> str: ...
    @property
    def scopes(self) -> frozenset[str]: ...
    @property
    def profiles(self) -> frozenset[str] | None: ...
    @property
    def token(self) -> str: ...
    @property
    def created(self) -> int | None: ...
    @property
    def expires(self) -> int | None: ...

    def may(self, scope: str) -> bool:
        """Tell whether the caller has this scope; with `keys:write`, it also has `keys:delete`."""

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the caller `may` make calls of this scope."""


class DoorOption(NamedTuple):
    """An option of a door: `--DOOR-NAME` of `minikms serve`, and `MINIKMS_DOOR_NAME`."""

    name: str
    help: str
    default: str = ""
    value: str = "TEXT"
    """Placeholder of the value in the help, such as FILE."""


@dataclass(slots=True, eq=False)
class DoorCall:
    """A call that has passed the gate: its caller may perform this operation in this profile.

    `request` is aiohttp's; its body has been read into `body`. `request_id` is the id in the log
    and the audit log: up to 128 of `A-Za-z0-9._:/+=@-`. `parameters` are the variables of the path
    by name, if `minikms.doors.paths` found the route.
    """

    request: "web.Request"
    body: bytes = field(repr=False)
    profile: str
    service: DoorService
    request_id: str
    parameters: Mapping[str, str]
    _gated: "GatedCall" = field(init=False, repr=False)

    def presence(self) -> Callable[[], None]:
        """Make the `check` of a batch, which raises once the caller is gone."""
        # Imported here: the help of `minikms serve` loads this module without HTTP.
        from minikms.http.presence import presence

        return presence(self.request)

    @property
    def caller(self) -> "DoorCaller":
        """The caller, for a scope that depends on the body."""
        return self._gated.caller

    @property
    def may_delete(self) -> bool:
        """True if the caller has the scope `keys:delete` itself, which a profile may require."""
        return DELETE_SCOPE in self.caller.scopes

    async def authenticate(self, token: str) -> "DoorCaller":
        """Authenticate the token in the body of a call to a LOGIN route, for the call's profile.

        Raises Unauthenticated, TooManyAttempts, and ProfileNotFound if it is not for this profile.
        """
        await self._gated.log_in(token)
        return self.caller


class DoorAnswer(NamedTuple):
    """An answer with a status of its own."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})
    """Headers of the answer; without a Content-Type, the one of the door."""


ErrorAnswer = DoorAnswer
"""The answer to send for an error, including its Content-Type."""

# Returns the body of a success with status 200, or an answer with another status.
Handler: TypeAlias = Callable[[DoorCall], Awaitable[bytes | DoorAnswer]]

OPEN: Final = "open"
"""In place of a scope: anybody may call, and calls are not in the audit log."""
LOGIN: Final = "login"
"""In place of a scope: anybody may call, and the handler calls `DoorCall.authenticate`."""
ANY_TOKEN: Final = "any-token"  # noqa: S105 - not a token
"""In place of a scope: the caller needs a token, with any scopes."""


class DoorRoute(NamedTuple):
    """An operation of a door, which the audit log and the metrics name `DOOR:OPERATION`.

    Callers need the scope `scope` (docs/http-api.md#scopes) and all scopes in `also`. In place of
    a scope, OPEN, LOGIN and ANY_TOKEN need none.
    """

    operation: str
    scope: str
    handler: Handler
    also: tuple[str, ...] = ()


class Door(ABC):
    """Another protocol on the same keys.

    Each process makes one instance, with its own options and the installed algorithms. `answer`
    turns every KmsError into an answer: errors that the methods raise, and errors from before, such
    as HTTP that does not parse, a body that is too large, or a caller who is not authenticated.
    """

    name: ClassVar[str]
    """Lower-case letters and digits; its options begin with it: `--NAME-port`, `--NAME-host`."""
    title: ClassVar[str]
    """Name of its protocol, for the help and the log."""
    content_type: ClassVar[str]
    """The Content-Type of a success."""
    request_id_header: ClassVar[str] = "X-Request-Id"
    """The header of an answer that has the request's id."""
    options: ClassVar[tuple[DoorOption, ...]] = ()
    """Its own options, besides port and host."""
    max_body: ClassVar[int | None] = None
    """Largest body that it takes, in bytes; the service's own limit also applies."""
    list_method: ClassVar[bool] = False
    """Take requests with any method, such as LIST; its port then has aiohttp's slower parser."""
    alias_prefixes: ClassVar[tuple[str, ...]] = ()
    """Prefixes of aliases that only this door may give, move and remove."""

    def __init__(self, options: Mapping[str, str], registry: AlgorithmRegistry) -> None:
        """Take the options of the door; raises SetupError if one cannot be used."""
        self.given = options
        self.registry = registry

    @property
    @abstractmethod
    def routes(self) -> Sequence[DoorRoute]:
        """Its operations."""

    @abstractmethod
    def route_of(self, request: "web.Request") -> DoorRoute:
        """Return the route that the head of a request names; raises KmsError without one."""

    @abstractmethod
    def token(self, request: "web.Request") -> str:
        """Return the caller's token, or an empty text; the gate checks it."""

    @abstractmethod
    def profile(self, request: "web.Request") -> str:
        """Return the profile that a request is for; raises KmsError if it names none."""

    @abstractmethod
    def answer(self, error: KmsError) -> ErrorAnswer:
        """Return the answer to send for an error; its `detail` has no secret."""
