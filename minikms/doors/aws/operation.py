"""What an operation of AWS KMS is, and how one is declared."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from marshmallow import Schema

from minikms.doors import DoorCall, DoorRoute
from minikms.doors.aws.body import Body, Shape, read, write
from minikms.doors.aws.identity import Arns, account_of, caller
from minikms.doors.aws.keys import AwsCall
from minikms.doors.aws.specs import Specs

Answer: TypeAlias = Mapping[str, Any]
# Gives the members of the answer, None for an empty one.
Handler: TypeAlias = Callable[[AwsCall, Body], Awaitable[Answer | None]]
# The same without waiting, and None where there is something to wait for.
FastHandler: TypeAlias = Callable[[AwsCall, Body], Answer | None]


@dataclass(frozen=True, slots=True)
class AwsOperation:
    """An operation by AWS's name; `scope` is what its callers need, `request` its body."""

    name: str
    scope: str
    request: Schema
    handler: Handler
    fast: FastHandler | None = None

    def route(self, specs: Specs) -> DoorRoute:
        """Its route in the door."""

        async def handle(call: DoorCall) -> bytes:
            return write(await self.handler(_call(call, specs), read(call.body, self.request)))

        fast = self.fast

        def handle_fast(call: DoorCall) -> bytes | None:
            if fast is None:
                return None
            answer = fast(_call(call, specs), read(call.body, self.request))
            return None if answer is None else write(answer)

        return DoorRoute(self.name, self.scope, handle, handle_fast if fast else None)


def operation(name: str, scope: str, request: type[Shape]) -> Callable[[Handler], AwsOperation]:
    """The operation that the decorated function answers."""
    return lambda handler: AwsOperation(name, scope, request(), handler)


def _call(call: DoorCall, specs: Specs) -> AwsCall:
    arns = Arns(account_of(call.profile), caller(call.request).region)
    return AwsCall(call.profile, call.service, specs, arns)
