"""The plugin interface of a door: another protocol for the same keys, with its own port.

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
    """The caller of a door, as a handler sees it; without tokens, a caller with every scope.

    `profiles` None means all profiles. `token` is the public id of the caller's token in the store,
    empty without a token. `created` and `expires` are the token's times in nanoseconds since the
    epoch, or None. A caller with `roles` is the `subject` of an `issuer`, by its name in the file
    of roles.
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
    @property
    def issuer(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def roles(self) -> tuple[str, ...]: ...

    def may(self, scope: str) -> bool:
        """Tell whether the caller has this scope; `keys:write` includes `keys:delete`."""

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

    `request` is aiohttp's; its body is in `body`. `request_id` is the id in the log
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
        """Make the `check` of a batch, which raises once the caller has left."""
        # Imported here: the help of `minikms serve` loads this module without HTTP.
        from minikms.http.presence import presence

        return presence(self.request)

    @property
    def caller(self) -> "DoorCaller":
        """Return the caller, to check a scope that depends on the body."""
        return self._gated.caller

    @property
    def may_delete(self) -> bool:
        """Tell whether the caller has the scope `keys:delete` itself; a profile may require it."""
        return DELETE_SCOPE in self.caller.scopes

    async def authenticate(
        self, token: str, profile_of: "Callable[[DoorCaller], str] | None" = None
    ) -> "DoorCaller":
        """Authenticate the token in the body of a call to a LOGIN route, for the call's profile.

        If the head of the call does not name the profile, `profile_of` returns it for the caller.
        Raises Unauthenticated, TooManyAttempts, ProfileNotFound for a token of other profiles, and
        Forbidden for a JWT to which no role fits.
        """
        await self._gated.log_in(token, profile_of)
        self.profile = self._gated.profile
        return self.caller

    def in_role(self, token: str, role: str) -> str:
        """Return a token that carries a JWT and the name of one of its roles.

        Its caller has this role alone, at every port; it ends with the JWT. Authenticate it to find
        out whether the JWT has the role. A token to which roles do not apply is returned as it is,
        and its caller has no `roles`. An empty token stands for the client certificate, which the
        caller has to send with each call.
        """
        return self._gated.in_role(token, role)


class DoorAnswer(NamedTuple):
    """An answer with any status."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})
    """Headers of the answer; the default of Content-Type is the door's."""


ErrorAnswer = DoorAnswer
"""The answer to send for an error, including its Content-Type."""

# Returns the body of a success with status 200, or a whole answer.
Handler: TypeAlias = Callable[[DoorCall], Awaitable[bytes | DoorAnswer]]

OPEN: Final = "open"
"""In place of a scope: anybody may call, and calls are not in the audit log."""
LOGIN: Final = "login"
"""In place of a scope: anybody may call, and the handler calls `DoorCall.authenticate`."""
ANY_TOKEN: Final = "any-token"  # noqa: S105 - not a token
"""In place of a scope: the caller needs a token, with any scopes."""


class DoorRoute(NamedTuple):
    """An operation of a door, named `DOOR:OPERATION` in the audit log and the metrics.

    Callers need the scope `scope` (docs/http-api.md#scopes) and all scopes in `also`. `scope` may
    also be OPEN, LOGIN or ANY_TOKEN.
    """

    operation: str
    scope: str
    handler: Handler
    also: tuple[str, ...] = ()


class Door(ABC):
    """Another protocol for the same keys.

    Each process makes one instance, with the door's options and the installed algorithms. `answer`
    turns every KmsError into an answer: errors that the methods raise, and earlier errors, such as
    malformed HTTP, a body that is too large, or a caller who is not authenticated.
    """

    name: ClassVar[str]
    """Lower-case letters and digits; its options begin with it: `--NAME-port`, `--NAME-host`."""
    title: ClassVar[str]
    """Name of the protocol, for the help and the log."""
    content_type: ClassVar[str]
    """The Content-Type of a success."""
    request_id_header: ClassVar[str] = "X-Request-Id"
    """The name of the header with the request's id in answers."""
    options: ClassVar[tuple[DoorOption, ...]] = ()
    """The door's options, besides port and host."""
    max_body: ClassVar[int | None] = None
    """Limit of bodies in bytes; the service's own limit also applies."""
    list_method: ClassVar[bool] = False
    """Accept requests with any method, such as LIST; the port then has aiohttp's slower parser."""
    alias_prefixes: ClassVar[tuple[str, ...]] = ()
    """Prefixes of aliases that only this door may give to keys, move and remove."""

    def __init__(self, options: Mapping[str, str], registry: AlgorithmRegistry) -> None:
        """Make the door with its options; raises SetupError if an option is invalid."""
        self.given = options
        self.registry = registry

    @property
    @abstractmethod
    def routes(self) -> Sequence[DoorRoute]:
        """Return the operations of the door."""

    @abstractmethod
    def route_of(self, request: "web.Request") -> DoorRoute:
        """Return the route for the head of a request; raises KmsError if there is none."""

    @abstractmethod
    def token(self, request: "web.Request") -> str:
        """Return the caller's token, or an empty string; the gate authenticates it."""

    @abstractmethod
    def profile(self, request: "web.Request") -> str:
        """Return the profile that a request names; raises KmsError if it names none."""

    @abstractmethod
    def answer(self, error: KmsError) -> ErrorAnswer:
        """Return the answer to send for an error, whose `detail` contains no secret."""

    def answer_to(self, request: "web.BaseRequest", error: KmsError) -> ErrorAnswer:
        """Return the answer to a request for an error; override it if both decide the form.

        The head of a request that cannot be parsed looks empty.
        """
        return self.answer(error)
