"""A PgBouncer of the tests' own, in front of a PostgreSQL server."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit

from ports import free_port
from postgres import _AS_USER, _USER

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


@contextmanager
def pgbouncer(url: str, settings: str) -> Iterator[str]:
    """Run PgBouncer with these settings, and yield the URL that leads through it."""
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
