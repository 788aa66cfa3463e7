"""Processes of `minikms`: how they are started, and a service with what it writes."""

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter

from aiohttp import ClientError, ClientSession
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from waiting import waiting_for

MINIKMS = [os.path.join(os.path.dirname(sys.executable), "minikms")]


def environment(**variables):
    """This process's, with these options of the service alone."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("MINIKMS_")}
    inherited["MINIKMS_SHUTDOWN_GRACE"] = "0"  # since tests end most of what they start
    given = {f"MINIKMS_{name.upper()}": value for name, value in variables.items()}
    return {**inherited, **given}


def begin_process(args, command, variables, **streams):
    """Start `minikms`, or another command with its arguments."""
    return subprocess.Popen(
        [*(command or MINIKMS), *args],
        env=environment(**variables),
        text=True,
        errors="replace",  # communicate() may begin within a character, after a line was read
        **streams,
    )


def end_group(process):
    """End a process that was begun in a session of its own, with all that it has begun."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


class Service:
    """A service that was started, and what it writes."""

    def __init__(self, args, variables, command):
        self.process = begin_process(
            ["serve", *args],
            command,
            variables,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that a signal to its group goes to nobody else
        )
        self.lines = []
        self.tls = None  # how its callers do TLS, an SSLContext

    def wait_until_it_listens(self):
        self.first = self.read_until("listening on ")
        self.host, port = re.search(r"listening on https?://(\S+):(\d+),", self.first).groups()
        self.port = int(port)

    def read_until(self, text):
        """The next line that has `text`."""
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"ended with {self.process.wait()} and never wrote {text!r}")

    def connect(self):
        if self.tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=60, context=self.tls)
        return http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=60)

    def status(self, method, path, body=None):
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body)
            with connection.getresponse() as response:
                response.read()
            return response.status

    @contextlib.contextmanager
    def under_way(self):
        """A call that has half a body; the function that is given finishes it, and has its answer.

        The answer ends with the connection, hence when the service stops.
        """
        body = b'{"alg":"ed25519"}'
        head = "POST /key/generate HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"
        with (
            socket.create_connection((self.host, self.port), timeout=60) as connection,
            connection.makefile("rb") as answers,
        ):
            lines = "\r\n".join([*head, "Expect: 100-continue", "", ""])
            connection.sendall(lines.encode() + body[:5])
            assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"

            def finish():
                connection.sendall(body[5:])
                assert answers.readline() == b"\r\n"
                return answers.read()

            yield finish

    def metrics(self):
        """What it counts by now: a value for each name and set of labels."""
        found = re.search(r"metrics on http://([^\s:]+):(\d+)/metrics", "".join(self.lines))
        connection = http.client.HTTPConnection(found[1], int(found[2]), timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            with connection.getresponse() as response:
                assert response.status == 200
                assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                self.exposed = response.read().decode()
        found = Counter()
        for family in text_string_to_metric_families(self.exposed):
            assert family.name.startswith("minikms_")
            assert family.documentation
            for sample in family.samples:
                name = sample.name.removeprefix("minikms_")
                found[name, frozenset(sample.labels.items())] = sample.value
        return found

    def stop(self, number=signal.SIGTERM):
        """End it; its exit code and what it wrote since the last line that was read."""
        self.process.send_signal(number)
        return self.end()

    def end(self):
        """The same of one that ends by itself: when all of its processes have."""
        _, written = self.process.communicate(timeout=60)
        return self.process.returncode, written


@contextlib.contextmanager
def services(has_failed=lambda: False):
    """A function that starts services, each ended with the block, at once if a test has failed."""
    with contextlib.ExitStack() as ended:

        def end(service):
            try:
                if not has_failed():
                    service.stop()
            finally:
                end_group(service.process)

        def start(*args, command=None, wait=True, **variables):
            service = Service(args, variables, command)
            ended.callback(end, service)
            if wait:
                service.wait_until_it_listens()
            return service

        yield start


async def begin_and_answer(start, options, *args, port=0):
    """Start a service, and give it with the address where it answers.

    Nobody reads what it writes, so its log has room for little.
    """
    port = port or free_port()
    service = start("--port", str(port), *args, wait=False, LOG_LEVEL="warning", **options)
    address = f"http://127.0.0.1:{port}"
    async with ClientSession(address) as session, waiting_for("a service that answers"):
        while True:
            with contextlib.suppress(ClientError):
                async with session.get("/readyz") as response:
                    assert response.status == 200
                return service, address
            assert service.process.poll() is None, "the service has ended"
            await asyncio.sleep(0.02)
