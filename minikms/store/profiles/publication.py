"""Publishes a profile's public keys, by an entry of the profile."""

from typing import Final

from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import PUBLISHED
from minikms.store.profiles.marker import require_profile

_JWKS: Final = "jwks"


async def publish(session: Transaction, *, public: bool) -> None:
    """Let everybody read the profile's public keys, or only callers who may read its keys."""
    await session.remove_all(PUBLISHED)
    if public:
        await session.insert(PUBLISHED, _JWKS, b"public")


async def publishes(session: Session) -> bool:
    """Tell whether everybody may read the profile's public keys."""
    if await session.fetch(PUBLISHED, _JWKS) is not None:
        return True
    await require_profile(session)
    return False
