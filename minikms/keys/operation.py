"""The base classes of operations. An operation declares its uses of a key, and computes a result.

It holds its arguments. `KeyOperations` (operations.py) finds its key and runs it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

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
    """One way to use a key: a capability of its algorithm, and an operation that the key allows.

    The `operations` of the key must name `operation`, except with one of the last three flags:
    - `is_public`: the public key is enough, so a public JWK can replace the key. Uses in the
      `public_grants` of the capability always have this flag.
    - `by_anyone`: public, and allowed for every key, since anyone can do it with the public key.
    - `if_exportable`: allowed for every key that was made exportable.
    - `by_door`: allowed for every key with a private part; only doors have such operations.

    `as_next` says that a next key may be used so, before it takes the place of its key.
    """

    capability: type[Capability]
    operation: str
    _: KW_ONLY
    is_public: bool = False
    by_anyone: bool = False
    if_exportable: bool = False
    by_door: bool = False
    as_next: bool = False

    def __post_init__(self) -> None:
        granted = self.operation in self.capability.public_grants
        self.is_public = self.is_public or self.by_anyone or granted


@dataclass(slots=True)
class UsableKey(Generic[AlgorithmT]):
    """A key that may be used now, in one way.

    A caller's JWK has neither `kid` nor `record`, and may be bound to one JOSE `alg`. `alias` is
    the alias by which the caller named the key. `material` is the private or the public key, as an
    object of its algorithm. `rules` is None if the key has no rules.
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
    asks: ClassVar[bool] = False
    """True if it asks for approvals with a key whose rules require them; else it is refused."""

    def meaning(self, key: UsableKey[Any]) -> Mapping[str, Any] | None:
        """Describe a signature for its approvers in JSON; None to show them the signed bytes.

        It is for structures that contain the time, whose bytes are not known before they are made.
        """
        return None

    def load_public(self, algorithm: Any, jwk: Mapping[str, Any]) -> Any:
        """Load a caller's public JWK; raises InvalidKey."""
        return algorithm.load_public(jwk)

    def permit(self, key: UsableKey[Any], rules: Rules) -> None:
        """Raise RuleViolated if the rules of a key do not allow the operation.

        This default treats an operation that signs as a raw signature by an unknown algorithm.
        """
        if key.use.is_public:
            return
        rules.permit_operation(key.use.operation)
        if key.use.operation in SIGNING:
            rules.permit_alg(None)


class Operation(KeyUser, Generic[AlgorithmT, ResultT]):
    """An operation on one key, with its arguments."""

    __slots__ = ()
    is_slow: bool = False
    """True if its arguments make it slow enough to run in a thread."""
    is_long: bool = False
    """True if its arguments may make it take much longer than a slow operation."""

    @abstractmethod
    def compute(self, key: UsableKey[AlgorithmT]) -> ResultT:
        """Return the result; raises the KmsError of faulty arguments."""

    def is_final(self, result: ResultT) -> bool:
        """Return False if a key from before a rotation of the alias may give another result."""
        return True


class Envelope(Operation[AlgorithmT, ResultT]):
    """An operation that signs a structure such as a JWS, and checks the key's rules itself."""

    __slots__ = ()

    def permit(self, key: UsableKey[Any], rules: Rules) -> None:
        """Do nothing: `compute` checks the rules, since it knows the signed bytes."""


class BatchOperation(KeyUser, Generic[AlgorithmT, ItemT, ResultT]):
    """An operation on one key for each of many items."""

    __slots__ = ()

    @abstractmethod
    def bind(self, key: UsableKey[AlgorithmT]) -> Callable[[Sequence[ItemT]], list[ResultT]]:
        """Return the function that computes the results of items; raises an error of all items.

        If one item fails, the function raises its KmsError and returns no results.
        """

    def is_final(self, result: ResultT) -> bool:
        """Return False if a key from before a rotation of the alias may give another result."""
        return True


@dataclass(slots=True, repr=False)
class ByRecord(Operation[AlgorithmT, ResultT]):
    """An operation that is chosen by the record of its key, so that the key is read only once.

    `choose` returns an operation with the same `uses`, or raises the error of the call.
    """

    uses: tuple[Use, ...]
    asks = True
    choose: Callable[[KeyRecord], Operation[AlgorithmT, ResultT]]

    def permit(self, key: UsableKey[Any], rules: Rules) -> None:
        rules.permit_operation(key.use.operation)

    def chosen(self, key: UsableKey[AlgorithmT]) -> Operation[AlgorithmT, ResultT]:
        """Return the operation for a key; raises RuleViolated."""
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
    """A batch whose items are operations on one key; all have these `uses`."""

    uses: tuple[Use, ...]
    asks = True

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
    """Raise InvalidKey if a JWK has a private member."""
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise InvalidKey("Give the public JWK: a private member must not be sent here.")
