"""Fixtures of tests over HTTP: clients, new keys, and a bare connection."""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import problems
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from http_answers import bearer
from postgres import Postgres
from waiting import until, waiting_for

from minikms.config import Config
from minikms.encodings import b64url
from minikms.key_requests import KeyPolicy
from minikms.keys.making import describe
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.store.sweeps import LastSweep, Sweeps
from minikms.web.state import SERVICE, STORE


@pytest.fixture
def start_swept(start: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[Any]]:
    """Start an application that has looked once for due keys, and give a client of it."""

    async def run(app: web.Application) -> Any:
        looked, begin, end = asyncio.Event(), Sweeps.begin, Sweeps.end

        async def begun(self: Sweeps, every: float) -> float | None:
            wait = await begin(self, every)
            if wait is not None:  # another process has swept
                looked.set()
            return wait

        async def ended(self: Sweeps, every: float, last: LastSweep) -> None:
            await end(self, every, last)
            looked.set()

        with monkeypatch.context() as patch:
            patch.setattr(Sweeps, "begin", begun)
            patch.setattr(Sweeps, "end", ended)
            client = await start(app)
            async with waiting_for("the first sweep"):
                await looked.wait()
        return client

    return run


@pytest.fixture
async def own_client(
    start: Callable[[web.Application], Awaitable[Any]], any_store: dict[str, str]
) -> Any:
    """A client of a new service, on each kind of store in turn."""
    return await start(create_service(Config(**any_store)))


@pytest.fixture
def database(postgres_server: Postgres) -> tuple[str, str]:
    """The name of a new database of PostgreSQL, and its URL."""
    url = postgres_server.create_database()
    return url.rpartition("/")[2], url


@pytest.fixture
async def database_client(start: Any, make_store: Any, database: tuple[str, str]) -> Any:
    """A client of a new service in `database`."""
    return await start(create_service(Config(**await make_store(database[1]))))


@pytest.fixture
async def profile_client(shared_server: TestServer) -> AsyncIterator[Any]:
    """A client of the shared service; it calls in a new profile unless it names one."""
    name = secrets.token_hex()
    await shared_server.app[SERVICE].profiles.create(name)
    client: TestClient[Any, Any] = TestClient(shared_server, headers={"X-Profile": name})
    yield client
    await client.session.close()  # the client's own `close` would close the server


@pytest.fixture
def client(request: pytest.FixtureRequest, any_store: dict[str, str]) -> Any:
    """A client of a new service, or in memory of the shared one if the test is marked so."""
    shared = request.node.get_closest_marker("shared_service") and not any_store
    return request.getfixturevalue("profile_client" if shared else "own_client")


@pytest.fixture(scope="session")
def listening() -> Callable[..., Awaitable[None]]:
    """Return once each of these services, on PostgreSQL, hears notices."""

    async def wait(*clients: Any) -> None:
        for client in clients:
            counters = client.app[SERVICE].operations.store.database.counters
            # When a service begins to hear notices, it increments all counters.
            await until("notices of PostgreSQL", lambda counters=counters: all(counters.values))

    return wait


@pytest.fixture
def profile(client: Any) -> str:
    """The profile of the client's calls that name none."""
    return client.session.headers.get("X-Profile", DEFAULT_PROFILE)


@pytest.fixture
def with_aliases(client: Any, profile: str) -> Callable[..., Awaitable[str]]:
    """Store an Ed25519 key with `number` aliases, like keys of earlier versions."""
    algorithm: Any = AlgorithmRegistry.from_installed().get("ed25519")

    async def make(number: int, jwk: dict[str, str] | None = None) -> str:
        key = algorithm.import_jwk(jwk) if jwk else algorithm.generate()
        record = describe(algorithm, key, "askar", KeyPolicy(), algorithm.key_operations)
        record = replace(record, aliases=tuple(f"a{place}" for place in range(number)))
        writer = StoreWriter(client.app[STORE].database)
        await writer.insert(profile, [(record, algorithm.pack(key))])
        return record.kid

    return make


@pytest.fixture
def generate(client: Any) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Make a key over HTTP and give the answer's body."""

    async def make(alg: str = "ed25519", profile: str = "", **options: Any) -> dict[str, Any]:
        body, headers = {"alg": alg, **options}, {"X-Profile": profile} if profile else {}
        async with client.post("/key/generate", json=body, headers=headers) as response:
            assert response.status == 200
            return await response.json()

    return make


@pytest.fixture
def post(client: Any) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Send a body that must succeed, and give the answer's."""

    async def call(path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with client.post(path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    return call


@pytest.fixture
def get(client: Any) -> Callable[..., Awaitable[Any]]:
    """Send a GET request that must succeed; return the answer's body."""

    async def call(path: str, **options: Any) -> Any:
        async with client.get(path, **options) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    return call


@pytest.fixture
def authority(
    client: Any, generate: Any, post: Any
) -> Callable[..., Awaitable[tuple[str, x509.Certificate]]]:
    """Make a key with a certificate of a CA: its kid, and the certificate."""

    async def make(alg: str = "p256", **body: Any) -> tuple[str, x509.Certificate]:
        kid = (await generate(alg))["kid"]
        body = {"profile": "self-signed", "subject": "CN=Example CA", "days": 3650, **body}
        made = (await post("/certificate", {"kid": kid, **body}))["certificate"]
        chain = {"certificates": [made]}
        async with client.put(f"/key/{kid}/certificates", json=chain) as response:
            assert response.status == 200
        return kid, x509.load_pem_x509_certificate(made.encode())

    return make


@pytest.fixture
def certified(client: Any, post: Any) -> Callable[..., Awaitable[str]]:
    """Import a key with the certificate of another program, and those above it; gives its kid."""

    async def keep(private: ec.EllipticCurvePrivateKey, *chain: x509.Certificate) -> str:
        secret = b64url(private.private_numbers().private_value.to_bytes(32, "big"))
        kid: str = (await post("/key/import", {"alg": "p256", "secret": secret}))["kid"]
        texts = [each.public_bytes(Encoding.PEM).decode() for each in chain]
        async with client.put(f"/key/{kid}/certificates", json={"certificates": texts}) as response:
            assert response.status == 200, await response.text()
        return kid

    return keep


@pytest.fixture
def refuses(client: Any) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Send a body that must be refused with this problem, and give the problem."""

    async def call(path: str, body: Any, status: int, slug: str) -> dict[str, Any]:
        return await problems.refused(await client.post(path, json=body), status, slug)

    return call


@pytest.fixture
def all_keys(get: Any) -> Callable[[], Awaitable[list[dict[str, Any]]]]:
    """List the keys of the profile."""
    return partial(get, "/keys")


class Response(NamedTuple):
    """An answer as it came over a connection."""

    status: int
    headers: Any
    body: bytes
    called: tuple[str, str] = ("", "")

    def problem(self, method: str = "", path: str = "") -> tuple[int, str]:
        """Status and slug of the problem that this must be, documented at that operation."""
        called = (method, path) if method else self.called
        return problems.problem(self.status, self.headers, self.body, *called)


class Connection:
    """One connection of HTTP/1.1 on which bytes are sent as they stand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, method: str, target: str, body: bytes = b"", *headers: str) -> None:
        """Send a request with a Content-Length."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        head = "\r\n".join([*lines, *headers, "", ""])
        self.writer.write(head.encode("latin-1") + body)

    async def receive(self, *, body: bool = True) -> Response:
        """The next answer."""
        async with waiting_for("an answer"):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            length = int(headers.get("Content-Length", 0)) if body else 0
            content = await self._reader.readexactly(length)
        return Response(int(head[0].split()[1]), headers, content)

    async def call(self, method: str, target: str, body: bytes = b"", *headers: str) -> Response:
        """Send a request and give its answer."""
        self.send(method, target, body, *headers)
        answer = await self.receive(body=method != "HEAD")
        return answer._replace(called=(method, target))

    async def read(self) -> bytes:
        """Read until the other side closes."""
        async with waiting_for("the end of a connection"):
            return await self._reader.read()

    async def at_end(self) -> bool:
        """Check that the other side closes without sending more."""
        return await self.read() == b""


@pytest.fixture
async def connect_to() -> AsyncIterator[Callable[[Any], Awaitable[Connection]]]:
    """Open connections to a client's service, closed at the end of the test."""
    opened = []

    async def open_one(client: Any) -> Connection:
        connection = Connection(*await asyncio.open_connection(client.host, client.port))
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        connection.writer.close()


@pytest.fixture
def connect(client: Any, connect_to: Any) -> Callable[[], Awaitable[Connection]]:
    """Open connections to the service, closed at the end of the test."""
    return partial(connect_to, client)


@pytest.fixture
async def connection(connect: Callable[[], Awaitable[Connection]]) -> Connection:
    """One connection to the service."""
    return await connect()


# Without these, Chromium as root does not start, or asks hosts of its own for updates.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Any]:
    """A browser that the tests of a module share: each has a profile of its own."""
    playwright = pytest.importorskip(
        "playwright.async_api", reason="needs playwright: pip install -e '.[test-all]'"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        missing = "chromium is missing: apt-get install chromium"
        if os.environ.get("MINIKMS_TEST_REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    async with playwright.async_playwright() as running:
        options = {"executable_path": chromium, "args": CHROMIUM_ARGUMENTS}
        browser = await running.chromium.launch(**options)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Any) -> AsyncIterator[Any]:
    """A page in a new browser profile, which records its requests and errors."""
    context = await browser.new_context(viewport={"width": 1280, "height": 1024})
    context.set_default_timeout(60_000)
    page = await context.new_page()
    page.requested, page.complaints = [], []
    context.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            page.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    yield page
    await context.close()


@pytest.fixture
async def guarded(start: Any, admin: tuple[str, str], tmp_path: Path) -> Any:
    """A service that asks for tokens, with an audit log; its client is its admin."""
    config = Config(auth="token", admin_token_file=admin[1], audit_log=str(tmp_path / "audit.log"))
    client = await start(create_service(config))
    client.session.headers.update(bearer(admin[0]))
    return client


@pytest.fixture
def address(guarded: Any) -> str:
    """The address of the console of a service."""
    return str(guarded.make_url("/console/"))


@pytest.fixture
async def signed_in(page: Any, address: str, admin: tuple[str, str]) -> AsyncIterator[Any]:
    """The console in the hands of the admin."""
    from web.console.console_pages import complaints, sign_in  # needs playwright

    await sign_in(page, address, admin[0])
    yield page
    assert complaints(page) == []
