"""Files of vectors in the form of NIST's, from the package cryptography-vectors."""

from collections.abc import Iterator
from typing import Any

from cryptography_vectors import open_vector_file


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
