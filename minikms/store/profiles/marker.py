"""The entry `self` of each profile: the profile's name, its sealing key, its time of creation."""

from typing import Final, NamedTuple, Self

from aries_askar import AskarError, AskarErrorCode
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms.store.askar.sessions import Entry, Session, Transaction
from minikms.store.categories import PROFILE, SELF
from minikms.store.connections.calls import StoreCalls
from minikms.store.profiles.tenancy import Tenancy, fits

# The name of the profile ends here, and its sealing key begins.
_NAME_END: Final = b"\n"

# The tag with the time of creation, in nanoseconds since the epoch.
_CREATED: Final = "created"


class StaleProfileError(Exception):
    """The Askar profile that this process knew no longer exists."""


class Marker(NamedTuple):
    """The entry `self` of a profile. `created` is in nanoseconds since the epoch, 0 if unknown.

    A profile of an older layout has no sealing key: it is b"".
    """

    owner: str
    sealing_key: bytes
    created: int

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Parse an entry."""
        owner, _, key = entry.value.partition(_NAME_END)
        return cls(owner.decode(), key, int((entry.tags or {}).get(_CREATED, 0)))

    def to_bytes(self) -> bytes:
        """The value of the entry."""
        return self.owner.encode() + _NAME_END + self.sealing_key

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the entry."""
        return {_CREATED: str(self.created)}

    def tenancy(self, askar_profile: str) -> Tenancy:
        """The tenancy of the profile, which has this name of Askar's."""
        return Tenancy.of(askar_profile, self.sealing_key, self.created)

    def is_of(self, name: str, askar_profile: str) -> bool:
        """Tell whether the marker belongs to a profile with this name and this Askar profile."""
        return self.owner == name and fits(askar_profile, self.sealing_key)


async def read_marker(calls: StoreCalls, askar_profile: str) -> Marker | None:
    """Read the marker of an Askar profile; None if it cannot be read."""
    try:
        async with calls.session(askar_profile) as session:
            entry = await session.fetch(PROFILE, SELF)
    except AskarError as exc:
        if exc.code not in (AskarErrorCode.ENCRYPTION, AskarErrorCode.NOT_FOUND):
            raise
        return None
    if entry is None:
        return None
    marker = Marker.of(entry)
    if marker.sealing_key:
        calls.sealing_keys[askar_profile] = marker.sealing_key
    return marker


async def require_profile(session: Session) -> None:
    """Raise StaleProfileError if the profile of a session no longer exists."""
    if await session.fetch(PROFILE, SELF) is None:
        raise StaleProfileError


async def sealing_key(session: Session) -> bytes:
    """The key under which the material of a profile's keys is sealed; raises StaleProfileError.

    A profile of an older layout has none, and b"" is returned.
    """
    if not session.sealing_key:
        session.sealing_key = (await _own_marker(session)).sealing_key
    return session.sealing_key


async def ensure_sealing_key(session: Transaction) -> bytes:
    """The sealing key of a profile; make one if there is none; raises StaleProfileError."""
    if not session.sealing_key:
        marker = await _own_marker(session)
        session.sealing_key = marker.sealing_key
        if not session.sealing_key:
            session.sealing_key = new_sealing_key()
            marker = marker._replace(sealing_key=session.sealing_key)
            await session.replace(PROFILE, SELF, marker.to_bytes())
    return session.sealing_key


def new_sealing_key() -> bytes:
    """Make a random sealing key."""
    return AESGCM.generate_key(256)


async def _own_marker(session: Session) -> Marker:
    entry = await session.fetch(PROFILE, SELF)
    if entry is None:
        raise StaleProfileError
    return Marker.of(entry)
