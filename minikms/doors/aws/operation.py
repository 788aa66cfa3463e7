"""Operations of AWS KMS: how one is declared, and the keys that its calls name."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from minikms.doors import DoorCall, DoorRoute, DoorService, KeyRecord, KeyRef, errors
from minikms.doors.aws import identity
from minikms.doors.aws.body import Body, Shape, read, write
from minikms.doors.aws.errors import (
    AwsError,
)
from minikms.doors.aws.identity import Arns, account_of, caller
from minikms.doors.aws.specs import KeySpec, Specs
from minikms.doors.operations import Operation


@dataclass(frozen=True, slots=True)
class AwsKey:
    """A key as AWS has it; `ref` is how the caller named it."""

    record: KeyRecord
    ref: KeyRef
    spec: KeySpec
    usage: str
    key_id: str
    arn: str

    @property
    def material_id(self) -> str:
        """What AWS calls the material of a symmetric key: another after a rotation, as its kid."""
        return hashlib.sha256(self.record.kid.encode()).hexdigest()

    def require_not_pending(self) -> None:
        """Raise KMSInvalidStateException where the key is scheduled for deletion."""
        if self.record.deletes is not None:
            raise AwsError("KMSInvalidStateException", f"{self.arn} is pending deletion.")

    def require_usable(self, operation: str) -> None:
        """Raise where the state of the key excludes an operation, which is one of ours.

        KMSInvalidStateException for one that is scheduled for deletion, else DisabledException.
        """
        try:
            self.record.require_usable(operation, time.time_ns())
        except errors.KeyNotUsable:
            self.require_not_pending()
            raise AwsError("DisabledException", f"{self.arn} is disabled.") from None

    def require_usage(self, usage: str, name: str) -> None:
        """Raise InvalidKeyUsageException where the key is not for AWS's operation `name`."""
        if self.usage != usage:
            raise AwsError(
                "InvalidKeyUsageException",
                f"{self.arn} key usage is {self.usage} which is not valid for {name}.",
            )

    def require_algorithm(self, algorithm: str) -> None:
        """Raise where the key cannot be used with one of AWS's algorithms.

        UnsupportedOperationException where it could at AWS, else InvalidKeyUsageException.
        """
        if algorithm in self.spec.algorithms[self.usage]:
            return
        if algorithm in self.spec.absent:
            raise AwsError(
                "UnsupportedOperationException", f"Algorithm {algorithm} is not supported here."
            )
        raise AwsError(
            "InvalidKeyUsageException",
            f"Algorithm {algorithm} is incompatible with key spec {self.spec.name}.",
        )

    @property
    def by_kid(self) -> KeyRef:
        """The very key, whatever its aliases name by now."""
        return KeyRef(kid=self.record.kid)


@dataclass(frozen=True, slots=True)
class AwsCall:
    """A call whose caller may do what it asks for, in this profile."""

    profile: str
    service: DoorService
    specs: Specs
    arns: Arns

    async def key(self, text: str, *, by_alias: bool = True) -> AwsKey:
        """Find the key that a caller names, by an alias only if `by_alias` allows it.

        Raises AwsError: NotFoundException or InvalidArnException.
        """
        ref = self.arns.ref(text)
        if not by_alias and identity.ALIAS_PREFIX in text:
            raise AwsError("NotFoundException", f"Invalid keyId '{text}'")
        key = await self.find(ref)
        if key is None and ref.alias is not None and identity.is_uuid_alias(ref.alias):
            # A key of a file of seeds may have a UUID as its kid.
            key = await self.find(KeyRef(kid=ref.alias.removeprefix(identity.UUID_PREFIX)))
        if key is None:
            raise self.arns.not_found(text)
        return key

    async def key_to_change(self, text: str) -> AwsKey:
        """Find the key that a caller names by no alias; it must not be pending deletion.

        Raises AwsError as `key` does, and KMSInvalidStateException.
        """
        key = await self.key(text, by_alias=False)
        key.require_not_pending()
        return key

    async def find(self, ref: KeyRef) -> AwsKey | None:
        """Find a key; None if it does not exist, or AWS has no such kind of key."""
        try:
            record = await self.service.get(self.profile, ref)
        except (errors.AliasNotFound, errors.KeyNotFound):
            return None
        return self.named(record, ref)

    def named(self, record: KeyRecord, ref: KeyRef | None = None) -> AwsKey | None:
        """Give a key as AWS has it; None for a kind of key that AWS does not have."""
        spec = self.specs.of(record)
        usage = None if spec is None else spec.usage_of(record)
        if spec is None or usage is None:
            return None
        key_id = identity.id_of(record)
        arn = self.arns.key(key_id)
        return AwsKey(record, ref or KeyRef(kid=record.kid), spec, usage, key_id, arn)


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
    request: Shape
    handler: Handler
    also: tuple[str, ...] = ()

    def route(self, specs: Specs) -> DoorRoute:
        """Its route in the door."""

        async def handle(call: DoorCall) -> bytes:
            known, body = _call(call, specs), read(call.body, self.request)
            try:
                answer = await self.handler(known, body)
            except errors.KeyNotUsable:  # it has changed since it was found: look at it again
                answer = await self.handler(known, body)
            return write(answer)

        return DoorRoute(self.name, self.scope, handle, self.also)


def operation(
    name: str,
    scope: str,
    request: Shape,
    *,
    also: tuple[str, ...] = (),
) -> Callable[[Handler], AwsOperation]:
    """The operation that the decorated function answers."""
    return lambda handler: AwsOperation(name, scope, request, handler, also)


def key_operation(
    name: str, scope: str, request: Shape, *, usage: str, does: str
) -> Callable[[Callable[[AwsKey, Body], Work[Any]]], AwsOperation]:
    """The operation on one key that the decorated function gives the work of.

    `usage` is that of the key, and `does` what is done with it by our name, which its state must
    permit.
    """

    def decorate(build: Callable[[AwsKey, Body], Work[Any]]) -> AwsOperation:
        async def handle(call: AwsCall, body: Body) -> Answer:
            key = await call.key(body["KeyId"])
            key.require_usable(does)
            key.require_usage(usage, name)
            work = build(key, body)
            refuse_dry_run(body)
            return work.answer(await call.service.perform(call.profile, work.by, work.operation))

        return AwsOperation(name, scope, request, handle)

    return decorate


def refuse_dry_run(body: Body) -> None:
    """Raise DryRunOperationException where the caller only asked whether it would succeed."""
    if body.get("DryRun"):
        raise AwsError(
            "DryRunOperationException",
            "The request would have succeeded, but the DryRun option is set.",
        )


def _call(call: DoorCall, specs: Specs) -> AwsCall:
    arns = Arns(account_of(call.profile), caller(call.request).region)
    return AwsCall(call.profile, call.service, specs, arns)
