"""The suite that every algorithm passes, a stranger's like a built-in one; it needs pytest.

A subclass of `AlgorithmContract` that names an algorithm is a complete test class:

    class TestEd448(AlgorithmContract):
        algorithm = Ed448()

It has the tests of what the algorithm declares, and no others.
"""

import pkgutil

import pytest

# Before they are imported: pytest shows what was compared only where it has rewritten the
# assertions, and of its own accord it does so in test files alone.
pytest.register_assert_rewrite(
    *(module.name for module in pkgutil.iter_modules(__path__, f"{__name__}."))
)

from minikms.testing.contract import AlgorithmContract  # noqa: E402

__all__ = ["AlgorithmContract"]
