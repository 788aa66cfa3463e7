"""Makes a profile: in Askar, with its marker, and then in the directory."""

import time

from aries_askar import AskarError

from minikms.errors import AuditUnavailable, ProfileExists, StoreUnavailable
from minikms.events import CURRENT
from minikms.profile_settings import ProfileSettings
from minikms.store.askar.errors import DuplicateError
from minikms.store.askar.sequence import slot_of
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import PROFILE, SELF
from minikms.store.connections.calls import StoreCalls
from minikms.store.profiles.entries import directory_entry, is_removed, read_entry
from minikms.store.profiles.marker import Marker, new_sealing_key
from minikms.store.profiles.tenancy import new_name
from minikms.store.profiles.token_entries import bind_token


async def make_profile(
    calls: StoreCalls, name: str, settings: ProfileSettings, maker: str
) -> bytes | None:
    """Make a profile; return its entry instead if an earlier removal was interrupted.

    `maker` is the id of the caller's token, which may use the profile from then on. Raises
    ProfileExists.
    """
    exists = ProfileExists(f"The profile {name!r} already exists.")
    entry = await read_entry(calls, name)
    if entry is not None and not is_removed(entry):
        raise exists
    if entry is not None:
        return entry
    marker = new_marker(name)
    askar_profile = new_name(marker.sealing_key)
    await make_askar_profile(calls, marker, askar_profile)
    try:
        # In the directory last: a profile is invisible before that.
        async with calls.transaction() as transaction:
            await calls.require_own_key(transaction)
            await list_profile(transaction, name, askar_profile, settings)
            profile_id = marker.tenancy(askar_profile).id
            if (event := CURRENT.get()) is not None:
                event.profile_id = profile_id
            if maker and profile_id:
                await bind_token(transaction, maker, name, profile_id)
    except (AskarError, AuditUnavailable, StoreUnavailable) as exc:
        if isinstance(exc, StoreUnavailable) and exc.outcome:
            raise  # the directory may have the profile
        await calls.pool.store.remove_profile(askar_profile)
        if isinstance(exc, DuplicateError):
            raise exists from None
        raise
    return None


def new_marker(name: str) -> Marker:
    """The marker of a new profile."""
    return Marker(name, new_sealing_key(), time.time_ns())


async def make_askar_profile(calls: StoreCalls, marker: Marker, askar_profile: str) -> None:
    """Make a profile in Askar with its marker."""
    calls.pool.require_room()  # it is made outside a transaction of ours
    await calls.pool.store.create_profile(askar_profile)
    try:
        async with calls.pool.store.session(askar_profile) as session:
            await session.insert(PROFILE, SELF, marker.to_bytes(), marker.tags)
    except AskarError:
        await calls.pool.store.remove_profile(askar_profile)
        raise


async def list_profile(
    transaction: Transaction, name: str, askar_profile: str, settings: ProfileSettings
) -> None:
    """Enter a profile in the directory; raises DuplicateError."""
    await transaction.insert(PROFILE, name, directory_entry(askar_profile, settings))
    # Cached tokens that name the profile are no longer valid for it.
    transaction.changed.add(slot_of(PROFILE, name))
