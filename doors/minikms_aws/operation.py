"""Operations of AWS KMS: how one is declared, and the keys that its calls name."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from minikms.doors import DoorCall, DoorRoute, DoorService, KeyRecord, KeyRef, errors
from minikms.doors.operations import ByRecord, Operation
from minikms_aws import identity
from minikms_aws.body import Body, Shape, read, write
from minikms_aws.errors import AwsError, unsupported
from minikms_aws.identity import Arns, account_of, caller
from minikms_aws.specs import KeySpec, Specs

ResultT = TypeVar("ResultT")

# Refusals of a key that AWS has other words for.
_REFUSED: Final = (
    errors.AliasNotFound,
    errors.KeyNotFound,
    errors.KeyNotUsable,
    errors.UnsupportedOperation,
)

# The members of an answer.
Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AwsKey:
    """A key as AWS has it; `ref` is the name that the caller gave."""

    record: KeyRecord
    ref: KeyRef
    spec: KeySpec
    usage: str
    key_id: str
    arn: str

    @property
    def material_id(self) -> str:
        """The id of the material of a symmetric key; a rotation changes it."""
        return material_id(self.record)

    @property
    def by_kid(self) -> KeyRef:
        """A reference by kid, since the key's aliases may name another key by now."""
        return KeyRef(kid=self.record.kid)

    def require_not_pending(self) -> None:
        """Raise KMSInvalidStateException if the key is scheduled for deletion."""
        if self.record.is_scheduled:
            raise AwsError("KMSInvalidStateException", f"{self.arn} is pending deletion.")

    def require_begun(self) -> None:
        """Raise KMSInvalidStateException for a next key, which AWS does not have."""
        if self.record.follows is not None:
            raise AwsError(
                "KMSInvalidStateException", f"{self.arn} is the next key of {self.record.follows}."
            )

    def require_usable(self, operation: str) -> None:
        """Raise if the state of the key excludes `operation`, a name among its `operations`.

        KMSInvalidStateException if it is scheduled for deletion, else DisabledException.
        """
        try:
            self.record.require_usable(operation, time.time_ns())
        except errors.KeyNotUsable:
            self.require_not_pending()
            raise AwsError("DisabledException", f"{self.arn} is disabled.") from None

    def require_algorithm(self, algorithm: str) -> None:
        """Raise if the key does not have one of AWS's algorithms.

        UnsupportedOperationException if it has it at AWS, else InvalidKeyUsageException.
        """
        if algorithm in self.spec.algorithms[self.usage]:
            return
        if algorithm in self.spec.absent:
            raise unsupported(f"Algorithm {algorithm}")
        raise AwsError(
            "InvalidKeyUsageException",
            f"Algorithm {algorithm} is incompatible with key spec {self.spec.name}.",
        )


def material_id(record: KeyRecord) -> str:
    """Return AWS's id of the material of a key."""
    return hashlib.sha256(record.kid.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AwsCall:
    """A call of the AWS operation named `operation`; `door` is the same call after the gate."""

    operation: str
    profile: str
    service: DoorService
    specs: Specs
    arns: Arns
    dry_run: bool
    door: DoorCall

    async def key(self, text: str, *, by_alias: bool = True) -> AwsKey:
        """Find the key that a caller names, by an alias only if `by_alias` allows it.

        Raises NotFoundException and InvalidArnException.
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

    async def key_to_use(self, text: str, usage: str, does: str) -> AwsKey:
        """Find the key that a caller names, for an operation on keys with this key usage.

        `does` is the name of the operation among a key's `operations`. Raises as `key` and
        `require_use` do.
        """
        key = await self.key(text)
        self.require_use(key, usage, does)
        return key

    async def use(
        self,
        text: str,
        usage: str,
        kind: type[Operation[Any, ResultT]],
        choose: Callable[[AwsKey], Operation[Any, ResultT]],
    ) -> tuple[AwsKey, ResultT]:
        """Perform the operation of a `kind` that `choose` makes for a key, which is read once.

        Return the key, and the result. Raises as `key_to_use`, `perform` and `choose` do.
        """
        ref = self.arns.ref(text)
        found: AwsKey | None = None

        def chosen(record: KeyRecord) -> Operation[Any, ResultT]:
            nonlocal found
            found = self.named(record, ref)
            if found is None or found.usage != usage:
                raise errors.UnsupportedOperation
            operation = choose(found)
            self.refuse_dry_run()
            return operation

        try:
            result = await self.service.perform(self.profile, ref, ByRecord(kind.uses, chosen))
        except _REFUSED:
            pass
        else:
            if found is not None:
                return found, result
        key = await self.key_to_use(text, usage, kind.uses[0].operation)  # in AWS's words
        return key, await self.perform(key.by_kid, choose(key))

    async def key_to_change(self, text: str) -> AwsKey:
        """Find the key that a caller names, not by an alias.

        Raises as `key` does, and KMSInvalidStateException if it is pending deletion, or a next key.
        """
        key = await self.key(text, by_alias=False)
        key.require_not_pending()
        key.require_begun()
        return key

    async def find(self, ref: KeyRef) -> AwsKey | None:
        """Find a key; None if it does not exist, or AWS has no such kind of key."""
        try:
            record = await self.service.get(self.profile, ref)
        except (errors.AliasNotFound, errors.KeyNotFound):
            return None
        return self.named(record, ref)

    def named(self, record: KeyRecord, ref: KeyRef | None = None) -> AwsKey | None:
        """Return a key as AWS has it; None for a kind of key that AWS does not have."""
        spec = self.specs.of(record)
        usage = None if spec is None else spec.usage_of(record)
        if spec is None or usage is None:
            return None
        key_id = identity.id_of(record)
        arn = self.arns.key(key_id)
        return AwsKey(record, ref or KeyRef(kid=record.kid), spec, usage, key_id, arn)

    async def earlier(self, key: AwsKey, alias: str) -> Sequence[str]:
        """Return the kids of the keys that rotations replaced by a key, newest first.

        They had the alias; there are none if the key does not have it.
        """
        if alias not in key.record.aliases:
            return ()
        return await self.service.predecessors(self.profile, key.record.kid, alias)

    def require_use(self, key: AwsKey, usage: str, does: str) -> None:
        """Raise if the state of the key excludes `does`, or its key usage is another one.

        Raises as `AwsKey.require_usable` does, and InvalidKeyUsageException.
        """
        key.require_usable(does)
        if key.usage != usage:
            raise AwsError(
                "InvalidKeyUsageException",
                f"{key.arn} key usage is {key.usage} which is not valid for {self.operation}.",
            )

    def perform(self, by: KeyRef, operation: Operation[Any, ResultT]) -> Awaitable[ResultT]:
        """Perform an operation with a key; raises as `refuse_dry_run` does."""
        self.refuse_dry_run()
        return self.service.perform(self.profile, by, operation)

    def refuse_dry_run(self) -> None:
        """Raise DryRunOperationException if the caller only asks whether the call would succeed."""
        if self.dry_run:
            raise AwsError(
                "DryRunOperationException",
                "The request would have succeeded, but the DryRun option is set.",
            )


# Returns the members of the answer, None for an empty one.
Handler: TypeAlias = Callable[[AwsCall, Body], Awaitable[Answer | None]]


@dataclass(frozen=True, slots=True)
class AwsOperation:
    """An operation by AWS's name; `request` has the members that it takes."""

    name: str
    scope: str
    request: Shape
    handler: Handler
    also: tuple[str, ...] = ()

    def route(self, specs: Specs) -> DoorRoute:
        async def handle(call: DoorCall) -> bytes:
            body = read(call.body, self.request)
            arns = Arns(account_of(call.profile), caller(call.request).region)
            known = AwsCall(
                self.name,
                call.profile,
                call.service,
                specs,
                arns,
                body.get("DryRun", False),
                call,
            )
            try:
                answer = await self.handler(known, body)
            except errors.KeyNotUsable:  # the key changed after the handler found it: try again
                answer = await self.handler(known, body)
            return write(answer)

        return DoorRoute(self.name, self.scope, handle, self.also)


def operation(
    name: str, scope: str, request: Shape, *, also: tuple[str, ...] = ()
) -> Callable[[Handler], AwsOperation]:
    """Declare the operation that the decorated function handles."""
    return lambda handler: AwsOperation(name, scope, request, handler, also)
