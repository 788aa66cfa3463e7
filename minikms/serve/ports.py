"""Holds ports, and makes the error for an address that cannot be listened on."""

import asyncio
import errno
import socket
from functools import partial

from minikms.basics.addresses import url_host
from minikms.startup_errors import ListenError


async def hold_port(host: str, port: int) -> asyncio.Server:
    """Hold a port without listening on it, while workers start and end; raises ListenError."""
    create = partial(asyncio.get_running_loop().create_server, asyncio.Protocol, host, port)
    try:
        # First without SO_REUSEPORT: with it, two services would share the port unnoticed.
        (await create()).close()
        server = await create(reuse_port=True, start_serving=False)
    except OSError as exc:
        raise cannot_listen(host, port, exc) from None
    for held in server.sockets:
        # From now on, another service fails at its first attempt, even before a worker listens.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return server


def cannot_listen(host: str, port: int, exc: OSError) -> ListenError:
    """Make the error for an address that cannot be listened on."""
    hint = " Choose another port." if exc.errno == errno.EADDRINUSE else ""
    return ListenError(f"Cannot listen on {url_host(host)}:{port}: {exc.strerror}.{hint}")
