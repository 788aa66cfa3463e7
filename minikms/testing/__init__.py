"""Test suites for algorithms, built-in and from plugins, and for providers; they need pytest.

A subclass of `AlgorithmContract` that names an algorithm is a complete test class:

    class TestEd448(AlgorithmContract):
        algorithm = Ed448()

It has the tests of the capabilities that the algorithm declares, and no others. A subclass of
`ProviderContract` says how a provider is made:

    class TestFiles(ProviderContract):
        def new_provider(self) -> Provider:
            return FilesProvider("files:/tmp/keys")

These two classes are the whole public surface; the other modules of this wing are private and may
change at any time.
"""

import pkgutil

import pytest

# Before the imports: pytest shows compared values only for rewritten assertions, and by default it
# rewrites only test files.
pytest.register_assert_rewrite(
    *(module.name for module in pkgutil.iter_modules(__path__, f"{__name__}."))
)

from minikms.testing.contract import AlgorithmContract  # noqa: E402
from minikms.testing.providers import ProviderContract  # noqa: E402

__all__ = ["AlgorithmContract", "ProviderContract"]
