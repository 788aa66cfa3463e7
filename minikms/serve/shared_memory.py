"""A store in memory that several processes share: an encrypted file on tmpfs, while they run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from minikms.startup_errors import StoreError
from minikms.store.askar import new_raw_key
from minikms.store.keys import KeyStore
from minikms.store.location import StoreKey, StoreLocation

# Everybody writes there, hence the folder.
_PLACE: Final = "/dev/shm"  # noqa: S108 # nosec B108


@asynccontextmanager
async def temporary_store() -> AsyncIterator[tuple[str, StoreKey]]:
    """The URL and the key of a new store, which is gone at the end; raises StoreError.

    The key is in no file: what is left where this process is killed opens to nobody.
    """
    with _folder() as folder:
        url, key = f"sqlite://{folder}/keys.db", StoreKey(new_raw_key())
        making = asyncio.create_task(_make(url, key))
        try:
            await asyncio.shield(making)
        finally:
            await asyncio.wait([making])  # or files come while the folder is removed
        yield url, key


async def _make(url: str, key: StoreKey) -> None:
    async with KeyStore.create(StoreLocation.parse(url), key):
        pass


def _folder() -> "TemporaryDirectory[str]":
    """A new folder in memory, its owner's alone."""
    with suppress(OSError):
        if _is_tmpfs(_PLACE):
            return TemporaryDirectory(prefix="minikms-", dir=_PLACE)
    raise StoreError(
        f"Several workers share keys in memory on a tmpfs at {_PLACE}, and none is there that can "
        "be written."
    )


def _is_tmpfs(place: str) -> bool:
    """Whether what is mounted there, last, is one."""
    mounts = map(str.split, Path("/proc/self/mounts").read_text().splitlines())
    return [kind for _, where, kind, *_ in mounts if where == place][-1:] == ["tmpfs"]
