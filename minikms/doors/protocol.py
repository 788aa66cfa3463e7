"""The plugin interface of a door: another protocol on the same keys, with a port of its own.

The help of `minikms serve` loads the installed doors, so this module imports little.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from minikms.errors import KmsError
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DELETE_SCOPE
from minikms.records import AliasBinding, KeyPolicy, KeyRecord, KeyRef, KeySource, State
from minikms.versions import KeyVersions

if TYPE_CHECKING:
    from aiohttp import web

    from minikms.http.gate import GatedCall
    from minikms.keys.making import KeyPair
    from minikms.keys.operation import BatchOperation, Operation

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class DoorService(Protocol):
    """The keys of the service, as a door uses them.

    `profile` names the tenant, whose keys alone are found. Every method may raise StoreUnavailable
    and ProfileNotFound besides the errors that it names, and KeyNotFound or AliasNotFound if it
    takes a key.
    """

    async def perform(
        self, profile: str, by: KeyRef, operation: "Operation[Any, ResultT]"
    ) -> ResultT:
        """Perform an operation (`minikms.doors.operations`) with the key `by`.

        Raises UnsupportedOperation if the key cannot or may not do this, KeyNotUsable if its state
        excludes it, RuleViolated or OverRate if its rules do, and the errors of the operation.
        """

    async def perform_batch(
        self,
        profile: str,
        by: KeyRef,
        batch: "BatchOperation[Any, ItemT, ResultT]",
        items: "Sequence[ItemT | KmsError]",
        check: Callable[[], None] = ...,
    ) -> "list[ResultT | KmsError]":
        """Perform an operation for many items with the key `by`: a result or an error for each.

        An error that stands for an item that cannot be read is its result. The work is done in the
        threads for batches; `check` is called now and then, and may raise. Raises like `perform`,
        and TooBusy.
        """

    async def generate(self, profile: str, alg: str, policy: KeyPolicy) -> KeyRecord:
        """Make and store a key.

        Raises UnsupportedAlgorithm, AliasExists, TooManyKeys, TooLargeRecord and TooBusy.
        """

    async def generate_pair(self, profile: str, alg: str) -> "KeyPair":
        """Make a key pair that is not stored.

        Raises UnsupportedAlgorithm, TooBusy, and UnsupportedOperation for secret keys.
        """

    async def import_key(
        self,
        profile: str,
        source: KeySource,
        policy: KeyPolicy,
        *,
        check: Callable[[KeyRecord, KeyVersions], object] | None = None,
    ) -> KeyRecord:
        """Store a key that exists.

        With `check`, it is the next version of the one alias of `policy`, or AliasNotFound is
        raised. `check` gets the newest record and the versions in the transaction, and may raise.
        Raises UnsupportedAlgorithm, UnsupportedOperation, InvalidKey, DecryptionFailed, KeyExists,
        AliasExists, TooManyKeys, TooLargeRecord and TooBusy.
        """

    async def get(self, profile: str, ref: KeyRef) -> KeyRecord:
        """Find the record of a key."""

    async def describe(self, profile: str, ref: KeyRef) -> KeyRecord:
        """Find the record of a key with the time of its last use, `last_used`.

        It is in nanoseconds, true to five minutes, and None if no use is known since `noted_since`.
        """

    async def list_keys(
        self, profile: str, *, limit: int, after: str = ""
    ) -> tuple[list[KeyRecord], bool]:
        """List up to `limit` keys by creation, behind the key whose `seq` is `after`.

        The flag tells whether more keys follow.
        """

    def pages(self, profile: str) -> AsyncIterator[list[KeyRecord]]:
        """List all keys by creation, page after page."""

    async def associate(
        self, profile: str, kid: str, alias: str, binding: AliasBinding = "move"
    ) -> None:
        """Give a key an alias.

        If another key has it, "move" takes it away, and "refuse" raises AliasExists. "create"
        raises AliasExists for every alias that exists, and "update" raises AliasNotFound for
        others. Also raises TooManyAliases and TooLargeRecord.
        """

    async def dissociate(self, profile: str, kid: str | None, alias: str) -> None:
        """Remove an alias from this key, or from any key if `kid` is None."""

    async def update(self, profile: str, kid: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Set `state`, `expires`, `labels`, `rules` or `rotate_every` of a key, as `changes` say.

        `rotate_every` is in seconds, None for no scheduled rotation. `rotates` is the time of the
        first one in nanoseconds, by default one period from now. Raises TooLargeRecord,
        RulesLoosened, UnsupportedOption for rules that do not fit the key, UnsupportedOperation to
        rotate a public key alone, and KeyNotUsable if the key is scheduled for deletion, or shall
        be rotated and is not enabled.
        """

    async def relabel(
        self, profile: str, kid: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> KeyRecord:
        """Set the labels of a key to the result of `change`, which gets the present labels.

        Raises TooLargeRecord, KeyNotUsable if the key is scheduled for deletion, and the errors of
        `change`.
        """

    async def set_certificates(self, profile: str, kid: str, chain: Sequence[str]) -> KeyRecord:
        """Give a key these certificates in PEM, its own first, instead of those that it has.

        Raises InvalidCertificate, TooLargeRecord, UnsupportedOperation for a key that does not
        sign, and KeyNotUsable if the key is scheduled for deletion.
        """

    async def rotate(self, profile: str, kid: str, *, keep_schedule: bool = ...) -> KeyRecord:
        """Replace a key by a new one, and give the record of the new one.

        A key with `rotate_every` passes it on, and a new period begins, unless `keep_schedule`.

        Raises KeyNotUsable if the key is not enabled, UnsupportedOperation for a public key alone,
        TooManyKeys, TooManyAliases, TooLargeRecord and TooBusy.
        """

    async def schedule_deletion(
        self,
        profile: str,
        ref: KeyRef,
        after: int,
        *,
        check: Callable[[KeyRecord], object] = ...,
        may_delete: bool = ...,
    ) -> KeyRecord:
        """Delete a key in `after` nanoseconds, and let nobody use it until then.

        `check` gets the record in the transaction, and may raise. `may_delete` and the settings of
        the profile apply as in `delete`.
        """

    async def restore(
        self,
        profile: str,
        kid: str,
        *,
        state: State | None = None,
        check: Callable[[KeyRecord], object] = ...,
    ) -> KeyRecord:
        """Cancel the scheduled deletion of a key, and set its `state` unless that is None.

        `check` gets the record in the transaction, and may raise.
        """

    async def delete(self, profile: str, ref: KeyRef, *, may_delete: bool = ...) -> KeyRecord:
        """Delete a key with its aliases, and give its record.

        If the profile has a least delay, the key is deleted then, at `deletes` of the record. Give
        `DoorCall.may_delete`: if it is false, which is the default, profiles that require the scope
        `keys:delete` raise Forbidden.
        """

    async def versions(self, profile: str, name: str, *, fresh: bool = False) -> KeyVersions:
        """Find the versions of the alias `name`, from a cache if possible, unless `fresh`.

        `kid_of(version)` is the key of a version, which may be deleted since; perform operations
        with `KeyRef(kid=...)`. A rotation or a move of the alias, at any door, is the next version.
        """

    async def predecessors(self, profile: str, kid: str, alias: str) -> Sequence[str]:
        """Find the keys that rotations replaced by a key, newest first, while they had the alias.

        They may be deleted since. There are none if the key has lost the alias.
        """

    async def records(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """Find the record of each kid; None if the key does not exist."""

    async def rotate_name(
        self,
        profile: str,
        name: str,
        check: Callable[[KeyRecord, KeyVersions], object] | None = None,
    ) -> KeyRecord:
        """Replace the key that the alias `name` names as `rotate` does, but leave it enabled.

        Calls at the same time each add a version. `check` gets the record and the versions in the
        transaction, and may raise. Raises the errors of `rotate`.
        """

    async def change_versions(
        self,
        profile: str,
        name: str,
        change: Callable[[KeyRecord, KeyVersions], KeyVersions],
        *,
        may_delete: bool = ...,
    ) -> KeyVersions:
        """Store the versions of an alias that `change` makes of the present ones.

        `change` gets the newest record and the versions in the transaction, and may raise. Keys of
        versions that it leaves out are deleted, as by `delete`, unless another alias has them among
        its versions.
        """

    async def delete_name(
        self,
        profile: str,
        name: str,
        check: Callable[[KeyRecord, KeyVersions], object],
        *,
        may_delete: bool = ...,
    ) -> KeyRecord:
        """Delete an alias with the keys of all versions, and give the record of the newest.

        They are deleted as by `delete`: after a delay, until which the alias stays, too. Keys stay
        if another alias has them among its versions, and are deleted with that one.
        `check` gets the newest record and the versions in the transaction, and may raise.
        """

    def random(self, length: int) -> bytes:
        """Give random bytes of the system."""

    async def ping(self) -> None:
        """Wait for an answer of the store."""


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
