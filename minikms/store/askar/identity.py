"""The identity of a store's file, which a backup changes: it shows that a store is a copy.

The identity is a number in the header of an SQLite file that applications may set (`PRAGMA
user_version`), so that a backup can change it without a key. A store in PostgreSQL or in memory
always has the identity of a new store.
"""

import secrets
import sqlite3
from typing import Final

# The identity of a new store.
FIRST: Final = b"0"


def identity_of(file: sqlite3.Connection) -> bytes:
    """The identity of the store in a file."""
    number: int = file.execute("PRAGMA user_version").fetchone()[0]
    return str(number).encode()


def set_new_identity(file: sqlite3.Connection) -> None:
    """Give a copy of a store's file another identity."""
    file.execute(f"PRAGMA user_version = {1 + secrets.randbits(30)}")
