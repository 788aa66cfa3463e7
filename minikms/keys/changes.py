"""Changes and deletes keys."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from minikms.keys.described_keys import DescribedKeys
from minikms.keys.making import require_fitting
from minikms.keys.rotation import require_rotatable
from minikms.records import KeyRecord, KeyRef, State, require_own_aliases
from minikms.rules import Rules
from minikms.store.keys.key_store import Check, no_check


class Changes(DescribedKeys):
    """Changes and deletes keys."""

    async def update(self, profile: str, kid: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Give a key another `state`, `expires`, `labels`, `rules` or `rotate_every`.

        `changes` has some of them. `rotates` is the time of the first scheduled rotation, by
        default a period from now. Raises TooLargeRecord, RulesLoosened, UnsupportedOption for rules
        that do not fit the key, UnsupportedOperation to rotate a public key alone, and KeyNotUsable
        for a key that is scheduled for deletion, or shall be rotated and is not enabled.
        """
        others = dict(changes)
        rules: Rules | None = others.pop("rules", None)
        every, rotates = others.pop("rotate_every", ...), others.pop("rotates", None)

        def change(record: KeyRecord) -> KeyRecord:
            if rules is not None:
                require_fitting(rules, self._registry.of(record))
                record = record.with_rules(rules)
            record = replace(record, **others)
            if every is ...:
                return record
            if every is not None:
                require_rotatable(record)
            return record.rotating(every, rotates)

        return await self._change(profile, kid, change)

    async def relabel(
        self, profile: str, kid: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> KeyRecord:
        """Give a key the labels that `change` makes of its labels; `change` may raise.

        Raises TooLargeRecord, and KeyNotUsable for a key that is scheduled for deletion.
        """
        return await self._change(
            profile, kid, lambda record: replace(record, labels=change(record.labels))
        )

    async def _change(
        self, profile: str, kid: str, change: Callable[[KeyRecord], KeyRecord]
    ) -> KeyRecord:
        def changed(record: KeyRecord) -> KeyRecord:
            if record.deletes is not None:
                raise record.not_usable(time.time_ns())
            after = change(record)
            after.require_labels_of(record)
            return after

        return await self._described(profile, await self._store.change(profile, kid, changed))

    async def delete(self, profile: str, ref: KeyRef, *, may_delete: bool = False) -> KeyRecord:
        """Remove a key and its aliases, and give its record, which has `deletes` if it waits.

        The settings of the profile may require a delay, and that the caller may delete keys, or
        Forbidden is raised.
        """
        require_own_aliases(self.reserved_aliases, ref.alias)
        return await self._store.delete(profile, ref, may_delete=may_delete)

    async def schedule_deletion(
        self,
        profile: str,
        ref: KeyRef,
        after: int,
        *,
        check: Check = no_check,
        may_delete: bool = False,
    ) -> KeyRecord:
        """Schedule the deletion of a key in `after` nanoseconds; it cannot be used until then.

        `check` is called with its record first, and may raise. The settings of the profile apply as
        in `delete`.
        """
        require_own_aliases(self.reserved_aliases, ref.alias)
        due = time.time_ns() + after
        return await self._store.schedule(profile, ref, due, check=check, may_delete=may_delete)

    async def restore(
        self, profile: str, kid: str, *, state: State | None = None, check: Check = no_check
    ) -> KeyRecord:
        """Cancel the scheduled deletion of a key, which gets `state`, or keeps its own for None.

        `check` is called with its record first, and may raise.
        """
        record = await self._store.schedule(profile, KeyRef(kid), None, state=state, check=check)
        return await self._described(profile, record)
