"""The keys of the service, as the handlers of a door use them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from minikms.errors import KmsError
from minikms.records import AliasBinding, KeyPolicy, KeyRecord, KeyRef, KeySource, State
from minikms.versions import KeyVersions

if TYPE_CHECKING:
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
