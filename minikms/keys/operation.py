"""The base classes of operations: their uses of a key, and their computation.

An operation holds its arguments. `KeyOperations` (operations.py) finds its key and runs it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, TypeVar

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import InvalidKey, UnsupportedOption
from minikms.plugin.protocol import Capability
from minikms.records import KeyRecord
from minikms.rules import SIGNING, Rules

AlgorithmT = TypeVar("AlgorithmT", bound=Capability)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(slots=True, eq=False)
class Use:
    """One way to use a key: a capability of its algorithm, and the name in its `operations`.

    If `is_public`, the public key is enough, so that a public JWK can stand in for a key. The uses
    in the capability's `public_grants` are public by themselves. With `by_anyone` a use is public,
    and the key's `operations` need not name it: anyone with the public key can do it elsewhere.
    With `if_exportable`, they need not name it either, but the key must have been made exportable.
    With `by_door`, they need not name it, but the key has a private part: only doors do it.
    """

    capability: type[Capability]
    operation: str
    _: KW_ONLY
    is_public: bool = False
    by_anyone: bool = False
    if_exportable: bool = False
    by_door: bool = False

    def __post_init__(self) -> None:
        granted = self.operation in self.capability.public_grants
        self.is_public = self.is_public or self.by_anyone or granted


@dataclass(slots=True)
class UsableKey(Generic[AlgorithmT]):
    """A key that may be used now, in one way.

    A caller's JWK has neither `kid` nor `record`, and may be bound to one JOSE `alg`. `alias` is
    the one that the caller named. `material` is the private or the public key, in the form of its
    algorithm. `rules` are the rules of the key, None if it has none.
    """

    algorithm: AlgorithmT
    use: Use
    kid: str = ""
    record: KeyRecord | None = None
    alias: str | None = None
    alg: str | None = None
    material: Any = field(default=None, repr=False)
    rules: Rules | None = None


class KeyUser(ABC):
    """An operation on a key; the first of `uses` that its algorithm supports applies."""

    __slots__ = ()
    uses: tuple[Use, ...]

    def load_public(self, algorithm: Any, jwk: Mapping[str, Any]) -> Any:
        """The material of a caller's public JWK; raises InvalidKey."""
        return algorithm.load_public(jwk)

    def permit(self, key: UsableKey[Any], rules: Rules) -> None:
        """Raise RuleViolated if the rules of a key do not allow the operation.

        By default, an operation that signs is raw, with an algorithm that is not known.
        """
        if key.use.is_public:
            return
        rules.permit_operation(key.use.operation)
        if key.use.operation in SIGNING:
            rules.permit_alg(None)


class Operation(KeyUser, Generic[AlgorithmT, ResultT]):
    """An operation on one key, with its arguments."""

    __slots__ = ()
    is_long: bool = False
    """True if its arguments make it slow enough to run in a thread."""

    @abstractmethod
    def compute(self, key: UsableKey[AlgorithmT]) -> ResultT:
        """The result; raises the KmsError that the arguments call for."""

    def is_final(self, result: ResultT) -> bool:
        """False if a key that the alias named before a rotation may give another result."""
        return True


class Envelope(Operation[AlgorithmT, ResultT]):
    """An operation that signs a form of its own, and checks rules of the key when it does."""

    __slots__ = ()

    def permit(self, key: UsableKey[Any], rules: Rules) -> None:
        """Leave the rules to `compute`, which knows the bytes that it signs."""


class BatchOperation(KeyUser, Generic[AlgorithmT, ItemT, ResultT]):
    """An operation on one key for each of many items."""

    __slots__ = ()

    @abstractmethod
    def bind(self, key: UsableKey[AlgorithmT]) -> Callable[[Sequence[ItemT]], list[ResultT]]:
        """Return the function that computes results of items; raises an error that concerns all.

        The function raises the KmsError of an item, and then returns no result of the others.
        """

    def is_final(self, result: ResultT) -> bool:
        """False if a key that the alias named before a rotation may give another result."""
        return True


@dataclass(slots=True, repr=False)
class ByRecord(Operation[AlgorithmT, ResultT]):
    """An operation that depends on the record of its key, so that the key is read only once.

    `choose` makes it, with the same `uses`; its errors are the errors of the call.
    """

    uses: tuple[Use, ...]
    choose: Callable[[KeyRecord], Operation[AlgorithmT, ResultT]]

    def permit(self, key: UsableKey[Any], rules: Rules) -> None:
        rules.permit_operation(key.use.operation)

    def chosen(self, key: UsableKey[AlgorithmT]) -> Operation[AlgorithmT, ResultT]:
        """The operation for a key, whose rules allow it."""
        if key.record is None:
            raise UnsupportedOption("A JWK has no record.")
        chosen = self.choose(key.record)
        if key.rules is not None:
            chosen.permit(key, key.rules)
        return chosen

    def compute(self, key: UsableKey[AlgorithmT]) -> ResultT:
        return self.chosen(key).compute(key)


@dataclass(slots=True, repr=False)
class Each(BatchOperation[AlgorithmT, Operation[AlgorithmT, ResultT], ResultT]):
    """A batch whose items are operations on one key, which have these `uses`."""

    uses: tuple[Use, ...]

    def permit(self, key: UsableKey[Any], rules: Rules) -> None:
        rules.permit_operation(key.use.operation)

    def bind(
        self, key: UsableKey[AlgorithmT]
    ) -> Callable[[Sequence[Operation[AlgorithmT, ResultT]]], list[ResultT]]:
        rules = key.rules
        if rules is None:
            return lambda operations: [each.compute(key) for each in operations]

        def compute(operation: Operation[AlgorithmT, ResultT]) -> ResultT:
            operation.permit(key, rules)
            return operation.compute(key)

        return lambda operations: [compute(each) for each in operations]


def refuse_private(jwk: Mapping[str, Any]) -> None:
    """Raise InvalidKey for a JWK with a private member."""
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise InvalidKey("Give the public JWK: a private member must not be sent here.")
