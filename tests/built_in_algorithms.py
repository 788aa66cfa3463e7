"""The built-in algorithms by their classes, and the stores on which a test runs with each."""

import pytest
from algorithm_facts import SLOW

from minikms.plugin.askar import AskarKeyAlgorithm
from minikms.plugin.registry import AlgorithmRegistry

BUILT_IN = [
    entry.algorithm
    for entry in AlgorithmRegistry.from_installed()
    if entry.source == "minikms-server"
]


def algorithm_names(*kinds, but=()):
    """The names of built-in algorithms of one of `kinds` (default: any), except those of `but`."""
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
