"""The pipe between a worker and its parent, for heartbeats and forwarded signals."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

# The parent sends signal numbers. The worker sends True once it listens, and as a heartbeat.
ParentEnd: TypeAlias = "Connection[int, bool]"
WorkerEnd: TypeAlias = "Connection[bool, int]"

# Asks for a heartbeat; it is not the number of a signal (kill(2)).
_HEARTBEAT: Final = 0


def send_files(pipe: ParentEnd, files: Sequence[int]) -> None:
    """Give a worker open files, before it is started."""
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        socket.send_fds(end, [b"\0"], files)


def receive_files(pipe: WorkerEnd, number: int) -> list[int]:
    """Return the descriptors of the files that the parent has sent."""
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        _, files, _, _ = socket.recv_fds(end, 1, number)
    return files


def follow_parent(pipe: WorkerEnd, on_signal: Callable[[signal.Signals], None]) -> None:
    """Answer heartbeats on the event loop and forward signals; if the parent ends, send SIGINT."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            number = pipe.recv()
            if number == _HEARTBEAT:
                pipe.send(True)
                return
        except (EOFError, OSError):
            loop.remove_reader(pipe.fileno())
            number = signal.SIGINT
        on_signal(signal.Signals(number))

    loop.add_reader(pipe.fileno(), read)


class Heartbeats:
    """The heartbeats of a worker's event loop, as its parent sees them.

    At most one request for a heartbeat is pending, so neither side ever blocks in a write.
    """

    def __init__(self, pipe: ParentEnd) -> None:
        self._pipe = pipe
        self._answered = True

    def ask(self) -> bool:
        """Request a heartbeat if the last one has arrived; return whether it has."""
        with contextlib.suppress(EOFError, OSError):  # the worker is ending
            if not self._answered and self._pipe.poll():
                self._answered = self._pipe.recv()
            if self._answered:
                self._pipe.send(_HEARTBEAT)
                self._answered = False
                return True
        return False
