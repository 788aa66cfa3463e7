"""Calls over new connections, each with a handshake of its own: rows of `run.py`."""

import json
import re
import socket
import ssl
import statistics
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path

from contender import Contender, Request
from server import Measurement, Refused, Server
from service import process


def message(contender: Contender, request: Request) -> bytes:
    """Write a request as it is sent."""
    fields = {"Host": "127.0.0.1", **contender.headers, "Content-Length": len(request.body)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


async def loaded(server: Server, call: bytes, callers: int, seconds: float) -> Measurement:
    """Make calls from another process, each over a new connection."""
    file = server.folder / "call"
    file.write_bytes(call)
    used = server.used()
    command = (sys.executable, __file__, server.url, file, seconds, callers)
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
    make_calls(*sys.argv[1:])
