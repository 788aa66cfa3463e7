"""Fixtures of all tests: the application in the test's own process, and services in processes."""

import asyncio
import contextlib
import gc
import os
import secrets
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import Any

import ports
import psutil
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient
from aries_askar import Store
from click.testing import CliRunner
from in_process import KmsTestServer
from loop import Loop
from postgres import Postgres
from rsa_keys import share_rsa_keys
from service_process import Service, begin_and_answer, begin_process, end_group, services
from sqlite_files import whole
from token_folder import TokenFolder, install

from minikms.access.token_record import Token
from minikms.cli.main import main as minikms
from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store import database
from minikms.store.askar.errors import take_error_codes
from minikms.store.askar.files import is_open_here
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.schema import CheckedSchema
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore

Client = TestClient[web.Request, web.Application]
FAILED = pytest.StashKey[bool]()


@pytest.fixture(autouse=True, scope="session")
def schema_checked_once() -> Iterator[None]:
    """Check the schema of an SQLite file for the first service of a process alone.

    Python's SQLite, which checks it, truncates the shared memory of the WAL for a moment. If
    Askar's SQLite reads it then in the same process, the process gets SIGBUS. Only tests have two
    services in a process.
    """
    check = database.check_schema

    async def check_once(location: StoreLocation) -> CheckedSchema:
        if location.path and is_open_here(location.path):
            return CheckedSchema()
        return await check(location)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "check_schema", check_once)
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `each_store` on each kind of store."""
    if metafunc.definition.get_closest_marker("each_store"):
        metafunc.parametrize("any_store", ["memory", "sqlite", "postgres"], indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests whose fixtures or parameters need a PostgreSQL server."""
    assert isinstance(item, pytest.Function)
    params = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if "postgres_server" in item.fixturenames or "postgres" in params:
        item.add_marker("postgres")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests in the loop that `minikms serve` has."""
    return {"uvloop": Loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note for fixtures that their test has failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over all that is imported and collected by now."""
    gc.freeze()


# Before the first call of Askar, whose callback all later calls keep.
take_error_codes()

# Before a module of tests makes keys.
share_rsa_keys(pytest.MonkeyPatch())


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """Kill processes that failed tests have left, which a variable of the environment marks."""
    mark = secrets.token_hex()
    os.environ["TEST_SESSION"] = mark
    yield
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TEST_SESSION") == mark:
                process.kill()


@pytest.fixture
async def client(aiohttp_client: Any) -> Client:
    """A client of a new service, its store in memory."""
    return await aiohttp_client(KmsTestServer(create_service(Config())))


@pytest.fixture(scope="session")
async def shared_server() -> AsyncIterator[KmsTestServer]:
    """A service that the tests of a process share, its store in memory."""
    async with KmsTestServer(create_service(Config())) as server:
        yield server


@pytest.fixture
def start(aiohttp_client: Any) -> Callable[..., Awaitable[Client]]:
    """Start an application that the test has made, and give a client of it."""

    async def run(app: web.Application, tls: ssl.SSLContext | None = None, **runner: Any) -> Client:
        server = KmsTestServer(app, **runner)
        await server.start_server(ssl=tls)
        return await aiohttp_client(server)

    return run


@pytest.fixture
def token_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenFolder:
    """A token of the sample provider, which is installed; services find it again soon."""
    monkeypatch.setattr("minikms.keys.providers.providers._LOOK_EVERY", 0.02)
    return install(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server that the tests of a process share."""
    with Postgres.running() as server:
        yield server


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest, postgres_server: Postgres) -> Iterator[Postgres]:
    """The server, for a test that stops, pauses or changes it; its parameter is attributes."""
    if attributes := getattr(request, "param", {}):
        vars(postgres_server).update(attributes)
        postgres_server.restart()
    yield postgres_server
    postgres_server.reset()


@pytest.fixture(scope="session")
def database_url(postgres_server: Postgres) -> str:
    """A database that tests share, each of which empties it."""
    return postgres_server.create_database()


@pytest.fixture(params=["sqlite", "postgres"])
def persistent_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a persistent store, which does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/keys.db"
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.create_database()


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Awaitable[dict[str, str]]]:
    """Make a store, and return the options of a service on it."""

    async def make(url: str, key: StoreKey | None = None) -> dict[str, str]:
        key = key or StoreKey(new_raw_key())
        async with KeyStore.create(StoreLocation.parse(url), key):
            return {"store": url, "store_key": key.secret, "auth": "none"}

    return make


@pytest.fixture
async def persistent(persistent_url: str, make_store: Any) -> dict[str, str]:
    """The options of a service on a persistent store that exists."""
    return await make_store(persistent_url)


@pytest.fixture
def empty_store(
    request: pytest.FixtureRequest, make_store: Any
) -> Callable[[str], Awaitable[dict[str, str]]]:
    """Make an empty store of a kind, and return the options of a service on it."""

    async def make(kind: str) -> dict[str, str]:
        if kind == "memory":
            return {}
        if kind == "sqlite":
            folder: Path = request.getfixturevalue("tmp_path")
            return await make_store(f"sqlite://{folder}/keys.db")
        key, url = StoreKey(new_raw_key()), request.getfixturevalue("database_url")
        # Quicker than a database for each test: Askar empties this one.
        emptied = await Store.provision(url, "raw", key.secret, profile="minikms", recreate=True)
        await emptied.close()
        return await make_store(url, key)

    return make


@pytest.fixture
async def any_store(request: pytest.FixtureRequest, empty_store: Any) -> dict[str, str]:
    """The options of a service with an empty store: in memory, or each kind (`each_store`)."""
    return await empty_store(getattr(request, "param", "memory"))


@pytest.fixture
def admin(tmp_path: Path) -> tuple[str, str]:
    """A token with every scope, and the file that lets a service accept it."""
    token, path = Token.new().reveal(), tmp_path / "admin.token"
    path.touch(0o600)
    path.write_text(token)
    return token, str(path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the clock forward or back by seconds, counted from the system's time."""
    system, off = time.time_ns, 0

    def put(seconds: float) -> None:
        nonlocal off
        off = round(seconds * 1e9)

    monkeypatch.setattr(time, "time_ns", lambda: system() + off)
    return put


@pytest.fixture
def check_mark(request):
    """Fail if a test starts a process without the mark."""

    def check():
        if not any(map(request.node.get_closest_marker, ("process", "kill"))):
            pytest.fail("It starts a process: mark it `process`.")

    return check


@pytest.fixture
def run(check_mark):
    """Run a command to its end."""

    def start(*args, command=None, seconds=60, **variables):
        check_mark()
        streams = {"stdout": PIPE, "stderr": PIPE, "start_new_session": True}
        process = begin_process(args, command, variables, **streams)
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        finally:
            end_group(process)
        return CompletedProcess(process.args, process.returncode, stdout, stderr)

    return start


@pytest.fixture
def command():
    """Run a command to its end in this process, which takes a tenth of the time."""

    def invoke(*args, **variables):
        names = {f"MINIKMS_{name.upper()}": value for name, value in variables.items()}
        done = CliRunner().invoke(
            minikms, args, env=names, prog_name="minikms", catch_exceptions=False
        )
        return CompletedProcess(args, done.exit_code, done.stdout, done.stderr)

    return invoke


@pytest.fixture
def begin(check_mark):
    """Begin commands, each killed at the end of the test if it has not ended."""
    with contextlib.ExitStack() as ended:

        def start(*args, stdout=PIPE, **variables):
            check_mark()
            streams = {"stdout": stdout, "stderr": stdout, "start_new_session": True}
            process = begin_process(args, None, variables, **streams)
            ended.callback(end_group, process)
            return process

        yield start


@pytest.fixture
def flip():
    """Flip a bit of a value in the SQLite file of a closed store."""

    def change(path, number, table="items", column="value"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            query = f"SELECT {column} FROM {table} WHERE id = ?"
            value = bytearray(*connection.execute(query, (number,)).fetchone())
            value[len(value) // 2] ^= 0x80
            command = f"UPDATE {table} SET {column} = ? WHERE id = ?"
            connection.execute(command, (value, number))
            connection.commit()

    return change


@pytest.fixture
def query():
    """Rows of the SQLite file of a closed store."""

    def rows(path, statement):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute(statement).fetchall()

    return rows


@pytest.fixture
def change_rows(request, persistent_url):
    """Run statements in the database of a closed store, without its key."""

    async def run(*statements):
        path = StoreLocation.parse(persistent_url).path
        if path is None:
            server: Postgres = request.getfixturevalue("postgres_server")
            server.execute(";".join(statements), persistent_url.rpartition("/")[2])
            return
        with contextlib.closing(sqlite3.connect(await whole(path))) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return run


@pytest.fixture
def serve(check_mark, request):
    """Start services, each ended at the end of the test."""
    with services(lambda: request.node.stash.get(FAILED, False)) as begin_one:

        def start(*args, **options):
            check_mark()
            return begin_one(*args, **options)

        yield start


@pytest.fixture
def free_port() -> str:
    """A free port."""
    return str(ports.free_port())


@pytest.fixture
def answering(serve: Callable[..., Service]) -> Callable[..., Awaitable[Any]]:
    """Start a service, wait until it answers, and return it with a session."""

    async def start(
        options: dict[str, str], *args: str, port: int = 0
    ) -> tuple[Service, ClientSession]:
        service, address = await begin_and_answer(serve, options, *args, port=port)
        return service, ClientSession(address)

    return start
