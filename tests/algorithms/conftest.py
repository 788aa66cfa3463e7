"""What tests with published vectors share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography_vectors import open_vector_file

from minikms.plugin.registry import AlgorithmRegistry


@pytest.fixture(scope="session")
def registry() -> AlgorithmRegistry:
    """The algorithms that are installed."""
    return AlgorithmRegistry.from_installed()


@pytest.fixture(scope="session")
def vectors() -> Callable[..., Iterator[dict[str, Any]]]:
    """Records of a file of NIST's kind, from the package cryptography-vectors."""
    return nist


def nist(path: str, section: str = "") -> Iterator[dict[str, Any]]:
    """The records under headings with `section` in them.

    A record is lines `NAME = value`, up to an empty one or to a name that it has already; a line
    alone, `FAIL`, is a name.
    """
    heading, record = "", {}
    with open_vector_file(path, "r") as lines:
        for line in (*lines, ""):
            if line.startswith("#"):
                continue
            name, equals, value = (part.strip() for part in line.partition("="))
            if record and (not name or name.upper() in record):
                if section in heading:
                    yield record
                record = {}
            if line.startswith("["):
                heading = line
            elif name:
                record[name.upper()] = value if equals else True


@pytest.fixture(scope="session")
def unhex() -> Callable[..., bytes]:
    """The bytes of hexadecimal digits, some of which NIST leaves out in front of a number."""

    def decode(digits: str, size: int | None = None) -> bytes:
        return bytes.fromhex(digits if size is None else digits.zfill(2 * size)[-2 * size :])

    return decode
