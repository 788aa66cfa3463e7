"""The identity of a store's file, by which a store knows that it is in a copy of the file.

It is a number in the header of an SQLite file that applications may set (`PRAGMA user_version`), so
that a backup needs no key to change it. A store in PostgreSQL or in memory has always the same.
"""

import secrets
import sqlite3
from contextlib import closing
from typing import Final

from minikms.store.location import StoreLocation
from minikms.store.schema import connect

# The identity of a new store.
FIRST: Final = b"0"


def identity_of(location: StoreLocation) -> bytes:
    """The identity of a store; its own for a file that cannot be read.

    The process must not have a connection to the file, as with `schema.connect`.
    """
    path = location.path
    if path is None or not path.is_file():
        return FIRST
    try:
        with closing(connect(path, "ro", location.timeout)) as file:
            number: int = file.execute("PRAGMA user_version").fetchone()[0]
            return str(number).encode()
    except sqlite3.Error:  # opening the store says why
        return b"unknown"


def set_new_identity(file: sqlite3.Connection) -> None:
    """Give a copy of a store's file another identity."""
    file.execute(f"PRAGMA user_version = {1 + secrets.randbits(30)}")
