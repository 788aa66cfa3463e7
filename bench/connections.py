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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import click
from abuse_handshakes import certificate
from contender import Contender, Request
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from mini_kms import MiniKms
from rows import MESSAGE
from server import Refused, Server, started
from service import process
from transit import OpenBaoOnRaft

PLAIN: Final = "no TLS"
KEYS: Final[dict[str, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}


@dataclass(frozen=True)
class OpenBao(OpenBaoOnRaft):
    """OpenBao with a certificate, or without."""

    certificate: str = ""

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        command = super().command(folder, port)
        if self.certificate:
            file = folder / "bao.json"
            config = json.loads(file.read_text())
            listener = {"tls_cert_file": self.certificate, "tls_key_file": self.certificate}
            config["listener"]["tcp"] = {"address": f"127.0.0.1:{port}", **listener}
            file.write_text(json.dumps(config))
        return command


class Load(NamedTuple):
    """One round: calls a second, and microseconds of processor time of a call."""

    rate: float
    cpu: float


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
        for kind in (PLAIN, *KEYS):
            if re.search(kinds, kind):
                asyncio.run(measure(kind, others, Path(folder), rounds, seconds, callers, close))


def contenders(others: Sequence[str], file: str) -> dict[str, Contender]:
    """Return the services by name, with the certificate in `file` if there is one."""
    scheme = "https" if file else "http"
    ours = MiniKms("", options=("--tls-cert", file) if file else (), scheme=scheme)
    olds = dict(text.split("=", 1) for text in others)
    return {
        **{name: replace(ours, python=python) for name, python in olds.items()},
        "OpenBao": OpenBao("", certificate=file, scheme=scheme),
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
    place.mkdir()
    file = certificate(str(place), KEYS[kind]())[-1] if kind in KEYS else ""
    async with contextlib.AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        calls: dict[str, Path] = {}
        for name, contender in contenders(others, file).items():
            (place / name).mkdir()
            await contender.prepare(place / name)
            server = await stack.enter_async_context(started(contender, place / name))
            [key] = await server.keys("ed25519", 1)
            calls[name] = place / name / "call"
            calls[name].write_bytes(message(contender, contender.sign(key, MESSAGE), close))
            servers[name] = server
        loads: dict[str, list[Load]] = {name: [] for name in servers}
        for number in range(rounds + 1):
            for name in sorted(servers, reverse=bool(number % 2)):
                load = await loaded(servers[name], calls[name], seconds, callers)
                if number:  # the first warms up
                    loads[name].append(load)
    click.echo(line(kind, loads))


def message(contender: Contender, request: Request, close: bool) -> bytes:
    """Write a request as it is sent."""
    fields = {"Host": "127.0.0.1", **contender.headers, "Content-Length": len(request.body)}
    if close:
        fields["Connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


async def loaded(server: Server, call: Path, seconds: float, callers: int) -> Load:
    """Make calls from another process."""
    before, begun = server.used(), time.perf_counter()
    command = (sys.executable, __file__, "--calls", server.url, call, seconds, callers)
    async with process(*map(str, command), stdout=PIPE) as caller:
        output, _ = await caller.communicate()
    found = json.loads(output)
    if found.keys() != {"200"}:
        raise Refused(str(found))
    number = found["200"]
    return Load(
        rate=number / (time.perf_counter() - begun),
        cpu=(server.used() - before) / number * 1e6,
    )


def line(kind: str, loads: dict[str, list[Load]]) -> str:
    """The figures of a kind; the ratios are the last service's gain on each other."""
    cpu = {name: min(load.cpu for load in found) for name, found in loads.items()}
    rate = {name: statistics.median(load.rate for load in found) for name, found in loads.items()}
    *others, last = loads
    cells = [f"{name} {cpu[name]:.0f} µs {rate[name]:,.0f}/s" for name in loads]
    ratios = [
        f"{last}/{name}: by processor {cpu[name] / cpu[last]:.2f}, by rate "
        f"{rate[last] / rate[name]:.2f}"
        for name in others
    ]
    return f"{kind:9} {', '.join(cells)}; {'; '.join(ratios)}"


def make_calls(url: str, call: str, seconds: str, callers: str) -> None:
    """Make calls from threads, and print the number of answers by status."""
    sent, (scheme, host, port) = Path(call).read_bytes(), re.split(r"://|:", url)
    tls = None
    if scheme == "https":
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    end, found = time.monotonic() + float(seconds), Counter[str]()

    def run() -> None:
        while time.monotonic() < end:
            with socket.create_connection((host, int(port))) as opened:
                connection = tls.wrap_socket(opened) if tls else opened
                connection.sendall(sent)
                answer = connection.recv(65536)
                while not re.search(rb"\r\n\r\n.*\n\Z", answer, re.DOTALL):
                    answer += connection.recv(65536)
                connection.close()
            found[answer.split(b" ", 2)[1].decode()] += 1

    threads = [threading.Thread(target=run) for _ in range(int(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--calls"]:
        make_calls(*sys.argv[2:])
    else:
        main()
