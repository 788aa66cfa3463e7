"""The keys of the service, as the handlers of a door use them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from minikms.errors import KmsError
from minikms.key_requests import AliasBinding, KeyPolicy, KeyRef, KeySource
from minikms.records import KeyRecord, State
from minikms.versions import KeyVersions

if TYPE_CHECKING:
    from minikms.keys.making import KeyPair
    from minikms.keys.operation import BatchOperation, Operation

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class DoorService(Protocol):
    """The keys of the service, as a door uses them.

    `profile` names the tenant; methods find only its keys. Besides the named errors, every method
    may raise StoreUnavailable and ProfileNotFound, and methods with a key raise KeyNotFound or
    AliasNotFound.
    """

    async def perform(
        self, profile: str, by: KeyRef, operation: "Operation[Any, ResultT]"
    ) -> ResultT:
        """Perform an operation (`minikms.doors.operations`) with the key `by`.

        Raises UnsupportedOperation if the key does not support or permit the operation,
        KeyNotUsable if its state excludes it, RuleViolated or OverRate if its rules do, and the
        operation's errors.
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

        If an item is an error, since it could not be read, the error is its result. The work runs
        in the threads for batches, and calls `check` between slices; `check` may raise. Raises like
        `perform`, and TooBusy.
        """

    async def generate(self, profile: str, alg: str, policy: KeyPolicy) -> KeyRecord:
        """Make and store a key.

        Raises UnsupportedAlgorithm, AliasExists, TooManyKeys, TooLargeRecord and TooBusy.
        """

    async def generate_pair(self, profile: str, alg: str) -> "KeyPair":
        """Make a key pair without storing it.

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
        """Store an existing key.

        With `check`, the key becomes the next version of the only alias in `policy`, which must
        exist: else AliasNotFound is raised. `check` gets the newest record and the versions in the
        transaction, and may raise.
        Raises UnsupportedAlgorithm, UnsupportedOperation, InvalidKey, DecryptionFailed, KeyExists,
        AliasExists, TooManyKeys, TooLargeRecord and TooBusy.
        """

    async def get(self, profile: str, ref: KeyRef) -> KeyRecord:
        """Find the record of a key."""

    async def describe(self, profile: str, ref: KeyRef) -> KeyRecord:
        """Find the record of a key with the time of its last use, `last_used`.

        The time is in nanoseconds, accurate to five minutes, and None if no use is known since
        `noted_since`.
        """

    async def list_keys(
        self, profile: str, *, limit: int, after: str = ""
    ) -> tuple[list[KeyRecord], bool]:
        """List up to `limit` keys in order of creation, after the key whose `seq` is `after`.

        The flag tells whether more keys follow.
        """

    def pages(self, profile: str) -> AsyncIterator[list[KeyRecord]]:
        """Yield pages of all keys in order of creation."""

    async def associate(
        self, profile: str, kid: str, alias: str, binding: AliasBinding = "move"
    ) -> None:
        """Give a key an alias.

        If another key has the alias, "move" takes it, and "refuse" raises AliasExists. "create"
        raises AliasExists if the alias exists, and "update" raises AliasNotFound if it does not.
        Also raises TooManyAliases and TooLargeRecord.
        """

    async def dissociate(self, profile: str, kid: str | None, alias: str) -> None:
        """Remove an alias from this key, or from any key if `kid` is None."""

    async def update(self, profile: str, kid: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Set the members `state`, `expires`, `labels`, `rules` or `rotate_every` of a key.

        `rotate_every` is in seconds, None for no scheduled rotation. `rotates` is the time of the
        first rotation in nanoseconds, by default one period from now. Raises TooLargeRecord,
        RulesLoosened, UnsupportedOption for rules that do not apply to the key, and KeyNotUsable if
        the key is scheduled for deletion. A schedule of rotations raises UnsupportedOperation for a
        public key without its private part, and KeyNotUsable for a key that is not enabled.
        """

    async def relabel(
        self, profile: str, kid: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> KeyRecord:
        """Set the labels of a key to the result of `change`, which gets the current labels.

        Raises TooLargeRecord, KeyNotUsable if the key is scheduled for deletion, and the errors of
        `change`.
        """

    async def set_certificates(self, profile: str, kid: str, chain: Sequence[str]) -> KeyRecord:
        """Replace the certificates of a key by `chain`: PEM, the certificate of the key first.

        Raises InvalidCertificate, TooLargeRecord, UnsupportedOperation for a key that does not
        sign, and KeyNotUsable if the key is scheduled for deletion.
        """

    async def rotate(self, profile: str, kid: str, *, keep_schedule: bool = ...) -> KeyRecord:
        """Replace a key by a new key, and return the record of the new key.

        The new key inherits `rotate_every`; a new period begins, unless `keep_schedule`. Raises
        KeyNotUsable if the key is not enabled, UnsupportedOperation for a public key without its
        private part, TooManyKeys, TooManyAliases, TooLargeRecord and TooBusy.
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
        """Delete a key in `after` nanoseconds; until then, it cannot be used.

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
        """Cancel the scheduled deletion of a key, and set its state to `state` unless that is None.

        `check` gets the record in the transaction, and may raise.
        """

    async def delete(self, profile: str, ref: KeyRef, *, may_delete: bool = ...) -> KeyRecord:
        """Delete a key with its aliases, and return its record.

        If the profile has a minimum delay, the key is deleted at the time `deletes` of the record.
        Pass `DoorCall.may_delete`: if it is false, which is the default, and the profile requires
        the scope `keys:delete`, Forbidden is raised.
        """

    async def versions(self, profile: str, name: str, *, fresh: bool = False) -> KeyVersions:
        """Find the versions of the alias `name`, from a cache if possible, unless `fresh`.

        `kid_of(version)` is the key of a version, which may have been deleted since; perform
        operations with `KeyRef(kid=...)`. Each rotation and each move of the alias, at any door,
        makes the next version.
        """

    async def predecessors(self, profile: str, kid: str, alias: str) -> Sequence[str]:
        """Find the keys with this alias that rotations replaced by the key, newest first.

        They may have been deleted since. A key without the alias has no predecessors.
        """

    async def records(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """Find the record of each kid; None if the key does not exist."""

    async def rotate_name(
        self,
        profile: str,
        name: str,
        check: Callable[[KeyRecord, KeyVersions], object] | None = None,
    ) -> KeyRecord:
        """Replace the key of the alias `name` as `rotate` does, but leave the old key enabled.

        Concurrent calls each add a version. `check` gets the record and the versions in the
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
        """Replace the versions of an alias by the result of `change`.

        `change` gets the newest record and the versions in the transaction, and may raise. The keys
        of omitted versions are deleted, as by `delete`, unless they are versions of another
        alias.
        """

    async def delete_name(
        self,
        profile: str,
        name: str,
        check: Callable[[KeyRecord, KeyVersions], object],
        *,
        may_delete: bool = ...,
    ) -> KeyRecord:
        """Delete an alias with the keys of all its versions, and return the newest record.

        They are deleted as by `delete`; if there is a delay, the alias also stays until its end.
        A key that is a version of another alias stays, and is deleted with that alias. `check` gets
        the newest record and the versions in the transaction, and may raise.
        """

    def random(self, length: int) -> bytes:
        """Return random bytes of the operating system."""

    async def ping(self) -> None:
        """Check that the store answers."""
