"""Ports of 127.0.0.1 for services that cannot listen on a port of the system's choice."""

import contextlib
import itertools
import os
import random
import socket

# Below the ephemeral ports, which the connections of concurrent tests use.
_FIRST, _END = 20_000, 32_000

# Each process of pytest-xdist has its own, and gives each of them once in a long time: a test may
# listen much later.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OWN = range(_FIRST + _WORKER, _END, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_NEXT = itertools.count(random.randrange(len(_OWN)))


def free_port() -> int:
    """A port that is free at this moment."""
    while True:
        port = _OWN[next(_NEXT) % len(_OWN)]
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def free_ports(number: int) -> list[int]:
    """Several free ports."""
    return [free_port() for _ in range(number)]
