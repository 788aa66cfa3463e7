"""PostgreSQL behind PgBouncer works, or is refused at the start."""

import asyncio
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit

import pytest
from ports import free_port
from postgres import _AS_USER, _USER

from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore

PGBOUNCER = which("pgbouncer")
_SETTINGS = """[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
"""

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not PGBOUNCER, reason="needs pgbouncer: apt-get install pgbouncer"),
]

# What docs/operations/postgresql.md says.
SESSION = "pool_mode = session\nignore_startup_parameters = extra_float_digits, options\n"
SETTINGS = "idle_in_transaction_session_timeout = '5s'", "lock_timeout = '1500ms'"


@contextmanager
def pgbouncer(url: str, settings: str) -> Iterator[str]:
    """Run PgBouncer with these settings before the server, and yield the URL through it."""
    assert PGBOUNCER
    parts, port = urlsplit(url), free_port()
    through = parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()
    with tempfile.TemporaryDirectory(prefix="minikms-pgbouncer-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{parts.username}" "{parts.password}"\n')
        lines = _SETTINGS.format(server=parts.port, port=port, folder=folder)
        (folder / "ini").write_text(lines + settings)
        if _USER:
            for path in (folder, *folder.iterdir()):
                os.chown(path, _USER.pw_uid, _USER.pw_gid)
        process = subprocess.Popen(
            [PGBOUNCER, folder / "ini"], **_AS_USER, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr
            for line in process.stderr:
                if "process up" in line:
                    break
            yield through
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
async def store(postgres_server):
    """The URL of a store, and its key."""
    url, key = postgres_server.create_database(), StoreKey(new_raw_key())
    async with KeyStore.create(StoreLocation.parse(url), key):
        return url, key


def warnings(caplog):
    """The warnings of the service itself."""
    found = (record for record in caplog.records if record.levelno >= logging.WARNING)
    return [record.getMessage() for record in found if record.name.startswith("minikms")]


async def use(url, key):
    async with KeyStore.open(StoreLocation.parse(url), key) as opened:
        names = [f"p{number}" for number in range(20)]
        await asyncio.gather(*map(opened.directory.create, names))
        assert set(names) < set(await opened.directory.names())


async def test_a_pooler_in_session_mode_serves_without_warnings(store, postgres_server, caplog):
    url, key = store
    for setting in SETTINGS:
        database = urlsplit(url).path[1:]
        postgres_server.execute(f"ALTER ROLE postgres IN DATABASE {database} SET {setting}")
    with pgbouncer(url, SESSION) as through:
        await use(through, key)
    assert warnings(caplog) == []


async def test_session_mode_without_the_settings_of_sessions(store, caplog):
    url, key = store
    with pgbouncer(url, SESSION) as through:
        await use(through, key)
    (said,) = warnings(caplog)
    assert "idle_in_transaction_session_timeout and lock_timeout are not set" in said
    assert urlsplit(url).password not in caplog.text


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_other_modes_are_refused(mode, store):
    url, key = store
    settings = SESSION.replace("session", mode, 1)
    refused = pytest.raises(StoreError, match="use its session mode")
    with pgbouncer(url, settings) as through, refused:
        await use(through, key)


async def test_a_startup_parameter_that_is_refused(store):
    url, key = store
    refused = pytest.raises(StoreError, match="unsupported startup parameter in options")
    with pgbouncer(url, SESSION.replace(", options", "")) as through, refused:
        await use(through, key)
