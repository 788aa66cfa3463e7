"""Fixtures of tests with published vectors."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nist import nist

from minikms.plugin.registry import AlgorithmRegistry


@pytest.fixture(scope="session")
def registry() -> AlgorithmRegistry:
    """The algorithms that are installed."""
    return AlgorithmRegistry.from_installed()


@pytest.fixture(scope="session")
def vectors() -> Callable[..., Iterator[dict[str, Any]]]:
    """Records of a file of NIST's kind, from the package cryptography-vectors."""
    return nist


@pytest.fixture(scope="session")
def unhex() -> Callable[..., bytes]:
    """The bytes of hexadecimal digits, some of which NIST leaves out in front of a number."""

    def decode(digits: str, size: int | None = None) -> bytes:
        return bytes.fromhex(digits if size is None else digits.zfill(2 * size)[-2 * size :])

    return decode
