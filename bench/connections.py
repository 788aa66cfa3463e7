"""Calls over new connections: processor time and requests a second, without TLS and by certificate.

`python bench/connections.py` has this Mini KMS beside OpenBao, `old=/path/to/python` as an argument
adds the Mini KMS of another Python. Each call opens a connection, makes a handshake without an
earlier session, signs by Ed25519, and closes. On a busy machine, compare the least processor time.
"""

import asyncio
import contextlib
import json
import re
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from certificate import KINDS
from contender import Contender, Request
from mini_kms import MiniKms
from rows import MESSAGE
from server import Measurement, Refused, Server, started, used_by_children
from service import process
from transit import OpenBaoOnRaft
from turns import in_turns, line

PLAIN: Final = "no TLS"


@click.command(help=__doc__)
@click.argument("others", nargs=-1)
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1.0, show_default=True, help="Of a round.")
@click.option("--kinds", default="", help="Only kinds that this expression is found in.")
@click.option("--callers", default=4, show_default=True, type=click.IntRange(1))
@click.option("--close", is_flag=True, help="Send `Connection: close`, as urllib does.")
def main(
    others: tuple[str, ...], rounds: int, seconds: float, kinds: str, callers: int, close: bool
) -> None:
    """Measure, and print a line for each kind of connection."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in (PLAIN, *KINDS):
            if re.search(kinds, kind):
                asyncio.run(measure(kind, others, Path(folder), rounds, seconds, callers, close))


def contenders(others: Sequence[str], tls: str) -> dict[str, Contender]:
    """Return the services by name, with this kind of certificate, or without TLS."""
    ours = MiniKms("", tls=tls)
    olds = dict(text.split("=", 1) for text in others)
    return {
        **{name: replace(ours, python=python) for name, python in olds.items()},
        "OpenBao": OpenBaoOnRaft("", tls=tls),
        "Mini KMS": ours,
    }


async def measure(
    kind: str,
    others: Sequence[str],
    folder: Path,
    rounds: int,
    seconds: float,
    callers: int,
    close: bool,
) -> None:
    """Load one service after the other, in alternating order."""
    place = folder / kind
    async with contextlib.AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        calls: dict[str, Request] = {}
        for name, contender in contenders(others, "" if kind == PLAIN else kind).items():
            (place / name).mkdir(parents=True)
            await contender.prepare(place / name)
            server = await stack.enter_async_context(started(contender, place / name))
            [key] = await server.keys("ed25519", 1)
            calls[name] = contender.sign(key, MESSAGE)
            servers[name] = server
        loads: dict[str, list[Measurement]] = {name: [] for name in servers}
        for number, name in in_turns(servers, rounds):
            call = message(servers[name].contender, calls[name], close=close)
            load = await loaded(servers[name], call, callers, seconds)
            if number:
                loads[name].append(load)
    click.echo(line(kind, loads))


def message(contender: Contender, request: Request, *, close: bool = False) -> bytes:
    """Write a request as it is sent."""
    fields = {"Host": "127.0.0.1", **contender.headers, "Content-Length": len(request.body)}
    if close:
        fields["Connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


async def loaded(server: Server, call: bytes, callers: int, seconds: float) -> Measurement:
    """Make calls from another process, each over a new connection."""
    file = server.folder / "call"
    file.write_bytes(call)
    used, others = server.used(), used_by_children()
    command = (sys.executable, __file__, "--calls", server.url, file, seconds, callers)
    async with process(*map(str, command), stdout=PIPE) as caller:
        output, _ = await caller.communicate()
    statuses, times = json.loads(output)
    if statuses.keys() != {"200"}:
        raise Refused(str(statuses))
    number = len(times)
    return Measurement(
        rate=callers / statistics.fmean(times),
        p50=statistics.median(times) * 1000,
        p99=statistics.quantiles(times, n=100)[-1] * 1000,
        cpu=(server.used() - used) / number * 1e6,
        wrk=(used_by_children() - others) / number * 1e6,
    )


def make_calls(url: str, call: str, seconds: str, callers: str) -> None:
    """Make calls from threads, and print the answers by status, and the seconds of each call."""
    sent, (scheme, host, port) = Path(call).read_bytes(), re.split(r"://|:", url)
    tls = None
    if scheme == "https":
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    end, found, times = time.monotonic() + float(seconds), Counter[str](), list[float]()

    def run() -> None:
        while (begun := time.monotonic()) < end:
            with socket.create_connection((host, int(port))) as opened:
                connection = tls.wrap_socket(opened) if tls else opened
                connection.sendall(sent)
                answer = connection.recv(65536)
                while not re.search(rb"\r\n\r\n.*\n\Z", answer, re.DOTALL):
                    answer += connection.recv(65536)
                connection.close()
            times.append(time.monotonic() - begun)
            found[answer.split(b" ", 2)[1].decode()] += 1

    threads = [threading.Thread(target=run) for _ in range(int(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([found, times]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--calls"]:
        make_calls(*sys.argv[2:])
    else:
        main()
