"""haproxy as a process of a test, and its view of the servers behind it."""

import contextlib
import shutil
import socket
import subprocess
import time

import pytest
from waiting import LONG

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin")

needs_haproxy = pytest.mark.skipif(
    not HAPROXY, reason="this needs haproxy in front of the service: apt-get install haproxy"
)


class HAProxy:
    """haproxy with the configuration that is `haproxy.cfg` in a folder.

    Its `stats socket` is `haproxy.sock` there.
    """

    def __init__(self, folder):
        self._stats = folder / "haproxy.sock"
        self._process = subprocess.Popen([HAPROXY, "-db", "-f", str(folder / "haproxy.cfg")])
        while not self._listens():
            assert self._process.poll() is None, "haproxy has ended"
            time.sleep(0.01)  # before it is tried again

    def _listens(self):
        """Tell whether it takes connections; its socket exists a moment earlier."""
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError), self._connected():
            return True
        return False

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder, config):
        """haproxy with this configuration, until the block ends."""
        (folder / "haproxy.cfg").write_text(config)
        haproxy = cls(folder)
        try:
            yield haproxy
        finally:
            haproxy._process.kill()
            haproxy._process.wait()

    @contextlib.contextmanager
    def _connected(self):
        with socket.socket(socket.AF_UNIX) as stats:
            stats.settimeout(60)
            stats.connect(str(self._stats))
            yield stats

    def command(self, command):
        """Give a command to its socket; return the lines of the answer."""
        with self._connected() as stats:
            stats.sendall(f"{command}\n".encode())
            with stats.makefile() as lines:
                return [line for line in lines if line.strip()]

    def state(self, backend, server):
        """The status of a server, and the result of its last check."""
        rows = [line.split(",") for line in self.command("show stat")]
        (found,) = (row for row in rows if row[:2] == [backend, server])
        return tuple(found[rows[0].index(column)] for column in ("status", "check_status"))

    def wait_until(self, backend, server, *state):
        """Wait until a server has this status and, if given, its last check has found this.

        haproxy takes a server to be up until its first check.
        """
        begun = time.monotonic()
        while (found := self.state(backend, server))[: len(state)] != state:
            if time.monotonic() - begun > LONG:
                pytest.fail(f"waited {LONG} s for {server} to be {state}: {found}")
            time.sleep(0.05)  # before haproxy is asked again
