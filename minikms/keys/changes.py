"""Changes and deletes keys."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from minikms.key_bounds import SECOND
from minikms.key_requests import KeyRef, require_own_aliases
from minikms.keys.approvers import require_approvers
from minikms.keys.described_keys import DescribedKeys
from minikms.keys.making import require_fitting
from minikms.keys.operations import KeyOperations
from minikms.records import KeyRecord, State
from minikms.rules import Rules
from minikms.store import Check, no_check


class Changes:
    """Changes and deletes keys."""

    def __init__(
        self, keys: KeyOperations, descriptions: DescribedKeys, reserved_aliases: Sequence[str]
    ) -> None:
        self._registry = keys.registry
        self._store = keys.store
        self._approvals = keys.approvals
        self._descriptions = descriptions
        self._reserved_aliases = reserved_aliases

    async def update(self, profile: str, kid: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Set the members of the key that `changes` has.

        They are `state`, `expires`, `labels`, `rules`, `rotate_every`, `publish_ahead` and
        `retire_after`. A state ends the retirement of a key that has retired. With `rotate_every`,
        `rotates` is the time of the first scheduled rotation, by default one period from now.
        Raises TooLargeRecord, RulesLoosened, ValidationFailed if the schedule does not fit,
        UnsupportedOption if the rules do not fit the key, UnsupportedOperation if a public key
        alone would be rotated, and KeyNotUsable if the key is scheduled for deletion, is a next
        key, or would be rotated and is not enabled.
        """
        others = dict(changes)
        rules: Rules | None = others.pop("rules", None)
        require_approvers(self._registry, rules)
        every, rotates = others.pop("rotate_every", ...), others.pop("rotates", None)
        scheduled = any(others.get(name) is not None for name in ("publish_ahead", "retire_after"))

        def change(record: KeyRecord) -> KeyRecord:
            record.require_begun()
            if rules is not None:
                require_fitting(rules, self._registry.of(record))
                record = record.with_rules(rules)
            if "state" in others and record.has_retired:
                record = replace(record, retires=None)
            if every is None:
                record = record.rotating(None)
            record = replace(record, **others)
            if every not in (..., None):
                record = record.rotating(every, rotates)
            if scheduled or every not in (..., None):
                record.require_rotatable()
            return record.require_schedule()

        return await self.change(profile, kid, change)

    async def relabel(
        self, profile: str, kid: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> KeyRecord:
        """Set the labels of a key to the result of `change`, which gets the present labels.

        Raises TooLargeRecord, KeyNotUsable if the key is scheduled for deletion, and the errors of
        `change`.
        """

        def relabelled(record: KeyRecord) -> KeyRecord:
            record.require_begun()
            return replace(record, labels=change(record.labels))

        return await self.change(profile, kid, relabelled)

    async def change(
        self, profile: str, kid: str, change: Callable[[KeyRecord], KeyRecord]
    ) -> KeyRecord:
        """Replace the record of a key by the result of `change`.

        Raises KeyNotUsable if the key is scheduled for deletion, and the errors of `change`.
        """

        def changed(record: KeyRecord) -> KeyRecord:
            if record.is_scheduled:
                raise record.not_usable(time.time_ns())
            after = change(record)
            after.require_labels_of(record)
            return after

        record = await self._approvals.attempt(
            profile, partial(self._store.change, profile, kid, changed)
        )
        return await self._descriptions.described(profile, record)

    async def delete(self, profile: str, ref: KeyRef, *, may_delete: bool = False) -> KeyRecord:
        """Delete a key with its aliases, and return its record.

        If the settings of the profile require a delay, the deletion is scheduled, and `deletes` of
        the record is its time. Raises Forbidden if they require a caller who may delete keys, and
        ApprovalRequired if the rules of the key do.
        """
        require_own_aliases(self._reserved_aliases, ref.alias)
        delete = partial(self._store.deletions.delete, profile, ref, may_delete=may_delete)
        return await self._approvals.attempt(profile, delete)

    async def schedule_deletion(
        self,
        profile: str,
        ref: KeyRef,
        after: int,
        *,
        check: Check = no_check,
        may_delete: bool = False,
    ) -> KeyRecord:
        """Schedule the deletion of a key in `after` nanoseconds; nobody can use it until then.

        `check` is called with the record before the change; if it raises, nothing changes. The
        settings of the profile apply as in `delete`.
        """
        require_own_aliases(self._reserved_aliases, ref.alias)
        schedule = partial(
            self._store.deletions.schedule,
            *(profile, ref, time.time_ns() + after),
            check=check,
            may_delete=may_delete,
            after=after // SECOND,
        )
        return await self._approvals.attempt(profile, schedule)

    async def restore(
        self, profile: str, kid: str, *, state: State | None = None, check: Check = no_check
    ) -> KeyRecord:
        """Cancel the scheduled deletion of a key, and set its `state` unless that is None.

        `check` is called with the record before the change; if it raises, nothing changes.
        """
        record = await self._store.deletions.schedule(
            profile, KeyRef(kid), None, state=state, check=check
        )
        return await self._descriptions.described(profile, record)
