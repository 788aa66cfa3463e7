"""A store in memory for several processes: an encrypted SQLite file on tmpfs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from minikms.startup_errors import StoreError
from minikms.store import KeyStore, StoreKey, StoreLocation, new_raw_key

# Everyone may write there, so the store has a folder of its own.
_MOUNT: Final = "/dev/shm"  # noqa: S108 # nosec B108


@asynccontextmanager
async def temporary_store() -> AsyncIterator[tuple[str, StoreKey]]:
    """Yield the URL and the key of a new store, and remove the store at the end; raises StoreError.

    The key is never in a file: if this process is killed, nobody can open the file that it leaves.
    """
    with _folder() as folder:
        url, key = f"sqlite://{folder}/keys.db", StoreKey(new_raw_key())
        making = asyncio.create_task(_make(url, key))
        try:
            await asyncio.shield(making)
        finally:
            await asyncio.wait([making])  # otherwise it creates files while the folder is removed
        yield url, key


async def _make(url: str, key: StoreKey) -> None:
    async with KeyStore.create(StoreLocation.parse(url), key):
        pass


def _folder() -> "TemporaryDirectory[str]":
    """Make a new folder in memory, with mode 0700."""
    with suppress(OSError):
        mounts = map(str.split, Path("/proc/self/mounts").read_text().splitlines())
        if [kind for _, where, kind, *_ in mounts if where == _MOUNT][-1:] == ["tmpfs"]:
            return TemporaryDirectory(prefix="minikms-", dir=_MOUNT)
    raise StoreError(
        f"Several workers need a writable tmpfs at {_MOUNT} to share keys in memory, and there is "
        "none."
    )
