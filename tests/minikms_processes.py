"""Processes of `minikms`: commands, and services with their output."""

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
    """The environment of this process, with these options of the service alone."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("MINIKMS_")}
    inherited["MINIKMS_SHUTDOWN_GRACE"] = "0"  # most tests end their services at once
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
    """Kill a process that leads a session, with all its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def refused(ended, code=2):
    """The error of a refused command."""
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == code
    assert line.startswith("minikms: ")
    return line.removeprefix("minikms: ")


def complaints(ended):
    """The lines on standard error, without lines that a busy machine adds.

    A busy machine adds progress, and Askar's warnings of slow statements.
    """
    expected = ("Copying keys: ", "Checking keys: ", "Upgrading keys: ")
    lines = ended.stderr.splitlines()
    return [
        line for line in lines if not line.startswith(expected) and "slow statement" not in line
    ]


class Service:
    """A service in a process, and its output."""

    def __init__(self, args, variables, command):
        self.process = begin_process(
            ["serve", *args],
            command,
            variables,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that a signal to its group reaches no other process
        )
        self.lines = []
        self.tls = None  # the SSLContext of its callers

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
        """Send half a body; yields a function that sends the rest and returns the answer.

        The answer ends with the connection, when the service stops.
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
        """Its metrics: a value for each name and set of labels."""
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
            assert family.name.startswith(("minikms_", "process_"))
            assert family.documentation
            for sample in family.samples:
                name = sample.name.removeprefix("minikms_")
                found[name, frozenset(sample.labels.items())] = sample.value
        return found

    def stop(self, number=signal.SIGTERM):
        """Stop it; its exit code and unread output."""
        self.process.send_signal(number)
        return self.end()

    def end(self):
        """Wait until all its processes have ended; its exit code and unread output."""
        _, written = self.process.communicate(timeout=60)
        return self.process.returncode, written


@contextlib.contextmanager
def services(has_failed=lambda: False):
    """Yield a function that starts services; the block stops them, or kills them on failure."""
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
    """Start a service, wait until it answers, and return it with its address.

    Its log is not read, so it is kept short.
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
