"""Operations of the Vault door: their declaration, and the form of their answers.

A handler gets a VaultCall and the Body of the call. It returns the members of `data`, or None for
an answer without a body (204), or a VaultAnswer for everything else:

    @operation("rotateKey", "keys:write", "POST keys/{name}/rotate")
    async def rotate_key(call: VaultCall, body: Body) -> Answer | None:
        ...

A path is below the mount of the Transit engine, or below `/v1` if it begins with a slash. A
variable `{name}` is one segment, `{name...}` is the rest of the path. Variables are members of the
body. A PUT is a POST, and a GET with `list=true` is a LIST. CONTRIBUTING.md has the whole recipe.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import orjson

from minikms.doors import (
    AlgorithmRegistry,
    DoorAnswer,
    DoorCall,
    DoorRoute,
    DoorService,
    errors,
    set_alias,
)
from minikms_vault import body as bodies
from minikms_vault.body import Body
from minikms_vault.errors import invalid, not_found

ResultT = TypeVar("ResultT")

MOUNT: Final = "transit"
"""The path of the Transit engine's only mount."""
LEASE: Final = 2_764_800
"""The seconds of a lease: Vault's default, 32 days.

Vault's agent logs in again and again if a lease has no time left.
"""

_READS: Final = frozenset({"GET", "LIST"})
_WRAP: Final = "X-Vault-Wrap-TTL"
MISSING: Final = "encryption key not found"
"""The sentence for a missing key, unless an operation has its own."""


class VaultAnswer(NamedTuple):
    """An answer with more than `data`.

    A `bare` answer has only the members of `data`; a `doubled` answer repeats them beside `data`.
    """

    data: Mapping[str, Any] | None = None
    status: int = 200
    warnings: tuple[str, ...] = ()
    auth: Mapping[str, Any] | None = None
    bare: bool = False
    doubled: bool = False


# The members of `data`.
Answer: TypeAlias = Mapping[str, Any] | VaultAnswer


class StaleVersions(Exception):
    """The cache may lack a version that another service has made: call again with `fresh`."""


class VaultCall(NamedTuple):
    """A call of `operation` that has passed the gate; `door` has its HTTP request and caller.

    A `fresh` one reads versions from the store.
    """

    operation: str
    profile: str
    service: DoorService
    registry: AlgorithmRegistry
    door: DoorCall
    fresh: bool = False


# Returns the members of `data`, None for an answer without a body.
Handler: TypeAlias = Callable[[VaultCall, Body], Awaitable[Answer | None]]


@dataclass(frozen=True, slots=True)
class VaultOperation:
    """An operation of the door; `calls` are its methods and paths, such as `POST sign/{name}`.

    `takes` lists the members of its body, and the answer warns of others; None turns the warning
    off. `missing` is Vault's sentence for a key that does not exist. Callers need one of the scopes
    in `either`, which the handler checks.
    """

    name: str
    scope: str
    calls: tuple[str, ...]
    handler: Handler
    also: tuple[str, ...] = ()
    takes: str | None = None
    missing: str = MISSING
    either: tuple[str, ...] = ()

    def paths(self) -> list[tuple[str, str]]:
        """Return its methods, each with a path behind `/v1/`."""
        split = (call.split(" ") for call in self.calls)
        return [
            (method, path[1:] if path.startswith("/") else f"{MOUNT}/{path}")
            for method, path in split
        ]

    def route(self, registry: AlgorithmRegistry) -> DoorRoute:
        name, handler, missing = self.name, self.handler, self.missing
        reads = all(method in _READS for method, _ in self.paths())
        takes = None if self.takes is None else frozenset(self.takes.split(" "))

        async def handle(call: DoorCall) -> bytes | DoorAnswer:
            parameters = call.parameters
            if "name" in parameters:
                set_alias(parameters["name"])  # first, so that the line of a refusal has it
            if _WRAP in call.request.headers:
                _refuse_to_wrap(call)
            members = bodies.read(call.body, call.request.headers)
            unknown = () if takes is None or members.keys() <= takes else members.keys() - takes
            if reads and call.request.query_string:
                members |= call.request.query
            if parameters:
                members |= parameters
            known = VaultCall(name, call.profile, call.service, registry, call)
            try:
                try:
                    answer = await handler(known, Body(members))
                except StaleVersions:
                    answer = await handler(known._replace(fresh=True), Body(members))
            except (errors.AliasNotFound, errors.KeyNotFound):
                raise not_found() if reads else invalid(missing) from None
            if answer is None:
                return _NO_CONTENT
            if unknown:
                answer = _warned(answer, unknown)
            if type(answer) is VaultAnswer:
                return _special(call, answer)
            return _enveloped(call, orjson.dumps(answer))

        return DoorRoute(name, self.scope, handle, self.also)


def operation(
    name: str,
    scope: str,
    *calls: str,
    also: tuple[str, ...] = (),
    takes: str | None = None,
    missing: str = MISSING,
    either: tuple[str, ...] = (),
) -> Callable[[Handler], VaultOperation]:
    """Declare the operation that the decorated function handles."""
    return lambda handler: VaultOperation(name, scope, calls, handler, also, takes, missing, either)


def _refuse_to_wrap(call: DoorCall) -> None:
    """Raise VaultError if the caller asks for a wrapped answer: the door would not wrap it."""
    if call.request.headers[_WRAP] not in ("", "0", "0s"):
        raise invalid(f"answers cannot be wrapped: send no {_WRAP}")


_NO_CONTENT: Final = DoorAnswer(204, b"")
_NULL: Final = b"null"
_ENVELOPE: Final = frozenset(
    {"request_id", "lease_id", "renewable", "lease_duration", "data"}
    | {"wrap_info", "warnings", "auth"}
)


def _warned(answer: Answer, unknown: Iterable[str]) -> VaultAnswer:
    """Add a warning about the members that an operation does not take."""
    names = " ".join(sorted(unknown))
    warning = f"Endpoint ignored these unrecognized parameters: [{names}]"
    special = answer if isinstance(answer, VaultAnswer) else VaultAnswer(answer)
    return special._replace(warnings=(*special.warnings, warning))


def _special(call: DoorCall, answer: VaultAnswer) -> bytes | DoorAnswer:
    data = orjson.dumps(answer.data)
    if answer.bare:
        body = data + b"\n"
    else:
        warnings = orjson.dumps(answer.warnings) if answer.warnings else _NULL
        body = _enveloped(call, data, warnings, orjson.dumps(answer.auth))
        beside = _beside(answer.data or {}) if answer.doubled else {}
        if beside:
            body = orjson.dumps(beside)[:-1] + b"," + body[1:]
    return body if answer.status == 200 else DoorAnswer(answer.status, body)


def _beside(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of `data` that are also beside it: no name is twice in an answer."""
    return {name: value for name, value in data.items() if name not in _ENVELOPE}


def _enveloped(call: DoorCall, data: bytes, warnings: bytes = _NULL, auth: bytes = _NULL) -> bytes:
    """Return the body of an answer. The request's id needs no escapes in JSON."""
    return b"".join(
        (
            b'{"request_id":"',
            call.request_id.encode("ascii"),
            b'","lease_id":"","renewable":false,"lease_duration":0,"data":',
            data,
            b',"wrap_info":null,"warnings":',
            warnings,
            b',"auth":',
            auth,
            b"}\n",
        )
    )
