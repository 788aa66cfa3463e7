"""Read and write the SQLite files of stores, so that tests can copy them."""

from pathlib import Path

from waiting import until


async def whole(path: Path) -> Path:
    """Wait until the file of a closed store is complete, and return its path.

    Askar ends its last connection, which empties the write-ahead log, a little later.
    """
    log = path.with_name(f"{path.name}-wal")
    await until(f"the end of {log}", lambda: not log.exists())
    return path


def write(path: Path, content: bytes) -> None:
    """Make the file of a store, which only its owner may read."""
    path.touch(0o600, exist_ok=False)
    path.write_bytes(content)
