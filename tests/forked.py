"""Programs in Python that are forked from a process which has imported what they need.

Imports are nearly all that a command, or the start of a service, takes of a processor; most of the
rest is to read what plugins are installed, and to free what was imported. All else is as after
`subprocess.Popen`: a child of the test's process, which runs the installed program from its first
line, with an environment and streams of its own. The workers of a service are forked too: children
of the service, each of which runs the line of Python that multiprocessing spawns.
"""

import atexit
import ctypes
import fcntl
import functools
import gc
import importlib
import importlib.metadata
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from multiprocessing import util

IMPORTED = (
    "asyncpg",
    "minikms.cli.main",
    "minikms.maintenance.copy",
    "minikms.serve.process",
    "minikms.serve.workers",
)
GROUPS = ("minikms.algorithms", "minikms.doors")

_SET_CHILD_SUBREAPER = 36  # of prctl(2)
_MOST = 1 << 17  # bytes of a request, most of which are the environment
_MOST_DESCRIPTORS = 10
_TO_A_GROUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class Process:
    """A process that has begun, with what tests use of `subprocess.Popen`."""

    def __init__(self, args, pid, stdout, stderr):
        self.args, self.pid, self.returncode = args, pid, None
        self.stdout, self.stderr = stdout, stderr
        self._readers, self._lock = [], threading.Lock()

    def poll(self):
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        if self.poll() is None:
            ended = os.pidfd_open(self.pid)
            try:
                if not select.select([ended], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout)
            finally:
                os.close(ended)
        return self.poll()

    def communicate(self, timeout=None):
        """The rest of what it writes, when it has ended."""
        if not self._readers:
            self._readers = [_Reader(stream) for stream in (self.stdout, self.stderr)]
        for reader in self._readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(timeout)
        return tuple(reader.text for reader in self._readers)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class _Reader(threading.Thread):
    """Reads a stream to its end."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self._stream, self.text = stream, None
        self.start()

    def run(self):
        if self._stream:
            with self._stream:
                self.text = self._stream.read()


class Parent:
    """The process that programs are forked from; it ends with this one."""

    def __init__(self):
        self._requests, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        atexit.register(self._end)

    def _end(self):
        self._requests.close()
        self._process.wait()

    def fork(self, args, env, descriptors, start_new_session):
        """Fork a program that is given as to `subprocess.Popen`; gives its process ID."""
        request = [args, os.getcwd(), start_new_session, dict(env), [1, 2]]
        with self._lock:
            return _request(self._requests, request, descriptors)


the_parent = functools.cache(Parent)


def can(env):
    """Whether Python, and what it imports, would find the environment that they found here."""
    # A process that is measured writes what it found when it ends, and what it has forked does not.
    return sys.platform == "linux" and _read(env) == _FOUND and "COVERAGE" not in str(_FOUND)


def _read(env):
    names = ("COVERAGE_", "LD_", "PYTHON")
    found = {name: value for name, value in env.items() if name.startswith(names)}
    found.pop("PYTHONPATH", None)  # where more may be found than what was imported
    return found


_FOUND = _read(os.environ)


def start(args, *, env, stdout=None, stderr=None, start_new_session=False):
    """Start a program that is written in Python, as `subprocess.Popen` does with text."""
    reading, writing = [None, None], [1, 2]
    for number, stream in enumerate((stdout, stderr)):
        if stream == subprocess.PIPE:
            descriptor, writing[number] = os.pipe()
            reading[number] = os.fdopen(descriptor, errors="replace")
        elif stream is not None:
            writing[number] = stream
    try:
        pid = the_parent().fork(args, env, writing, start_new_session)
    finally:
        for number, stream in enumerate(reading):
            if stream:
                os.close(writing[number])
    return Process(args, pid, *reading)


def _request(requests, request, descriptors):
    """Have the process that waits there fork; gives the ID of the new child of this process."""
    message = json.dumps(request, default=os.fspath).encode()
    prctl = ctypes.CDLL(None).prctl
    # Its parent ends at once, so that it becomes a child of this process.
    prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    socket.send_fds(requests, [message], descriptors)
    pid = int(requests.recv(100))
    prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    return pid


def _wait_for_request(requests):
    """Fork for each request; gives it in a process that has the environment and streams of it."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _MOST, _MOST_DESCRIPTORS)
        if not request:
            os._exit(0)
        reading, writing = os.pipe()
        between = os.fork()
        if not between and (pid := os.fork()):
            os.write(writing, b"%d" % pid)
            os._exit(0)
        os.close(writing)
        if not between:
            os.close(reading)
            requests.close()
            *rest, env, numbers = json.loads(request)
            os.environ.clear()
            os.environ.update(env)
            _renumber(descriptors, numbers)
            return rest
        for descriptor in descriptors:
            os.close(descriptor)
        pid = os.read(reading, 100)
        os.close(reading)
        os.waitpid(between, 0)
        requests.send(pid)


def _renumber(descriptors, numbers):
    """Move descriptors to these numbers."""
    above = [fcntl.fcntl(each, fcntl.F_DUPFD, max(numbers) + 1) for each in descriptors]
    for each in descriptors:
        os.close(each)
    for each, number in zip(above, numbers, strict=True):
        os.dup2(each, number)
        os.close(each)


def _fork_workers():
    """Have what multiprocessing spawns here forked from a process that stays as this one is now.

    This one will have threads, which a fork would lack.
    """
    requests, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    # Signals to their group are for others than that process, which ends after them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_A_GROUP)
    if os.fork():
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        util.spawnv_passfds = functools.partial(_spawn, requests)
        return
    requests.close()
    for stream in (1, 2):  # or whoever reads what they write would wait for it
        os.dup2(0, stream)
    sys.argv, mask = _wait_for_request(theirs)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _run()


def _spawn(requests, path, args, descriptors):
    """Fork, as `spawnv_passfds` of multiprocessing starts, Python with a line of code."""
    line = args[args.index("-c") :]
    mask = list(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    numbers = sorted({1, 2, *descriptors})
    return _request(requests, [line, mask, dict(os.environ), numbers], numbers)


def _main():
    entry_points = functools.cache(importlib.metadata.entry_points)  # reads every package's
    importlib.metadata.entry_points = entry_points
    for module in IMPORTED:
        importlib.import_module(module)
    for group in GROUPS:
        for plugin in entry_points(group=group):
            plugin.load()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the test's process
    requests = socket.socket(fileno=int(sys.argv[1]))
    sys.argv, folder, new_session = _wait_for_request(requests)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    if new_session:
        os.setsid()
    os.chdir(folder)
    named = filter(None, os.environ.get("PYTHONPATH", "").split(":"))
    if more := [folder for folder in named if folder not in sys.path]:
        entry_points.cache_clear()
    sys.path[:1] = [os.path.dirname(sys.argv[0]), *more]
    if "--workers" in sys.argv:
        _fork_workers()
    _run()


def _run():
    """Run the program of `sys.argv`, a file or `-c` with its lines, and end as it does."""
    try:
        if sys.argv[0] == "-c":
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(sys.argv.pop(1), vars(main))
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as exc:
        if not isinstance(exc.code, int | None):
            raise
        code = exc.code or 0
    _end(code)


def _end(code):
    """End as Python does, but free nothing of what was forked: its pages would all be copied."""
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()
    try:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
    except OSError:
        sys.exit(code)  # which complains
    ctypes.PyDLL(None).exit(code)


if __name__ == "__main__":
    _main()
