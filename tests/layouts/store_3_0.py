"""A store of layout 3.0, with everything in it that such a store has.

`layouts/make.py` has made it. Its service answered what `expected-3.0.json.gz` says.
"""

import gzip
import json
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from sqlite_copies import write

from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore

HERE = Path(__file__).parent
EXPECTED = json.loads(gzip.decompress((HERE / "expected-3.0.json.gz").read_bytes()))
KEY = StoreKey(EXPECTED["store_key"])

_TABLES = {"config": "", "profiles": "id", "items": "id", "items_tags": "id"}


async def put_old_store(url, server=None):
    """Put the store at a URL: into a new SQLite file, or into an empty database of a server."""
    location, content = StoreLocation.parse(url), _content()
    if location.path:
        write(location.path, content)
        return
    async with KeyStore.create(location, KEY):
        pass  # its tables
    subprocess.run(
        server.psql(url.rpartition("/")[2]),
        input="\n".join(_statements(content)),
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _content():
    return gzip.decompress((HERE / "store-3.0.db.gz").read_bytes())


def _statements(content):
    """The statements that put the rows of the SQLite file into Askar's tables of PostgreSQL."""
    yield f"TRUNCATE {', '.join(_TABLES)};"
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        file.write(content)
        file.flush()
        connection = sqlite3.connect(file.name)
        for table, serial in _TABLES.items():
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1"):
                yield f"INSERT INTO {table} VALUES ({', '.join(map(_literal, row))});"
            if serial:
                last = f"(SELECT max({serial}) FROM {table})"
                yield f"SELECT setval(pg_get_serial_sequence('{table}', '{serial}'), {last});"
        connection.close()


def _literal(value):
    if value is None:
        return "NULL"
    return rf"'\x{value.hex()}'" if isinstance(value, bytes) else f"'{value}'"
