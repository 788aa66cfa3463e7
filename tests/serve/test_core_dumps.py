"""Core dumps are off in every process that has keys in its memory."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        sys.platform != "linux", reason="no core dump is a call of Linux: run pytest there"
    ),
]

MINIKMS = [os.path.join(os.path.dirname(sys.executable), "minikms")]
# Root reads all of /proc by a capability, which neither who is read nor who reads has here.
WITHOUT = [] if os.geteuid() else ["setpriv", "--bounding-set=-sys_ptrace"]
# At its end a command says whether it may be dumped: prctl's PR_GET_DUMPABLE, and its limits.
REPORT = """
import atexit, ctypes, resource
from minikms.cli.main import main
report = lambda: print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(4))
resource.setrlimit(4, (resource.getrlimit(4)[1],) * 2)
atexit.register(report)
main()
"""


def reads(process):
    """Tell whether another process of the same user may read the memory."""
    reading = [*WITHOUT, "readlink", f"/proc/{process}/exe"]
    return subprocess.run(reading, capture_output=True).returncode == 0


def limits(process):
    text = Path(f"/proc/{process}/limits").read_text()
    return re.search(r"Max core file size +(\S+) +(\S+)", text).groups()


def test_memory_of_another_program_can_be_read():
    with subprocess.Popen([*WITHOUT, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        cat.stdin.write(b"a")
        cat.stdin.flush()
        assert cat.stdout.read(1) == b"a"  # it has begun
        assert reads(cat.pid)


def test_memory_of_a_service_cannot_be_read(serve):
    service = serve("--port", "0", command=[*WITHOUT, *MINIKMS])
    assert limits(service.process.pid) == ("0", "0")
    assert not reads(service.process.pid)
    assert service.status("GET", "/healthz") == 200


@pytest.mark.interpreter
def test_workers_and_their_parent(serve):
    service = serve("--port", "0", "--workers", "2", command=[*WITHOUT, *MINIKMS])
    workers = re.findall(r"worker \d is process (\d+)", "".join(service.lines))
    assert len(workers) == 2
    for process in (service.process.pid, *workers):
        assert limits(process) == ("0", "0")
        assert not reads(process)


@pytest.mark.parametrize("words", ["store info", "token list", "audit key"])
async def test_commands_that_open_a_store(run, make_store, tmp_path, words):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    ended = run(*words.split(), command=[sys.executable, "-c", REPORT], **options)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "0 0 0"
