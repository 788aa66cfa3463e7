"""The test suite for algorithms, built-in or of plugins; it needs pytest.

A subclass of `AlgorithmContract` that names an algorithm is a complete test class:

    class TestEd448(AlgorithmContract):
        algorithm = Ed448()

It has the tests of the capabilities that the algorithm declares, and no others.
"""

import pkgutil

import pytest

# Before they are imported: pytest shows compared values only for assertions that it has rewritten,
# and by default it rewrites test files alone.
pytest.register_assert_rewrite(
    *(module.name for module in pkgutil.iter_modules(__path__, f"{__name__}."))
)

from minikms.testing.contract import AlgorithmContract  # noqa: E402

__all__ = ["AlgorithmContract"]
