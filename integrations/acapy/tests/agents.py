"""Runs Mini KMS and agents of ACA-Py, and reads the state of agents."""

import contextlib
import http.server
import json
import multiprocessing
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import httpx
from aries_askar import Store

WAIT = 60  # seconds for steps that take one on an idle machine
# The key of the agents' own stores. Deriving a key from a password takes 0.8 s at each opening.
RAW_KEY = Store.generate_raw_key()

# Agents are forked from a process that has imported their modules, which takes most of a start.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["preloaded"])


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(what, find):
    """Return the result of `find` as soon as there is one."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.1)
    raise AssertionError(f"There was no {what}.")


class Server:
    """Mini KMS in a process of its own, at one port however often it starts."""

    def __init__(self, command, *options, **variables):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {name: v for name, v in os.environ.items() if not name.startswith("MINIKMS_")}
        self._environment = inherited | variables
        self._command = [*command, "serve", "--port", str(self.port), "--shutdown-grace", "0"]
        self._command += options
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._http = httpx.Client(base_url=self.url)

    @staticmethod
    def output(command, **variables):
        """Return the output of a command of Mini KMS."""
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, **variables}
        )
        return done.stdout

    def start(self):
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._log, stderr=self._log
        )
        wait_for("Mini KMS", self._is_ready)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(WAIT)

    @contextlib.contextmanager
    def away(self):
        """Stop the service during the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _is_ready(self):
        if self._process.poll() is not None:
            self._log.seek(0)
            raise AssertionError(self._log.read().decode())
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._http.close()
        self._log.close()


class Webhooks:
    """A server that agents tell what happens."""

    def __enter__(self):
        self.received = received = deque()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def messages(self, label):
        """The texts that an agent has received."""
        path = f"/{label}/topic/basicmessages/"
        return [body["content"] for at, body in self.received if at == path]


def run(arguments, folder, environment):
    """Be an agent of ACA-Py, as `python -m acapy_agent`, that writes into the log of its folder."""
    with open(folder / "log", "w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["aca-py", *arguments]
    runpy.run_module("acapy_agent", run_name="__main__", alter_sys=True)


class Agent:
    """An agent of ACA-Py in a process of its own, with its keys at the service `kms`, if any."""

    def __init__(self, label, folder, webhooks, *options, kms=None):
        self.label, self.folder, inbound, admin = label, folder, free_port(), free_port()
        self._admin = httpx.Client(base_url=f"http://127.0.0.1:{admin}", timeout=WAIT)
        self._arguments = [
            *("start", "--label", label),
            *("--inbound-transport", "http", "127.0.0.1", str(inbound)),
            *("--outbound-transport", "http", "--endpoint", f"http://127.0.0.1:{inbound}"),
            *("--admin", "127.0.0.1", str(admin), "--admin-insecure-mode"),
            *("--webhook-url", f"{webhooks.url}/{label}", "--no-ledger", "--log-level", "warning"),
            *("--wallet-type", "askar", "--wallet-name", label),
            *("--wallet-key", RAW_KEY, "--wallet-key-derivation-method", "RAW"),
            *("--wallet-allow-insecure-seed", "--auto-provision"),
            *("--auto-accept-invites", "--auto-accept-requests"),
            *("--auto-respond-credential-offer", "--auto-respond-credential-request"),
            *("--auto-store-credential", "--auto-ping-connection"),
            *options,
        ]
        if kms is not None:
            self._arguments += ["--plugin", "acapy_minikms"]
            self._arguments += ["--plugin-config-value", f"acapy_minikms.url={kms}"]

    def __enter__(self):
        inherited = {name: v for name, v in os.environ.items() if not name.startswith("MINIKMS_")}
        environment = {**inherited, "HOME": str(self.folder)}
        given = (self._arguments, self.folder, environment)
        self._process = FORKS.Process(target=run, args=given, daemon=True)
        self._process.start()
        try:
            wait_for(f"agent {self.label}", self._is_ready)
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.join(WAIT)
        assert self._process.exitcode is not None, "The agent did not end."
        self._admin.close()

    def _is_ready(self):
        if not self._process.is_alive():
            raise AssertionError(self.log())
        try:
            return self._admin.get("/status/ready").status_code == 200
        except httpx.TransportError:
            return False

    def log(self):
        return (self.folder / "log").read_text()

    def call(self, method, path, body=None, token=None, **query):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._admin.request(method, path, json=body, params=query, headers=headers)

    def get(self, path, token=None, **query):
        return answer(self.call("GET", path, token=token, **query))

    def post(self, path, body=None, token=None, **query):
        return answer(self.call("POST", path, body or {}, token=token, **query))

    def patch(self, path, **query):
        return answer(self.call("PATCH", path, **query))

    @property
    def store(self):
        """The file of the agent's own store."""
        [found] = Path(self.folder).rglob(f"{self.label}/sqlite.db")
        return found

    def new_did(self, method, key_type, token=None):
        body = {"method": method, "options": {"key_type": key_type}}
        return self.post("/wallet/did/create", body, token=token)["result"]

    def connect(self, other):
        """Connect by an out-of-band invitation and DID exchange; the connection on both sides."""
        protocols = ["https://didcomm.org/didexchange/1.1"]
        made = self.post("/out-of-band/create-invitation", {"handshake_protocols": protocols})
        taken = other.post("/out-of-band/receive-invitation", made["invitation"])
        here = wait_for("connection", lambda: self._connection(made["invi_msg_id"]))
        there = taken["connection_id"]
        for agent, connection in ((self, here), (other, there)):
            wait_for("connection", lambda a=agent, c=connection: a.is_connected(c))
        return here, there

    def _connection(self, invitation):
        found = self.get("/connections", invitation_msg_id=invitation)["results"]
        return found[0]["connection_id"] if found else None

    def is_connected(self, connection):
        return self.get(f"/connections/{connection}")["rfc23_state"] == "completed"


def answer(response):
    assert response.is_success, (response.status_code, response.text)
    return response.json()


def decode_multibase(text):
    """The bytes of multibase in base58btc."""
    import base58

    assert text.startswith("z")
    return base58.b58decode(text[1:])


def public_key(did):
    """The bytes of the Ed25519 key of a did:key."""
    decoded = decode_multibase(re.fullmatch(r"did:key:(z\w+)", did)[1])
    assert decoded[:2] == b"\xed\x01"
    return decoded[2:]
