"""Processes of `minikms-p11`, and the programs that are connected to them."""

import contextlib
import os
import signal
import stat
import subprocess
import sys

from rpc import Program
from waiting import wait_until

COMMAND = [sys.executable, "-m", "minikms_p11"]
NOBODY = 65534
BECOME = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
# The client of another version of p11-kit, if the variable has its path.
MODULE = os.environ.get(
    "MINIKMS_TEST_P11_KIT_CLIENT", "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
)
_SERVES = "serving "


def let_through(path):
    """Let every user pass the folders above, but not list them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


class Sidecar:
    """A sidecar in a process, its socket `path` and its log."""

    def __init__(self, folder, kms, *args, command=COMMAND, **options):
        self.path, self.log_file = folder / "socket", folder / "log"
        self.programs = []
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--url", kms.url, "--socket", str(self.path), *args],
                stderr=log,
                start_new_session=True,
                **options,
            )
        self._starts = 0
        self.wait_until_it_serves()

    @property
    def log(self):
        return self.log_file.read_text()

    @property
    def pid(self):
        return self.process.pid

    def wait_until_it_serves(self):
        """Wait until it, or the next process in its place, serves programs."""
        self._starts += 1

        def serves():
            assert self.process.poll() is None, self.log
            return self.log.count(_SERVES) >= self._starts

        wait_until("a sidecar that serves", serves)

    def restart(self):
        """Send it SIGHUP; return when a new process has taken its place."""
        self.process.send_signal(signal.SIGHUP)
        self.wait_until_it_serves()

    def connect(self, version=1, **options):
        """Connect a program, until the end of the test."""
        program = Program(self.path, version, **options)
        self.programs.append(program)
        return program

    def stop(self, number=signal.SIGTERM):
        """End it; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def memory(self):
        """The bytes of its memory."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def sidecars(folder_of, kms):
    """Yield a function that starts sidecars, which end with the block."""
    with contextlib.ExitStack() as ended:

        def start(*args, folder=None, kms=kms, **options):
            sidecar = Sidecar(folder or folder_of("s"), kms, *args, **options)
            ended.callback(_end, sidecar)
            return sidecar

        yield start


def _end(sidecar):
    for program in sidecar.programs:
        program.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(sidecar.pid, signal.SIGKILL)
    sidecar.process.wait()
    assert "Traceback" not in sidecar.log, sidecar.log
