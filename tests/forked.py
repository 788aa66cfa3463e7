"""Programs in Python that are forked from a process which has imported what they need.

Imports are nearly all that a command, or the start of a service, takes of a processor; most of the
rest is to read what plugins are installed, and to free what was imported. All else is as after
`subprocess.Popen`: a child of the test's process, which runs the installed program from its first
line, with an environment and streams of its own.
"""

import atexit
import ctypes
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
        request = [args, env, os.getcwd(), start_new_session]
        message = json.dumps(request, default=os.fspath).encode()
        prctl = ctypes.CDLL(None).prctl
        with self._lock:
            # Its parent ends at once, so that it becomes a child of this process.
            prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            socket.send_fds(self._requests, [message], descriptors)
            pid = int(self._requests.recv(100))
            prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        return pid


the_parent = functools.cache(Parent)


def can(env):
    """Whether Python, and what it imports, would find the environment that they found here."""
    # A process that is measured writes what it found when it ends, and what it has forked does not.
    return sys.platform == "linux" and _read(env) == _FOUND and "COVERAGE" not in str(_FOUND)


def _read(env):
    names = ("COVERAGE_", "LD_", "PROMETHEUS_", "PYTHON")
    return {name: value for name, value in env.items() if name.startswith(names)}


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


def _wait_for_request(requests):
    """Fork for each request; gives it in a process of its own."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _MOST, 2)
        if not request:
            sys.exit()
        reading, writing = os.pipe()
        between = os.fork()
        if not between and (pid := os.fork()):
            os.write(writing, b"%d" % pid)
            os._exit(0)
        os.close(writing)
        if not between:
            os.close(reading)
            requests.close()
            return *json.loads(request), descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        pid = os.read(reading, 100)
        os.close(reading)
        os.waitpid(between, 0)
        requests.send(pid)


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
    args, env, folder, new_session, descriptors = _wait_for_request(requests)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    if new_session:
        os.setsid()
    for number, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv, sys.path[0] = args, os.path.dirname(args[0])
    try:
        runpy.run_path(args[0], run_name="__main__")
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
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # which complains
    ctypes.PyDLL(None).exit(code)


if __name__ == "__main__":
    _main()
