"""Memory of cached keys, by algorithm, and how many fit into `--cache-memory`.

Run it with the Python that Mini KMS is installed in: `python bench/key_memory.py`, or with the
names of algorithms. Each row is measured in a separate process, which caches many copies of one key
under different kids, and uses each. The row has the growth per key (resident set), and the weight
that the cache counts.
"""

import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
from aries_askar import Key

from minikms.key_requests import KeyPolicy
from minikms.keys.cached_keys import CachedKey
from minikms.keys.making import maker
from minikms.plugin import (
    Aead,
    KeyPairAlgorithm,
    Mac,
    SignatureOptions,
    Signer,
    Stored,
)
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store.cache import DEFAULT_MEMORY, Bounds, Cache
from minikms.store.categories import KEY, PROFILE
from minikms.store.connections.counters import ChangeCounters

Use: TypeAlias = Callable[[Any, CachedKey, Stored], None]

MEMORY = 16 * 1024 * 1024  # bytes of cached keys in a process
MESSAGE = bytes(32)


def main() -> None:
    """Print the table, or the measurement of one process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithms", nargs="*")
    parser.add_argument("--use", choices=USES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    registry = AlgorithmRegistry.from_installed()
    if args.use:
        print(*measure(registry, registry.get(args.algorithms[0]), USES[args.use]))
        return
    print("| algorithm | record | and private key | and public key | counted | keys |")
    print("|---|---|---|---|---|---|")
    for algorithm in [registry.get(name) for name in args.algorithms] or [
        each.algorithm for each in registry
    ]:
        print(row(algorithm), flush=True)


def row(algorithm: Any) -> str:
    """Measure an algorithm's keys, each use in a process of its own."""
    cells = []
    for use in USES if isinstance(algorithm, KeyPairAlgorithm) else ("record", "private"):
        command = [sys.executable, __file__, algorithm.name, "--use", use]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
        cells.append([float(figure) for figure in printed.split()])
    if len(cells) == 2:
        cells.append(cells[-1])
    bytes_each = " | ".join(f"{taken:,.0f}" for taken, _ in cells)
    counted = " ".join(f"{weight:,.0f}" for _, weight in cells)
    keys = f"{DEFAULT_MEMORY // cells[1][1]:,.0f}"
    return f"| {algorithm.name} | {bytes_each} | {counted} | {keys} |"


def measure(registry: AlgorithmRegistry, algorithm: Any, use: Use) -> tuple[float, int]:
    """Measure the bytes that each cached key takes in this process, and its weight."""
    record, stored = maker(algorithm, KeyPolicy(), algorithm.generate)()
    written, copy = replace(record, seq=f"{1:020d}").to_bytes(), copies(stored)
    cache: Cache[CachedKey] = Cache(
        ChangeCounters(), Bounds(10**9, 10**12), lambda found: found.weight(registry)
    )

    def add(number: int) -> None:
        kid = f"{record.kid[:-8]}{number:08d}"
        pending = cache.start_fill()
        read = KeyRecord.from_bytes(written.replace(record.kid.encode(), kid.encode()))
        key = CachedKey(read)
        use(algorithm, key, copy())
        pending.fill(key.names("default"), key, (PROFILE, "default"), (KEY, kid))

    add(0)
    grown = -resident()
    for each in range(1, 100):
        add(each)
    grown += resident()
    number = min(max(MEMORY // max(grown // 99, 1), 500), 10_000)
    before, first, weight = resident(), len(cache), cache.weight
    for each in range(100, number + 100):
        add(each)
    growth, more = resident() - before, len(cache) - first
    return growth / more, (cache.weight - weight) // more


def copies(stored: Stored) -> Callable[[], Stored]:
    """Make a function that copies the stored form of a key."""
    if isinstance(stored, bytes):
        return lambda: bytes(bytearray(stored))
    jwk = orjson.dumps(orjson.loads(stored.get_jwk_secret()))
    return lambda: Key.from_jwk(jwk)


def use_none(algorithm: Any, found: CachedKey, stored: Stored) -> None:
    """Keep only the record."""


def use_private(algorithm: Any, found: CachedKey, stored: Stored) -> None:
    """Open a key and use it; its library may compute and keep further values."""
    found.key = algorithm.unpack(stored)
    if isinstance(algorithm, Signer):
        alg = algorithm.signing_algs[0] if algorithm.signing_algs else ""
        algorithm.sign(found.key, MESSAGE, SignatureOptions(alg))
    if isinstance(algorithm, Mac):
        algorithm.mac(found.key, MESSAGE)
    if isinstance(algorithm, Aead):
        algorithm.encrypt(found.key, MESSAGE, b"")


def use_both(algorithm: Any, found: CachedKey, stored: Stored) -> None:
    """Use an opened key and its public key."""
    use_private(algorithm, found, stored)
    found.public = algorithm.load_public(found.record.jwk or {})
    if isinstance(algorithm, Signer):
        alg = algorithm.signing_algs[0] if algorithm.signing_algs else ""
        algorithm.verify(found.public, MESSAGE, b"", SignatureOptions(alg))


def resident() -> int:
    """The resident set of this process, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


USES: Final[dict[str, Use]] = {"record": use_none, "private": use_private, "public": use_both}

if __name__ == "__main__":
    main()
