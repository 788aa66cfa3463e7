"""Ports of 127.0.0.1 for what cannot listen on a port that the system chooses."""

import contextlib
import random
import socket

# Below those that systems give to whoever asks for any: connections of tests that run at the same
# time have these.
_FIRST, _END = 20_000, 32_000


def free_port() -> int:
    """A port that nothing has, at least at this moment."""
    while True:
        port = random.randrange(_FIRST, _END)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def free_ports(number: int) -> list[int]:
    """Several, all different."""
    found = dict[int, None]()
    while len(found) < number:
        found[free_port()] = None
    return list(found)
