"""Makes objects (the key pairs of new keys) at providers; destroys them if no key is stored.

A killed process leaves an object behind, and a call with an unknown outcome may do so.
`minikms store destroy-orphans` destroys such objects.
"""

import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from minikms.errors import KmsError, ProfileNotFound, StoreUnavailable
from minikms.keys.providers.providers import RunningProvider
from minikms.plugin.provider import ProviderKey
from minikms.store import KeyStore

LOGGER = logging.getLogger(__name__)


class ObjectsBeingMade:
    """The objects that one call makes; `key_ids` are their identifiers.

    If an object is made after the end of the call, `late` is called with its identifier, in any
    thread.
    """

    def __init__(self, key_ids: list[bytes], late: Callable[[bytes], None]) -> None:
        self.key_ids = key_ids
        self._late = late
        self._lock = threading.Lock()
        self._made: dict[bytes, str] = {}
        self._has_ended = False

    def make(self, make: Callable[[bytes], ProviderKey], key_id: bytes) -> ProviderKey:
        """Call `make` with an identifier, in any thread."""
        key = make(key_id)
        with self._lock:
            self._made[key_id] = key.token
            is_late = self._has_ended
        if is_late:
            self._late(key_id)
        return key

    def end(self) -> dict[bytes, str]:
        """End the call; returns the tokens of the objects that it has made, by identifier."""
        with self._lock:
            self._has_ended = True
            return self._made


class ObjectMaker:
    """Lets calls make objects, and destroys them if the call fails."""

    def __init__(self, store: KeyStore) -> None:
        self._objects = store.objects
        self._lock = threading.Lock()
        self._left: Counter[str] = Counter()

    def left(self) -> Mapping[str, int]:
        """Count the objects that failed calls may have left behind, by provider."""
        return self._left

    @asynccontextmanager
    async def making(
        self, profile: str, provider: RunningProvider, count: int = 1
    ) -> AsyncIterator[ObjectsBeingMade]:
        """Let the block make `count` objects and store their keys.

        If the block fails, the objects are destroyed, unless their keys may be stored. Raises
        StoreUnavailable.
        """

        def late(key_id: bytes) -> None:
            self._note_left(provider.name, [key_id])

        being_made = ObjectsBeingMade(await self._objects.new_ids(count), late)
        try:
            yield being_made
        except BaseException as exc:
            made = being_made.end()
            is_unknown = isinstance(exc, KmsError) and exc.outcome is not None
            try:
                if isinstance(exc, Exception) and not is_unknown:
                    await self._destroy(profile, provider, made)
            finally:
                self._note_left(provider.name, made)
            raise

    async def _destroy(
        self, profile: str, provider: RunningProvider, made: dict[bytes, str]
    ) -> None:
        """Destroy objects without a key and remove them from `made`; stop at the first failure."""
        try:
            for key_id, token in list(made.items()):
                is_named = await self._is_named(profile, key_id)
                if not is_named and not await provider.destroy(key_id, token):
                    return
                del made[key_id]
        except StoreUnavailable:
            return  # the caller logs the objects in `made`

    async def _is_named(self, profile: str, key_id: bytes) -> bool:
        try:
            return await self._objects.is_named(profile, key_id)
        except ProfileNotFound:
            return False

    def _note_left(self, provider: str, key_ids: Iterable[bytes]) -> None:
        """Count and log objects that may be left behind; any thread may call this."""
        for key_id in key_ids:
            with self._lock:
                self._left[provider] += 1
            LOGGER.warning(
                "the object %s of the provider %s may be left over: its call has failed",
                key_id.hex(),
                provider,
            )
