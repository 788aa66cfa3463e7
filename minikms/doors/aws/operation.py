"""What an operation of AWS KMS is, and how one is declared."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from marshmallow import Schema

from minikms.doors import DoorCall, DoorRoute
from minikms.doors.aws.body import Body, Shape, read, write
from minikms.doors.aws.errors import DryRunOperationException
from minikms.doors.aws.identity import Arns, account_of, caller
from minikms.doors.aws.keys import AwsCall, AwsKey
from minikms.doors.aws.specs import Specs
from minikms.doors.operations import Operation
from minikms.errors import KeyNotUsable
from minikms.records import KeyRef

ResultT = TypeVar("ResultT")

Answer: TypeAlias = Mapping[str, Any]
# Gives the members of the answer, None for an empty one.
Handler: TypeAlias = Callable[[AwsCall, Body], Awaitable[Answer | None]]


@dataclass(frozen=True, slots=True)
class Work(Generic[ResultT]):
    """What is done with the key of a call, and the answer that its result makes."""

    by: KeyRef
    operation: Operation[Any, ResultT]
    answer: Callable[[ResultT], Answer]


@dataclass(frozen=True, slots=True)
class AwsOperation:
    """An operation by AWS's name, with the scopes that its callers need; `request` is its body."""

    name: str
    scope: str
    request: Schema
    handler: Handler
    also: tuple[str, ...] = ()

    def route(self, specs: Specs) -> DoorRoute:
        """Its route in the door."""

        async def handle(call: DoorCall) -> bytes:
            known, body = _call(call, specs), read(call.body, self.request)
            try:
                answer = await self.handler(known, body)
            except KeyNotUsable:  # it has changed since it was found: look at it again
                answer = await self.handler(known, body)
            return write(answer)

        return DoorRoute(self.name, self.scope, handle, self.also)


def operation(
    name: str,
    scope: str,
    request: type[Shape],
    *,
    also: tuple[str, ...] = (),
) -> Callable[[Handler], AwsOperation]:
    """The operation that the decorated function answers."""
    return lambda handler: AwsOperation(name, scope, request(), handler, also)


def key_operation(
    name: str, scope: str, request: type[Shape], *, usage: str, does: str
) -> Callable[[Callable[[AwsKey, Body], Work[Any]]], AwsOperation]:
    """The operation on one key that the decorated function gives the work of.

    `usage` is that of the key, and `does` what is done with it by our name, which its state must
    permit.
    """

    def decorate(build: Callable[[AwsKey, Body], Work[Any]]) -> AwsOperation:
        async def handle(call: AwsCall, body: Body) -> Answer:
            key = call.cached_key(body["KeyId"]) or await call.key(body["KeyId"])
            key.require_usable(does)
            key.require_usage(usage, name)
            work = build(key, body)
            refuse_dry_run(body)
            return work.answer(await call.service.perform(call.profile, work.by, work.operation))

        return AwsOperation(name, scope, request(), handle)

    return decorate


def refuse_dry_run(body: Body) -> None:
    """Raise DryRunOperationException where the caller only asked whether it would succeed."""
    if body.get("DryRun"):
        raise DryRunOperationException()


def _call(call: DoorCall, specs: Specs) -> AwsCall:
    arns = Arns(account_of(call.profile), caller(call.request).region)
    return AwsCall(call.profile, call.service, specs, arns)
