"""The service on a system without the calls that only Linux has, such as macOS."""

import json
import os
import re
import subprocess
import sys

import pytest
from filled_stores import options_of

pytestmark = [pytest.mark.process, pytest.mark.interpreter]

# By typeshed, names that Python has on Linux and not on macOS, without constants of other parts of
# the system.
ABSENT = {
    "os": (
        *("O_DIRECT", "O_NOATIME", "O_PATH", "O_TMPFILE", "P_PIDFD", "copy_file_range", "eventfd"),
        *("fdatasync", "getrandom", "getresuid", "getxattr", "listxattr", "memfd_create"),
        *("pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "removexattr"),
        *("sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "setresuid", "setxattr"),
        *("splice", "waitid"),
    ),
    "time": ("CLOCK_BOOTTIME", "CLOCK_TAI", "pthread_getcpuclockid"),
    "select": ("epoll", "EPOLLRDHUP", "POLLRDHUP"),
    "socket": ("AF_NETLINK", "AF_VSOCK", "IP_TRANSPARENT", "MSG_MORE", "SO_PEERCRED"),
    "signal": ("SIGPOLL", "SIGPWR", "SIGRTMAX", "SIGRTMIN", "pidfd_send_signal", "sigtimedwait"),
    "resource": ("RUSAGE_THREAD", "prlimit"),
    "mmap": ("MADV_DONTFORK", "MADV_HUGEPAGE", "MAP_POPULATE"),
    "fcntl": ("F_ADD_SEALS", "F_GETPIPE_SZ", "F_NOTIFY"),
}


@pytest.fixture(autouse=True)
def other_system(tmp_path, monkeypatch):
    """Take the names away from each Python that the test starts."""
    folder = tmp_path / "other system"
    folder.mkdir()
    lines = [
        "import importlib",
        f"for module, names in {ABSENT}.items():",
        "    for name in names:",
        "        vars(importlib.import_module(module)).pop(name, None)",
        "import os",
        "if hasattr(os, 'process_cpu_count'):",  # from 3.13 on; as it is without sched_getaffinity
        "    os.process_cpu_count = os.cpu_count",
    ]
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), path])))
    code = "import os; os.posix_fallocate"
    found = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert b"AttributeError" in found.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_is_made_and_keys_of_it_sign(run, serve, tmp_path, free_port, workers):
    options = options_of(f"sqlite://{tmp_path}/keys.db", str(tmp_path / "store.key"))
    token = ["--admin-token-file", str(tmp_path / "admin.token")]
    made = run("store", "init", "--generate-key", *token, *options)
    assert (made.returncode, made.stderr) == (0, "")
    more = ["--workers", workers, "--metrics-port", free_port, "--auth", "none"]
    service = serve("--port", "0", *more, *options, "--audit-log", str(tmp_path / "audit.log"))
    rates = json.dumps({"calls_per_second": 1000}).encode()
    assert service.status("PATCH", "/profile/default", rates) == 200
    assert service.status("POST", "/key/generate", b'{"alg":"ed25519","alias":"k"}') == 200
    for _ in range(8):
        assert service.status("POST", "/sign", b'{"alias":"k","data":"aGVsbG8"}') == 200
    found = service.metrics()
    assert found["operations_total", labels(operation="sign", alg="ed25519")] == 8
    assert (tmp_path / "keys.db-seen").stat().st_size == 8 * 4096
    code, written = service.stop()
    assert code == 0
    assert not re.search("Traceback|ERROR", written + "".join(service.lines))


def labels(**of):
    return frozenset({**of, "outcome": "success"}.items())
