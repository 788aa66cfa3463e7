"""Copies some profiles of a store, with their own tokens, into a store that may have others."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

from minikms.access.token_record import TokenRecord
from minikms.errors import ProfileNotFound
from minikms.maintenance.copy import COPY, Copied, copy_contents, note_copy
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.progress import Progress
from minikms.maintenance.write import StoreWriter
from minikms.startup_errors import StoreError
from minikms.store import Tenancy


async def require_copyable(source: StoreInspector, profiles: Iterable[str]) -> None:
    """Raise StoreError unless these profiles exist, and have no keys of providers.

    The store of a provider's key destroys its object when the key is deleted.
    """
    for profile in profiles:
        if await source.usable(profile) is None:
            raise StoreError(f"The store has no profile {profile}.")
        if await source.objects.exist_in(profile):
            raise StoreError(
                f"The profile {profile} has keys of a provider: only the whole store can be copied."
            )


async def copy_profiles(
    source: StoreInspector,
    target: StoreWriter,
    advance: Callable[[int], None],
    *,
    profiles: Sequence[str],
    freeze: bool,
    jobs: int = 1,
    progress: Progress | None = None,
) -> AsyncGenerator[Copied, None]:
    """Copy these profiles, `jobs` at a time, with the tokens that are valid in one of them alone.

    With `freeze`, each profile of the source is frozen first, and stays so; its copy is not frozen.
    `advance` and `progress` are those of `copy`. Raises StoreError, before anything is changed, if
    the target has one of them, and KeyUnreadable.
    """
    progress = progress or Progress()

    async def earlier(profile: str) -> Copied | None:
        """The copy that was noted; raises StoreError if the target has another profile."""
        try:
            there = await target.directory.askar_profile(profile)
        except ProfileNotFound:
            return None
        noted = progress.done.get(await source.askar_profile(profile) or "", {})
        if noted.get(COPY) != there:
            raise StoreError(f"The target has a profile {profile} already.")
        return Copied(profile, noted["keys"], noted["deleted"])

    for profile in profiles:
        await earlier(profile)
    progress.begin(target.mark)
    if since := await source.uses_noted_since():
        await target.insert_uses_noted_since(since)

    async def copied(profile: str) -> Copied:
        if (before := await earlier(profile)) is not None:
            return before
        directory = source.database.directory
        if freeze:
            await directory.change(profile, {"frozen": True})
            await require_copyable(source, [profile])  # nothing comes from now on
        askar_profile, tenancy = await source.usable(profile), await directory.tenancy(profile)
        async with target.arriving(profile) as writer:
            found = await copy_contents(source, writer, profile, askar_profile or "", advance)
            settings = await source.settings(profile)
            tokens, left = await _tokens(source, profile, tenancy, writer.id)
            if await source.askar_profile(profile) != askar_profile:
                raise ProfileNotFound(f"The profile {profile} was removed meanwhile.")
            note_copy(progress, askar_profile or "", found, writer)
            await writer.finish(settings._replace(frozen=settings.frozen and not freeze), tokens)
        return Copied(profile, found.keys, found.deleted, len(tokens), tuple(left))

    async with aclosing(source.at_once(jobs, copied, profiles)) as copies:
        async for each in copies:
            yield each


async def _tokens(
    source: StoreInspector, profile: str, tenancy: Tenancy, copy_id: str | None
) -> tuple[list[TokenRecord], list[TokenRecord]]:
    """Read the tokens of a profile: for its copy, and others, which name other profiles, too."""
    valid = [
        record
        for record in await source.tokens.naming(profile)
        if tenancy.admits(record.ids.get(profile), record.created)
    ]
    alone = [replace(each, ids={profile: copy_id}) for each in valid if each.profiles == (profile,)]
    return alone, [each for each in valid if each.profiles != (profile,)]
