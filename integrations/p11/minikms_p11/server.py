"""The sidecar's server: its socket, the programs that connect, and its restart by SIGHUP."""

import asyncio
import logging
import os
import signal
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any, Final

from minikms_p11 import handover
from minikms_p11.application import Application
from minikms_p11.connection import Connection, Refused
from minikms_p11.handles import Handles
from minikms_p11.sidecar import Settings, Sidecar

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
_LAST_SIGNALS: Final = 0.01  # seconds, for the handlers of signals that came before
_ACCEPT_AGAIN: Final = 1.0  # seconds
_BACKLOG: Final = 128
_MOST_CONNECTIONS: Final = 1024
_MOST_REFUSED: Final = 64  # connections that wait for their first byte
_TELL_AGAIN: Final = 10.0  # seconds, for the next refusal of a user in the log
_MOST_TOLD: Final = 64  # users, in these seconds
_FIRST_INHERITED: Final = 3  # of systemd: sd_listen_fds(3)
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
# Seconds that a restart waits for hashes of operations with many parts.
_LONGEST_WAIT: Final = 10.0


class Server:
    """Serves programs until SIGTERM or SIGINT, and begins again as a new process by SIGHUP."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connections: set[Connection] = set()
        self._refused: set[Refused] = set()
        self._told: set[int] = set()  # users whose refusal was just logged
        self._listener: socket.socket | None = None
        self._listening_again: asyncio.TimerHandle | None = None
        self._accepted: set[asyncio.Task[None]] = set()  # of programs that have just connected
        self._sidecar: Sidecar
        self._ended = asyncio.Event()
        self._restart = asyncio.Event()

    async def run(self) -> None:
        """Serve; raises OSError or ValueError if it cannot begin."""
        loop = asyncio.get_running_loop()
        state = _inherited_state()
        handles = Handles() if state is None else handover.handles_of(state)
        self._sidecar = Sidecar(self._settings, handles)
        try:
            if self._settings.socket is None:
                await self._serve_standard_input(state)
            else:
                self._listener = _listener(self._settings, state)
            if state is not None:
                for record in state.connections:
                    await self._take_over(state, record)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._ended.set)
            loop.add_signal_handler(signal.SIGHUP, self._restart.set)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            await self._accept_until_ended()
        finally:
            for connection in list(self._connections):
                connection.application.close_all()
                connection.transport.abort()
            await self._sidecar.close()
        if self._settings.socket is not None and not os.environ.get("LISTEN_FDS"):
            Path(self._settings.socket).unlink(missing_ok=True)

    async def _accept_until_ended(self) -> None:
        self._listen()
        _log.info("serving %s", self._settings.socket or "standard input")
        while True:
            ended = asyncio.create_task(self._ended.wait())
            restart = asyncio.create_task(self._restart.wait())
            await asyncio.wait({ended, restart}, return_when=asyncio.FIRST_COMPLETED)
            for waiting in (ended, restart):
                waiting.cancel()
            if self._ended.is_set():
                await self._pause()
                return
            self._restart.clear()
            if await _can_begin() and not self._ended.is_set():
                await self._begin_again()

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the program is gone
            return
        except OSError as error:  # no file descriptors
            _log.error("no program can connect: %s", error)
            loop.remove_reader(listener)
            self._listening_again = loop.call_later(_ACCEPT_AGAIN, self._listen)
            return
        task = loop.create_task(self._admit(accepted))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)

    async def _admit(self, accepted: socket.socket) -> None:
        pid, uid, _ = _CREDENTIALS.unpack(
            accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        uids = self._settings.uids
        if uid not in uids:
            reason = f"process {pid} of user {uid}: --uid {uid} admits this user"
            await self._refuse(accepted, uid, reason)
        elif self._connected(uid) >= _MOST_CONNECTIONS // len(uids):
            await self._refuse(accepted, uid, f"process {pid} of user {uid}: too many connections")
        else:
            await self._connect(accepted, Application(self._sidecar, pid, uid))

    def _connected(self, uid: int) -> int:
        return sum(connection.application.uid == uid for connection in self._connections)

    async def _refuse(self, accepted: socket.socket, uid: int, reason: str) -> None:
        self._tell(uid, reason)
        if len(self._refused) >= _MOST_REFUSED:
            accepted.close()
            return
        accepted.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Refused(self._refused), accepted
        )

    def _tell(self, uid: int, reason: str) -> None:
        """Log a refusal, unless one of the same user was just logged."""
        if uid in self._told or len(self._told) >= _MOST_TOLD:
            return
        if not self._told:
            asyncio.get_running_loop().call_later(_TELL_AGAIN, self._told.clear)
        self._told.add(uid)
        _log.warning("refused %s", reason)

    async def _connect(
        self,
        accepted: socket.socket,
        application: Application,
        version: int | None = None,
        unread: bytes = b"",
    ) -> None:
        """Serve a program, which the process before may have served up to here."""
        accepted.setblocking(False)
        connection = Connection(application, self._forget, version, unread)
        self._connections.add(connection)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._settings.socket is None:
            self._ended.set()

    async def _serve_standard_input(self, state: handover.State | None) -> None:
        if state is not None:  # standard input is in `state.connections`
            return
        if not stat.S_ISSOCK(os.fstat(0).st_mode):
            raise ValueError("standard input is not a socket, such as p11-kit makes: give --socket")
        accepted = socket.socket(fileno=os.dup(0))
        await self._connect(accepted, Application(self._sidecar, os.getppid(), os.getuid()))

    async def _take_over(self, state: handover.State, record: dict[str, Any]) -> None:
        accepted = socket.socket(fileno=record["file"])
        os.set_inheritable(record["file"], False)
        application = handover.restore(self._sidecar, state, record)
        unread = handover.unpacked(record["unread"])
        await self._connect(accepted, application, record["version"], unread)

    async def _begin_again(self) -> None:
        """Replace this process by a new one, which keeps the programs and their state.

        Returns early if the sidecar must end.
        """
        deadline = asyncio.get_running_loop().time() + _LONGEST_WAIT
        while self._hashes() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        await self._pause()
        hold_signals()
        await asyncio.sleep(_LAST_SIGNALS)
        if self._ended.is_set():
            return
        if lost := self._hashes():
            _log.warning("%d operations with many parts have to begin again", lost)
        connections = [it for it in self._connections if not it.transport.is_closing()]
        memory = handover.save(self._listener, self._sidecar, connections)
        await self._sidecar.close()
        os.environ[handover.VARIABLE] = str(memory)
        _log.info("beginning again with %d programs", len(connections))
        os.execv(sys.executable, _command())

    async def _pause(self) -> None:
        """Accept no more programs, and pause connected programs between two calls."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
        if self._listening_again is not None:
            self._listening_again.cancel()
        if self._accepted:
            await asyncio.wait(self._accepted)
        await asyncio.gather(*(connection.pause() for connection in self._connections))

    def _hashes(self) -> int:
        """The operations with many parts, whose hashes cannot be handed over."""
        return sum(
            operation.hash is not None
            for connection in self._connections
            for session in connection.application.sessions.values()
            for operation in session.operations.values()
        )


def hold_signals() -> None:
    """Keep signals back until the server, or the next process in its place, has handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _command(*more: str) -> list[str]:
    return [sys.executable, *sys.orig_argv[1:], *more]


async def _can_begin() -> bool:
    """If a new process could begin with these options and files: it only checks them."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_command("--check=files"), stdin=asyncio.subprocess.DEVNULL
        )
    except OSError as error:  # no file descriptors
        _log.error("a process cannot begin: %s", error)
    else:
        if await process.wait() == 0:
            return True
    _log.error("the sidecar goes on as it is, since a new one could not begin")
    return False


def _inherited_state() -> handover.State | None:
    number = os.environ.pop(handover.VARIABLE, None)
    return None if number is None else handover.load(int(number))


def _listener(settings: Settings, state: handover.State | None) -> socket.socket:
    """The listening socket: of the process before, of systemd, or a new one."""
    assert settings.socket is not None  # noqa: S101
    inherited = None
    if state is not None:
        inherited = state.listener
    elif os.environ.get("LISTEN_PID") == str(os.getpid()):
        inherited = _FIRST_INHERITED
    if inherited is not None:
        os.set_inheritable(inherited, False)
        listener = socket.socket(fileno=inherited)
        listener.setblocking(False)
        return listener
    return _new_listener(settings)


def _new_listener(settings: Settings) -> socket.socket:
    path = settings.socket
    assert path is not None  # noqa: S101
    listener = socket.socket(socket.AF_UNIX)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                raise OSError(f"another process serves {path}")
        if os.path.exists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(f"{path} is not a socket")
            os.unlink(path)
        # Nobody else may connect before its mode is set.
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        if settings.uids != {os.getuid()}:
            os.chmod(path, 0o666)  # SO_PEERCRED tells who may
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
