"""Ports of 127.0.0.1 for services that cannot listen on a port of the system's choice."""

import contextlib
import random
import socket

# Below the ports that the system gives to connections, of which concurrent tests have many.
_FIRST, _END = 20_000, 32_000


def free_port() -> int:
    """A port that is free at this moment."""
    while True:
        port = random.randrange(_FIRST, _END)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def free_ports(number: int) -> list[int]:
    """Several free ports."""
    found = dict[int, None]()
    while len(found) < number:
        found[free_port()] = None
    return list(found)
