"""Aliases of keys, and their versions."""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from minikms.errors import AliasExists, AliasNotFound, KeyNotFound
from minikms.events import set_asked, set_key, set_keys
from minikms.key_requests import AliasBinding, KeyRef
from minikms.records import KeyRecord
from minikms.store.askar.errors import DuplicateError
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import ALIAS
from minikms.store.connections.calls import LONG_TIMEOUT
from minikms.store.database import Database
from minikms.store.keys.checks import CheckVersions
from minikms.store.keys.deletions import Deletions, delete_key, time_of_deletion
from minikms.store.keys.entries import (
    alias_entry,
    fetch_record,
    find_named,
    find_record,
    find_versions,
    load_record,
    replace_record,
    replace_scheduled,
)
from minikms.versions import KeyVersions

# Gives the new versions of an alias for the record of the newest version and the versions.
ChangeVersions: TypeAlias = Callable[[KeyRecord, KeyVersions], KeyVersions]


class Aliases:
    """The aliases of a store's keys; all methods raise ProfileNotFound and StoreUnavailable."""

    def __init__(self, database: Database, deletions: Deletions) -> None:
        self._database = database
        self._deletions = deletions

    async def bind(
        self, profile: str, kid: str, alias: str, binding: AliasBinding = "move"
    ) -> None:
        """Let `alias` name this key and no other.

        Raises KeyNotFound, and the errors of `add_alias`.
        """

        async def work(session: Transaction) -> None:
            record = await fetch_record(session, kid)
            await bind_aliases(session, record, [alias], binding)

        await self._deletions.write(profile, work)

    async def unbind(self, profile: str, kid: str | None, alias: str) -> None:
        """Remove an alias of a key, or of the key that has it if `kid` is None.

        Raises KeyNotFound, or AliasNotFound if the key does not have it.
        """

        async def work(session: Transaction) -> None:
            if kid is None:
                record = await find_record(session, KeyRef(alias=alias))
            else:
                record = await fetch_record(session, kid)
                if (await find_versions(session, alias)).latest_kid != kid:
                    raise AliasNotFound(alias)
            set_key(record.kid, record.alg)
            await session.remove(ALIAS, alias_entry(alias))
            await replace_record(session, record.without_alias(alias).released())

        await self._deletions.write(profile, work)

    async def versions(self, profile: str, alias: str) -> KeyVersions:
        """The versions of an alias; raises AliasNotFound."""
        return await self._database.read(profile, partial(find_versions, alias=alias))

    async def change_versions(
        self, profile: str, alias: str, change: ChangeVersions, *, may_delete: bool = False
    ) -> KeyVersions:
        """Replace the versions of an alias by the result of `change`.

        If `change` raises, nothing is stored. The keys of versions that it leaves out are removed,
        as by `remove`. Raises AliasNotFound and Forbidden.
        """

        async def work(session: Transaction) -> KeyVersions:
            record, before = await find_named(session, alias)
            set_key(record.kid, record.alg)
            after = change(record, before)
            if after == before:
                return after
            after = replace(after, kept=True)
            left_out = {*before.kids.values()} - {*after.kids.values()}
            deletes = time_of_deletion(session, may_delete=may_delete) if left_out else None
            await session.replace(ALIAS, alias_entry(alias), after.to_bytes())
            await _remove_keys(session, record, left_out, deletes)
            return after

        return await self._deletions.write(profile, work, timeout=LONG_TIMEOUT)

    async def remove(
        self, profile: str, alias: str, check: CheckVersions, *, may_delete: bool = False
    ) -> KeyRecord:
        """Remove an alias with the keys of all its versions; return the record of the newest.

        A key that another alias has among its versions stays, and is removed with that alias.
        `check` is called before that; if it raises, nothing is removed. The settings of the profile
        apply as in `Deletions.delete`; if they require a delay, the alias stays until its key is
        removed.
        Raises AliasNotFound and Forbidden.
        """

        async def work(session: Transaction) -> KeyRecord:
            deletes = time_of_deletion(session, may_delete=may_delete)
            record, versions = await find_named(session, alias)
            set_key(record.kid, record.alg)
            check(record, versions)
            left = record.without_alias(alias).released()
            is_last = not (left.aliases or left.named_by)
            kids, stays = {*versions.kids.values()} - {record.kid}, is_last and deletes is not None
            await _remove_keys(session, record, kids, deletes, keep_name=stays)
            if not is_last:
                await session.remove(ALIAS, alias_entry(alias))
                await replace_record(session, left)
            else:
                await delete_key(session, record, deletes)
            return record

        return await self._deletions.write(profile, work, timeout=LONG_TIMEOUT)


async def _remove_keys(
    session: Transaction,
    newest: KeyRecord,
    kids: Collection[str],
    deletes: int | None = None,
    *,
    keep_name: bool = False,
) -> None:
    """Remove keys that were versions of an alias; the alias names `newest`.

    With `deletes`, schedule their deletion for that time. A key that another alias may have among
    its versions stays. With `keep_name`, the alias keeps the versions: `named_by` does not change,
    so that a later call does not count down twice. The event of the call names all removed keys.
    """
    concerned = [(newest.kid, newest.alg)]
    for kid in sorted(kids):
        record = await load_record(session, kid)
        if record is None:
            continue
        left = record.released()
        if left.named_by == 0:
            await delete_key(session, record if keep_name else left, deletes)
            concerned.append((kid, record.alg))
        elif not keep_name:
            await replace_record(session, left)
    set_keys(concerned)


async def add_alias(
    session: Transaction,
    record: KeyRecord,
    alias: str,
    binding: AliasBinding = "move",
    *,
    kept: bool = False,
) -> KeyRecord:
    """Let an alias name a key; return the key's record, which the caller must store.

    With "leave", an alias of another key stays there, and the record is unchanged. With `kept`, the
    alias keeps all its versions from now on. Raises AliasExists, AliasNotFound with "update",
    TooManyAliases and TooLargeRecord, and then has written nothing.
    """
    name, versions = alias_entry(alias), KeyVersions({1: record.kid}, kept=kept)
    if binding != "update" and alias not in record.aliases:
        named = record.with_alias(alias)
        with suppress(DuplicateError):  # most aliases are new
            await session.insert(ALIAS, name, versions.to_bytes())
            return named
    before = await find_versions(session, alias)
    if before.latest_kid == record.kid:
        if binding == "create":
            raise AliasExists("The alias names this key.")
        return record
    if binding == "leave":
        return record
    holder = await load_record(session, before.latest_kid)
    if holder is None:
        raise KeyNotFound()
    # The aliases of a key whose deletion is due are free.
    if binding == "update" and holder.is_gone:
        raise AliasNotFound(alias)
    if binding in ("refuse", "create") and not holder.is_gone:
        set_asked(alias=alias)
        raise AliasExists()
    if holder.is_gone:
        named = record.with_alias(alias)
    else:
        named = record.with_alias(alias, again=record.kid in before.kids.values())
        versions = replace(before, kept=kept or before.kept).moved_to(record.kid)
    await replace_record(session, holder.without_alias(alias))
    await session.replace(ALIAS, name, versions.to_bytes())
    return named


async def bind_aliases(
    session: Transaction,
    record: KeyRecord,
    aliases: Iterable[str],
    binding: AliasBinding,
) -> KeyRecord:
    """Let aliases name a stored key, as `add_alias` does; store and return its record."""
    named = record
    for alias in aliases:
        named = await add_alias(session, named, alias, binding)
    if named is not record:
        await replace_scheduled(session, record, named)
    return named
