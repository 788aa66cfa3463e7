"""Signatures by PKCS#11 through minikms-p11, compared in turns with `POST /sign` and with SoftHSM.

Run it with the Python that Mini KMS, minikms-p11 and python-pkcs11 are installed in. Needs the
client module of p11-kit, and softhsm2. The service has an SQLite file, tokens and an audit log. All
callers wait for each answer: threads and programs with http.client, tasks with aiohttp, which the
sidecar uses, too, and threads and programs with python-pkcs11; SoftHSM has one thread, since
python-pkcs11 does not ask modules for locks. It prints the medians, with the ratios to `POST /sign`
by as many threads or programs in the same round; then the times of searches among many keys, and
the sidecar's memory.
"""

import asyncio
import base64
import hashlib
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import click
import pkcs11
from aiohttp import ClientSession

P11_KIT: Final = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
SOFTHSM: Final = "/usr/lib/softhsm/libsofthsm2.so"
PATIENCE: Final = 60.0  # seconds, for a process to serve
DIGEST: Final = hashlib.sha256(b"message").digest()
LABEL: Final = "bench"
POST, P11, PROGRAMS = "POST /sign", "minikms-p11", " programs"  # the names of ways

Signer = Callable[[], object]


@dataclass(frozen=True)
class Service:
    """A service, and a file with a token of it."""

    port: int
    token_file: Path

    def headers(self) -> dict[str, str]:
        token = self.token_file.read_text().strip()
        return {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        with closing(self.connect()) as connection:
            return _post(connection, path, json.dumps(body), self.headers())


def _post(
    connection: http.client.HTTPConnection, path: str, body: str, headers: dict[str, str]
) -> Any:
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content
    return json.loads(content)


@contextmanager
def running(*command: str) -> Iterator[int]:
    """Run a command for a block; yields its pid."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            yield process.pid
        finally:
            process.terminate()


def wait_until(ready: Callable[[], bool]) -> None:
    """Wait until a process serves."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, "a process does not serve"
        time.sleep(0.05)


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """A service with a store in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token_file = folder / "token"
    os.environ["MINIKMS_STORE"] = f"sqlite://{folder}/keys.db"
    os.environ["MINIKMS_STORE_KEY_FILE"] = str(folder / "store.key")
    minikms = (sys.executable, "-P", "-m", "minikms")
    init = ("store", "init", "--generate-key", "--admin-token-file", str(token_file))
    subprocess.run((*minikms, *init), check=True, capture_output=True)  # noqa: S603
    log = ("--audit-log", str(folder / "audit.log"), "--log-level", "warning")
    with running(*minikms, "serve", *log, "--port", str(port)):
        wait_until(lambda: _answers(port))
        yield Service(port, token_file)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except OSError:
        return False


@contextmanager
def sidecar(service: Service, path: Path) -> Iterator[int]:
    """A sidecar of the service; yields its pid."""
    url = ("--url", f"http://127.0.0.1:{service.port}", "--token-file", str(service.token_file))
    minikms_p11 = (sys.executable, "-P", "-m", "minikms_p11")
    with running(*minikms_p11, *url, "--socket", str(path)) as pid:
        wait_until(path.exists)
        yield pid


def softhsm_token(folder: Path) -> Any:
    """A token of SoftHSM with a P-256 key."""
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    command = ("softhsm2-util", "--init-token", "--free", "--label", LABEL)
    subprocess.run((*command, "--pin", "1234", "--so-pin", "1234"), check=True, capture_output=True)  # noqa: S603
    return pkcs11.lib(SOFTHSM).get_token(token_label=LABEL)


def make_key(token: Any, pin: str | None) -> None:
    """Make a P-256 key in a token."""
    with token.open(rw=True, user_pin=pin) as session:
        curve = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
        )
        parameters.generate_keypair(store=True, label=LABEL)


@contextmanager
def http_signer(service: Service, kid: str) -> Iterator[Signer]:
    """Sign by POST /sign, over a connection that stays."""
    data = base64.urlsafe_b64encode(DIGEST).decode()
    body = json.dumps({"kid": kid, "data": data, "prehashed": True})
    headers = service.headers()
    with closing(service.connect()) as connection:
        yield lambda: _post(connection, "/sign", body, headers)


def client_token() -> Any:
    """The sidecar's token, by the client module of p11-kit."""
    return pkcs11.lib(P11_KIT).get_token(token_label="minikms")  # noqa: S106


@contextmanager
def token_signer(token: Any, pin: str | None) -> Iterator[Signer]:
    """Sign by C_SignInit and C_Sign."""
    with token.open(user_pin=pin) as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=LABEL)
        yield lambda: key.sign(DIGEST, mechanism=pkcs11.Mechanism.ECDSA)


async def aiohttp_rate(service: Service, kid: str, callers: int, seconds: float) -> float:
    """Signatures in a second by tasks with aiohttp."""
    data = base64.urlsafe_b64encode(DIGEST).decode()
    body = json.dumps({"kid": kid, "data": data, "prehashed": True}).encode()
    headers = service.headers()
    counts = [0] * callers
    async with ClientSession(f"http://127.0.0.1:{service.port}") as session:
        end = time.monotonic() + seconds

        async def sign(place: int) -> None:
            while time.monotonic() < end:
                async with session.post("/sign", data=body, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.json()
                counts[place] += 1

        await asyncio.gather(*map(sign, range(callers)))
    return sum(counts) / seconds


def rate(signers: list[Signer], seconds: float) -> float:
    """Signatures in a second by threads, each with a signer."""
    counts = [0] * len(signers)
    end = time.monotonic() + seconds

    def sign(place: int) -> None:
        while time.monotonic() < end:
            signers[place]()
            counts[place] += 1

    threads = [threading.Thread(target=sign, args=(place,)) for place in range(len(signers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def program(service: Service, kid: str, ready: Barrier, seconds: float, counts: Any) -> None:
    """Sign in a process of its own, by PKCS#11 without a kid."""
    way = http_signer(service, kid) if kid else token_signer(client_token(), None)
    with way as sign:
        sign()
        ready.wait()
        counts.put(rate([sign], seconds))


def rate_of_programs(service: Service, kid: str, callers: int, seconds: float) -> float:
    """Signatures in a second by processes."""
    context = multiprocessing.get_context("spawn")
    counts, ready = context.Queue(), context.Barrier(callers)
    arguments = (service, kid, ready, seconds, counts)
    programs = [context.Process(target=program, args=arguments) for _ in range(callers)]
    for one in programs:
        one.start()
    found: float = sum(counts.get(timeout=PATIENCE) for _ in programs)
    for one in programs:
        one.join()
    return found


def compare(service: Service, token: Any, softhsm: Any, callers: int, rounds: int) -> None:
    """Print the rates of each way, and the ratios to `POST /sign`."""
    kid = service.post("/key/generate", {"alg": "p256"})["kid"]
    with token.open(), softhsm.open(user_pin="1234"), ExitStack() as opened:
        threads = {
            POST: [opened.enter_context(http_signer(service, kid)) for _ in range(callers)],
            P11: [opened.enter_context(token_signer(token, None)) for _ in range(callers)],
        }
        if callers == 1:
            threads["SoftHSM"] = [opened.enter_context(token_signer(softhsm, None))]
        ways: dict[str, Callable[[], float]] = {
            name: partial(rate, signers, 1) for name, signers in threads.items()
        }
        ways["by aiohttp"] = lambda: asyncio.run(aiohttp_rate(service, kid, callers, 1))
        if callers > 1:
            ways[f"{POST}{PROGRAMS}"] = partial(rate_of_programs, service, kid, callers, 1)
            ways[f"{P11}{PROGRAMS}"] = partial(rate_of_programs, service, "", callers, 1)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, measure in ways.items():
                rates[name].append(measure())
    for name, found in rates.items():
        first = rates[f"{POST}{PROGRAMS}" if name.endswith(PROGRAMS) else POST]
        ratio = statistics.median(one / other for one, other in zip(found, first, strict=True))
        print(f"{callers} callers  {name:21} {statistics.median(found):8.0f}/s  ratio {ratio:.2f}")


def search(service: Service, token: Any, pid: int, keys: int) -> None:
    """Print the times of searches among many keys, and the sidecar's memory."""
    for _ in range(0, keys, 1000):
        service.post("/key/generate/batch", {"alg": "p256", "count": min(keys, 1000)})
    named = service.post("/key/generate", {"alg": "p256", "alias": "wanted"})
    private = pkcs11.ObjectClass.PRIVATE_KEY
    with token.open() as session:
        wanted = {
            "all": {pkcs11.Attribute.CLASS: private},
            "by label": {pkcs11.Attribute.CLASS: private, pkcs11.Attribute.LABEL: "wanted"},
            "by id": {pkcs11.Attribute.CLASS: private, pkcs11.Attribute.ID: named["kid"].encode()},
        }
        for name, template in wanted.items():
            times = []
            for _ in range(5):
                began = time.monotonic()
                found = sum(1 for _ in session.get_objects(template))
                times.append(time.monotonic() - began)
            print(f"{keys} keys  {name:8} first {times[0] * 1e3:7.1f} ms, then at most "
                  f"{max(times[1:]) * 1e3:6.1f} ms, {found} found")  # fmt: skip
        before = _memory(pid)
        print(f"{keys} keys  sidecar has {before / 1024:.0f} MiB")


def _memory(pid: int) -> int:
    """Resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError("VmRSS")


@click.command(help=__doc__)
@click.option("--callers", default="1,8", show_default=True)
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1))
@click.option("--keys", default=10000, show_default=True, type=click.IntRange(1))
def main(callers: str, rounds: int, keys: int) -> None:
    """Measure, and print."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kms = stack.enter_context(service(folder))
        softhsm = softhsm_token(folder)
        make_key(softhsm, "1234")
        path = folder / "socket"
        with sidecar(kms, path) as pid:
            os.environ["P11_KIT_SERVER_ADDRESS"] = f"unix:path={path}"
            token = client_token()
            make_key(token, None)
            for number in map(int, callers.split(",")):
                compare(kms, token, softhsm, number, rounds)
            search(kms, token, pid, keys)


if __name__ == "__main__":
    main()
