"""What is the same in most tests, and takes long: made once in a process, or a few times."""

import copy
import functools
import sys
from collections import defaultdict, deque
from typing import Any

import pytest

from minikms.algorithms.rsa import RsaAlgorithm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve import assembly
from minikms.web import app as app_module
from minikms.web.http import trial
from minikms.web.openapi import complete
from minikms.web.routes import Route
from minikms.web.swagger import Documented, read_routes


def share_applications(patch: pytest.MonkeyPatch) -> None:
    """Load algorithms and doors, read the routes, try the fast path and make each document once.

    They are most of an application's start, and nearly every test starts one.
    """
    load = AlgorithmRegistry.from_installed
    load_once = functools.cache(lambda path: load())
    doors = assembly.installed_doors
    doors_once = functools.cache(lambda path: doors())
    read_once = functools.cache(read_routes)
    completed: dict[Any, dict[str, Any]] = {}

    def read(routes: list[Route]) -> Documented:
        documented = read_once(tuple(routes))
        return documented._replace(spec=dict(documented.spec))

    def complete_once(
        spec: dict[str, Any],
        routes: list[Route],
        registry: AlgorithmRegistry,
        *,
        guarded: bool,
        documents: dict[str, str],
    ) -> None:
        known = tuple(routes), registry, guarded, tuple(documents.items())
        if known not in completed:
            completed[known] = copy.deepcopy(spec)
            complete(completed[known], routes, registry, guarded=guarded, documents=documents)
        spec.update(completed[known])

    patch.setattr(AlgorithmRegistry, "from_installed", lambda: load_once(tuple(sys.path)))
    patch.setattr(assembly, "installed_doors", lambda: doors_once(tuple(sys.path)))
    patch.setattr(app_module, "read_routes", read)
    patch.setattr(app_module, "complete", complete_once)
    patch.setattr(trial, "fault", _tried_once(trial.fault))


def _tried_once(fault: Any) -> Any:
    found: list[str] = []

    @functools.wraps(fault)
    async def tried(make_server: Any) -> str:
        if not found:
            found.append(await fault(make_server))
        return found[0]

    return tried


def share_rsa_keys(patch: pytest.MonkeyPatch) -> None:
    """Make a few RSA keys of each size, then give them in turn: one takes up to a second."""
    made: defaultdict[int, deque[Any]] = defaultdict(deque)
    generate = RsaAlgorithm.generate

    @functools.wraps(generate)
    def give(algorithm: RsaAlgorithm) -> Any:
        keys = made[algorithm.bits]
        # More than any test makes in one store.
        enough = len(keys) == (16 if algorithm.bits == 2048 else 4)
        keys.append(keys.popleft() if enough else generate(algorithm))
        return keys[-1]

    patch.setattr(RsaAlgorithm, "generate", give)
