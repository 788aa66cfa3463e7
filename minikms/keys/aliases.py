"""Binds aliases to keys, and finds, changes and removes the versions of an alias."""

from collections.abc import Callable, Sequence
from functools import partial

from minikms.key_requests import AliasBinding, require_own_aliases
from minikms.keys.operations import KeyOperations
from minikms.records import KeyRecord
from minikms.store import CheckVersions
from minikms.versions import KeyVersions


class Aliases:
    """Binds aliases to keys, and finds, changes and removes the versions of an alias."""

    def __init__(self, keys: KeyOperations, reserved_aliases: Sequence[str]) -> None:
        self._keys = keys
        self._reserved_aliases = reserved_aliases

    async def associate(
        self, profile: str, kid: str, alias: str, binding: AliasBinding = "move"
    ) -> None:
        """Bind `alias` to this key alone.

        Raises AliasExists, TooManyAliases and TooLargeRecord; "update" raises AliasNotFound.
        """
        require_own_aliases(self._reserved_aliases, alias)
        await self._keys.store.aliases.bind(profile, kid, alias, binding)

    async def dissociate(self, profile: str, kid: str | None, alias: str) -> None:
        """Remove `alias` from this key, or from the key that has it if `kid` is None."""
        require_own_aliases(self._reserved_aliases, alias)
        await self._keys.store.aliases.unbind(profile, kid, alias)

    async def versions(self, profile: str, name: str, *, fresh: bool = False) -> KeyVersions:
        """Find the versions of an alias, in the store if `fresh`; raises AliasNotFound."""
        return await self._keys.versions.get(profile, name, fresh=fresh)

    async def predecessors(self, profile: str, kid: str, alias: str) -> Sequence[str]:
        """Find the kids before `kid` among the versions of an alias, newest first."""
        return await self._keys.versions.predecessors(profile, kid, alias)

    async def change_versions(
        self,
        profile: str,
        name: str,
        change: Callable[[KeyRecord, KeyVersions], KeyVersions],
        *,
        may_delete: bool = False,
    ) -> KeyVersions:
        """Store the versions that `change` returns for an alias; raises AliasNotFound.

        Raises Forbidden if `change` leaves out versions and the caller may not delete keys.
        """
        require_own_aliases(self._reserved_aliases, name)
        store = self._keys.store.aliases
        call = partial(store.change_versions, profile, name, change, may_delete=may_delete)
        return await self._keys.approvals.attempt(profile, call)

    async def delete_name(
        self, profile: str, name: str, check: CheckVersions, *, may_delete: bool = False
    ) -> KeyRecord:
        """Remove an alias and the keys of its versions; raises AliasNotFound and Forbidden."""
        require_own_aliases(self._reserved_aliases, name)
        store = self._keys.store.aliases
        call = partial(store.remove, profile, name, check, may_delete=may_delete)
        return await self._keys.approvals.attempt(profile, call)
