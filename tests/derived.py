"""Lists that follow from the code: algorithms by what they are, and the profile of a call."""

import re

import pytest
from algorithm_facts import SLOW

from minikms.plugin.askar import AskarKeyAlgorithm
from minikms.plugin.registry import AlgorithmRegistry

PROFILE_HEADER = {"$ref": "#/components/parameters/Profile"}

BUILT_IN = [
    entry.algorithm
    for entry in AlgorithmRegistry.from_installed()
    if entry.source == "minikms-server"
]


def algorithm_names(*kinds, but=()):
    """The names of the built-in algorithms that are one of `kinds`, or any, and none of `but`."""
    return [
        algorithm.name
        for algorithm in BUILT_IN
        if (not kinds or isinstance(algorithm, kinds)) and not isinstance(algorithm, but)
        if algorithm.name not in SLOW
    ]


def on_stores(names):
    """Parametrize `alg` by all in memory, and on each other store by one of each form and type.

    A store keeps Askar's keys and bytes, and knows no more of an algorithm.
    """
    forms = {}
    for algorithm in BUILT_IN:
        if algorithm.name in names:
            form = isinstance(algorithm, AskarKeyAlgorithm), algorithm.kty
            forms.setdefault(form, algorithm.name)
    stored = [(store, name) for store in ("sqlite", "postgres") for name in forms.values()]
    pairs = [*(("memory", name) for name in names), *stored]
    return pytest.mark.parametrize(("any_store", "alg"), pairs, indirect=["any_store"])


def profile_of(document, name, *, named):
    """The profile that the call `name` is in, when it has no header; `named` where it names one.

    None where no profile has to do with it.
    """
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if operation["operationId"] == name:
                if PROFILE_HEADER in operation.get("parameters", ()):
                    return "default"
                return named if re.match(r"/profile\b", path) else None
    raise KeyError(name)
