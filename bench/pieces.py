"""The pieces of a `POST /sign`, in microseconds of processor time.

Run it with the Python that Mini KMS is installed in: `python bench/pieces.py`. It calls the service
in this process, by transports that send nothing, so the system's time for sockets comes on top.
Four calls come in one turn of the loop, as they do under load.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp.http import StreamWriter
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minikms.access.token_record import Token
from minikms.config import Config
from minikms.events import AuditEvent
from minikms.http.answers import head
from minikms.http.gate import GATE
from minikms.http.request_batches import PlainRoutes
from minikms.http.server import KmsRunner
from minikms.keys.signing import Sign, SignOptions
from minikms.plugin import SignatureOptions
from minikms.serve.assembly import create_service
from minikms.startup_errors import AccessError
from minikms.store.askar.secret_files import write_secret
from minikms.web.app import create_runner
from minikms.web.schemas.operation_bodies import Signature, SignRequest
from minikms.web.state import SERVICE

CALLS = 2000
TURN = 4
ROUNDS = 9
# The number of turns of the event loop until a call is answered.
LOOP_TURNS = 1 if sys.version_info >= (3, 12) else 2
CASES = {
    "Ed25519": ("ed25519", False),
    "P-256": ("p256", False),
    "Ed25519, token, audit": ("ed25519", True),
}
ALL = "all"
BY_OPENSSL = "signature, were it OpenSSL's"
LINE = "line of the audit log"

Pieces = dict[str, dict[str, float]]


class Nowhere(asyncio.Transport):
    """A transport that records writes, like a connection from loopback."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


def measure() -> Pieces:
    """By case and piece."""
    found = {}
    for name, case in CASES.items():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found[name] = runner.run(pieces(*case))
    return found


async def pieces(alg: str, audited: bool) -> dict[str, float]:
    """Measure one case: each piece separately, and all in sequence."""
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder), audited) as (runner, headers):
            transport = Nowhere()
            connections: list[Any] = [
                runner.server()  # type: ignore[misc]
                for _ in range(TURN)
            ]
            for connection in connections:
                connection.connection_made(transport)
            first, app = connections[0], runner.app

            async def ask(path: str, body: dict[str, str]) -> tuple[bytes, Any]:
                await asyncio.sleep(0.01)  # until the connection rests
                transport.written.clear()
                call = request(path, body, headers)
                first.data_received(call)
                while not transport.written:
                    await asyncio.sleep(0.001)
                return call, orjson.loads(b"".join(transport.written).split(b"\r\n\r\n")[-1])

            kid = (await ask("/key/generate", {"alg": alg}))[1]["kid"]
            body = {"kid": kid, "data": "A" * 64}
            await ask("/sign", body)
            call, _ = await ask("/sign", body)
            await asyncio.sleep(0.01)
            found = each(first, app, call)
            transport.written.clear()
            found[ALL] = await turns(connections, call)
            assert len(transport.written) == CALLS * TURN * ROUNDS, "not all were answered at once"
            for connection in connections:
                connection.connection_lost(None)
    found["the rest"] = 2 * found[ALL] - sum(found.values())
    if alg == "ed25519" and not audited:
        key, message = Ed25519PrivateKey.generate(), bytes(48)
        found[BY_OPENSSL] = microseconds(lambda: key.sign(message))
    return found


@asynccontextmanager
async def service(folder: Path, audited: bool) -> AsyncIterator[tuple[KmsRunner, list[str]]]:
    """Yield a service with keys in memory, and the headers that its calls need."""
    config = Config(cache_size=10)
    headers: list[str] = []
    if audited:
        token, file = Token.new().reveal(), f"{folder}/token"
        write_secret(file, token, "token", AccessError)
        log = str(folder / "audit.log")
        config = replace(config, auth="token", admin_token_file=file, audit_log=log)
        headers = [f"Authorization: Bearer {token}"]
    runner = create_runner(create_service(config))
    await runner.setup()
    try:
        yield runner, headers
    finally:
        await runner.cleanup()


def request(path: str, body: dict[str, str], headers: list[str]) -> bytes:
    """Encode a call as it arrives over a connection."""
    text = orjson.dumps(body)
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1:8000", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(text)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + text


def each(connection: Any, app: Any, call: bytes) -> dict[str, float]:
    """The pieces by name."""
    parser, gate = connection._parser, app[GATE]

    def parse() -> Any:
        [message] = parser.feed_data(call)[0]
        parser.message_consumed()
        return message

    message, payload = parse()
    writer = StreamWriter(connection, connection.loop)
    read = connection._request_factory(message, payload, connection, writer, None)
    PlainRoutes(app, connection.server.request_handler).start(read, "POST", "/sign").close()
    schema, answer = SignRequest(), Signature()
    text = read.content.read_nowait()
    body = schema.parse(orjson.loads(text))
    keys = app[SERVICE]
    named = ("default", body["by"])
    sign = Sign(body["data"], SignOptions())
    key = keys._key_at_hand(*named, sign)
    assert key is not None
    form = SignatureOptions(key.algorithm.signing_algs[0])
    signed = sign.compute(key)
    timed = [
        ("HTTP parsed", parse),
        ("body read", lambda: schema.parse(orjson.loads(text))),
        ("key and its state looked up", lambda: keys._key_at_hand(*named, sign)),
        ("signature", lambda: key.algorithm.sign(key.material, body["data"], form)),
        ("answer written", lambda: head(b"", read) + answer.encode(signed)),
    ]
    if gate.sink is not None:
        bearer = read.headers["Authorization"]
        facts = {
            "address": "127.0.0.1",
            "profile": "default",
            "kid": key.kid,
            "alg": key.algorithm.name,
        }
        event = AuditEvent("sign", None, request_id="0" * 32, who="admin", **facts)
        timed.append(("token looked up", lambda: gate.access.authenticate_cached(bearer)))
        events = [event] * TURN
        timed.append((LINE, lambda: gate.sink(events, "success")))
    found = {name: microseconds(work) for name, work in timed}
    if LINE in found:
        found[LINE] /= TURN
    return found


async def turns(connections: list[Any], call: bytes) -> float:
    """Measure microseconds of a call, with one per connection in each turn of the loop."""
    rounds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(CALLS):
            for connection in connections:
                connection.data_received(call)
            for _ in range(LOOP_TURNS):
                await asyncio.sleep(0)
        rounds.append((time.process_time() - begin) / CALLS / len(connections) * 1e6)
    return min(rounds)


def microseconds(work: Callable[[], object], calls: int = CALLS, rounds: int = ROUNDS) -> float:
    """Measure the processor time of a call, in the best of some rounds of many calls."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(calls):
            work()
        times.append((time.process_time() - begin) / calls * 1e6)
    return min(times)


def rows_of(found: Pieces) -> list[tuple[str, ...]]:
    """A row for each piece, a column for each case."""
    names = dict.fromkeys(name for pieces in found.values() for name in pieces)
    last = ("the rest", ALL, BY_OPENSSL)
    order = [*(name for name in names if name not in last), *last]
    return [
        (name, *(f"{case[name]:.1f}" if name in case else "" for case in found.values()))
        for name in order
    ]


if __name__ == "__main__":
    result = measure()
    for name, *cells in [("", *result), *rows_of(result)]:
        print(f"{name:28}", *(f"{cell:>22}" for cell in cells))
