"""Microseconds of each operation of each installed algorithm: direct calls, medians.

Run it with the Python that Mini KMS is installed in: `python bench/operations.py`. The cost of a
thread is at the end; operations that an algorithm declares `slow` have a star.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from minikms.plugin import (
    Aead,
    Box,
    Hpke,
    HpkeOptions,
    JwkImporter,
    Kem,
    KeyAgreement,
    KeyAlgorithm,
    KeyWrap,
    Mac,
    PublicKeyEncryption,
    SignatureOptions,
    Signer,
)
from minikms.plugin.registry import AlgorithmRegistry

MESSAGE = bytes(256)
SECRET = bytes(32)
SECONDS = 0.2


def main() -> None:
    """Measure and print."""
    for entry in AlgorithmRegistry.from_installed():
        algorithm = entry.algorithm
        cells = [
            f"{name} {microseconds(call):,.0f}{'*' if name in algorithm.slow else ''}"
            for name, call in calls(algorithm)
        ]
        print(f"{algorithm.name:13}", ", ".join(cells))
    print(f"\na call in a thread {asyncio.run(thread()):,.0f}")


def calls(algorithm: KeyAlgorithm[Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Return the operations of an algorithm by name, as functions without arguments."""
    key = algorithm.generate()
    stored = algorithm.pack(key)
    yield "generate", algorithm.generate
    yield "open", lambda: algorithm.unpack(stored)
    if isinstance(algorithm, JwkImporter):
        jwk = algorithm.export_jwk(key)
        yield "import", lambda: algorithm.import_jwk(jwk)
    if isinstance(algorithm, Signer):
        alg = algorithm.signing_algs[0]
        public = algorithm.load_public(algorithm.public_jwk(key))
        signature = algorithm.sign(key, MESSAGE, SignatureOptions(alg))
        yield "sign", lambda: algorithm.sign(key, MESSAGE, SignatureOptions(alg))
        yield "verify", lambda: algorithm.verify(public, MESSAGE, signature, SignatureOptions(alg))
    if isinstance(algorithm, KeyAgreement):
        peer = algorithm.load_peer(algorithm.public_jwk(algorithm.generate()))
        yield "derive", lambda: algorithm.derive(key, peer)
    if isinstance(algorithm, Box):
        other = algorithm.load_box_peer(algorithm.public_jwk(key))
        boxed, sealed = algorithm.box(key, other, MESSAGE), algorithm.seal(other, MESSAGE)
        yield "box", lambda: algorithm.box(key, other, MESSAGE)
        yield "box-open", lambda: algorithm.open_box(key, other, boxed)
        yield "seal", lambda: algorithm.seal(other, MESSAGE)
        yield "open sealed", lambda: algorithm.open_sealed(key, sealed)
    if isinstance(algorithm, Mac):
        yield "mac", lambda: algorithm.mac(key, MESSAGE)
    if isinstance(algorithm, Aead):
        yield "encrypt", lambda: algorithm.encrypt(key, MESSAGE, b"")
    if isinstance(algorithm, KeyWrap):
        yield "wrap", lambda: algorithm.wrap(key, MESSAGE)
    yield from calls_by_public_key(algorithm, key)


def calls_by_public_key(
    algorithm: KeyAlgorithm[Any], key: Any
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Return the operations that begin with a public key, and the private key's counterparts."""
    if not isinstance(algorithm, PublicKeyEncryption | Kem | Hpke):
        return
    public = algorithm.load_public(algorithm.public_jwk(key))
    if isinstance(algorithm, PublicKeyEncryption):
        ciphertext = algorithm.encrypt(public, SECRET)
        yield "encrypt", lambda: algorithm.encrypt(public, SECRET)
        yield "decrypt", lambda: algorithm.decrypt(key, ciphertext)
    if isinstance(algorithm, Kem):
        made = algorithm.encapsulate(public)
        yield "encapsulate", lambda: algorithm.encapsulate(public)
        yield "decapsulate", lambda: algorithm.decapsulate(key, made.ciphertext)
    if isinstance(algorithm, Hpke):
        options = HpkeOptions()
        sealed = algorithm.hpke_seal(public, MESSAGE, options)
        yield "hpke-seal", lambda: algorithm.hpke_seal(public, MESSAGE, options)
        yield "hpke-open", lambda: algorithm.hpke_open(key, sealed, options)


def microseconds(call: Callable[[], object]) -> float:
    """Measure the median of as many calls as fit into some time, at least three."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


async def thread() -> float:
    """Measure the median of an empty call in a thread."""
    times = []
    for _ in range(2000):
        begin = time.perf_counter()
        await asyncio.to_thread(bool)
        times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


if __name__ == "__main__":
    main()
