"""Entries of the store's own profile that name a profile: the directory, and last uses.

In the directory, the value is Askar's name of the profile, and its settings if it has some.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from minikms.profile_settings import NO_SETTINGS, ProfileSettings
from minikms.store.askar.sessions import Entry
from minikms.store.categories import PROFILE
from minikms.store.connections.calls import StoreCalls

# The removal of the profile has begun.
_REMOVED: Final = b"-"

# Askar's name of the profile ends here, and its settings begin.
_SETTINGS: Final = b"\n"


class DirectoryListing(NamedTuple):
    """All entries of the directory: Askar's name of each profile.

    `removed` has the profiles whose removal was interrupted; `unreadable` counts the entries that
    do not decrypt.
    """

    askar_profiles: dict[str, str]
    removed: dict[str, str]
    unreadable: int

    @classmethod
    def of(cls, rows: Sequence[Entry | None]) -> Self:
        """The listing of these entries; None stands for an entry that does not decrypt."""
        present: dict[str, str] = {}
        removed: dict[str, str] = {}
        for row in filter(None, rows):
            (removed if is_removed(row.value) else present)[row.name] = askar_name(row.value)
        return cls(present, removed, rows.count(None))


def directory_entry(askar_profile: str, settings: ProfileSettings) -> bytes:
    """The entry of a profile in the directory."""
    written = settings.to_bytes()
    return askar_profile.encode() + (_SETTINGS + written if written else b"")


async def read_entry(calls: StoreCalls, name: str) -> bytes | None:
    """Read the entry of a profile in the directory."""
    async with calls.session() as session:
        entry = await session.fetch(PROFILE, name)
    return None if entry is None else entry.value


def askar_name(entry: bytes) -> str:
    """Askar's name in an entry of the directory."""
    return entry.removeprefix(_REMOVED).partition(_SETTINGS)[0].decode()


def settings_in(entry: bytes) -> ProfileSettings:
    """The settings in an entry of the directory."""
    _, _, settings = entry.partition(_SETTINGS)
    return ProfileSettings.from_bytes(settings) if settings else NO_SETTINGS


def marked_removed(entry: bytes) -> bytes:
    """The entry of a profile once its removal has begun."""
    return _REMOVED + entry


def is_removed(entry: bytes) -> bool:
    """Tell whether the removal of the profile with this entry has begun."""
    return entry.startswith(_REMOVED)


def use_tags(askar_profile: str) -> dict[str, str]:
    """The tags by which the last uses of a profile's keys are found."""
    return {"profile": askar_profile}
