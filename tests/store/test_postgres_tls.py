"""TLS to PostgreSQL: a password goes only to a server that `sslmode` allows, in any way in."""

import asyncio
import ssl
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from click.testing import CliRunner
from filled_stores import new_store, write_key
from proxy import Proxy
from store.postgres_tls import tls_front
from tls_certificates import Authority
from waiting import waiting_for

from minikms.cli.main import main
from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.postgres import connect
from minikms.store.askar.stores import new_raw_key, open_store, provision_store
from minikms.web.app import create_runner

pytestmark = pytest.mark.postgres

# Askar passes options to its driver in a random order.
TRIES = 20
PASSWORD = "never in clear"

# Every command that opens a store; a copy opens two.
COMMANDS = {
    "info": ["store", "info"],
    "init": ["store", "init"],
    "verify": ["store", "verify"],
    "upgrade": ["store", "upgrade"],
    "rekey": ["store", "rekey", "--new-key-file", "new.key", "--generate-key"],
    "copy from": ["store", "copy", "--to", "sqlite://copy.db"],
    "copy to": ["store", "copy", "--to"],
    "token create": ["token", "create", "--name", "a", "--scope", "sign", "--all-profiles"],
    "token list": ["token", "list"],
    "token revoke": ["token", "revoke", "a"],
    "audit heads": ["audit", "heads"],
    "audit key": ["audit", "key"],
}


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """The CA that the URLs name, and another."""
    return [Authority(tmp_path_factory.mktemp(name), name) for name in ("own", "other")]


@pytest.fixture(scope="module")
def certificates(authorities):
    """A certificate of each of them, with its key; they are for 127.0.0.1."""
    return [authority.issue("server") for authority in authorities]


def url_to(front, options):
    return f"postgres://kms:{quote(PASSWORD)}@{front.host}:{front.port}/kms?{options}"


@pytest.fixture
def untrusted(request, authorities, certificates):
    """A server that must not get the password, and the URL that leads there."""
    own, _ = authorities
    require, full = "sslmode=require", f"sslmode=verify-full&sslrootcert={quote(own.file)}"
    host = "127.0.0.2" if request.param == "of another name" else "127.0.0.1"
    with tls_front(host=host) as front:
        match request.param:
            case "without TLS: require":
                url = url_to(front, require)
            case "without TLS: verify-full":
                url = url_to(front, full)
            case "of another CA":
                front.present(*certificates[1])
                url = url_to(front, full)
            case "of another name":
                front.present(*certificates[0])
                url = url_to(front, full)
        yield front, url


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory):
    """The options of a store in a file."""
    return new_store(tmp_path_factory.mktemp("sqlite"))


UNTRUSTED = ["without TLS: require", "without TLS: verify-full", "of another CA", "of another name"]
each_untrusted = pytest.mark.parametrize("untrusted", UNTRUSTED, indirect=True)


@each_untrusted
async def test_no_connection_gives_the_password_to_a_server_that_is_not_trusted(untrusted):
    front, url = untrusted
    location, key = StoreLocation.parse(url), StoreKey(new_raw_key())
    for _ in range(TRIES):
        for opening in (open_store(location, key), provision_store(location, key, "minikms")):
            with pytest.raises(StoreError) as caught:
                await opening
            assert PASSWORD not in str(caught.value)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await connect(location, "minikms notices", 5)
    assert (front.passwords, front.startups) == ([], [])


@each_untrusted
async def test_no_service_gives_the_password_to_a_server_that_is_not_trusted(untrusted):
    front, url = untrusted
    for _ in range(TRIES):
        runner = create_runner(create_service(Config(store=url, store_key=new_raw_key())))
        with pytest.raises(StoreError):
            await runner.setup()
        await runner.cleanup()
    assert (front.passwords, front.startups) == ([], [])


@each_untrusted
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_gives_the_password_to_a_server_that_is_not_trusted(
    untrusted, name, tmp_path, monkeypatch, sqlite_store
):
    front, url = untrusted
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[name]
    key = write_key(tmp_path / "key", new_raw_key())
    options = ["--store", url, "--store-key-file", key]
    if name == "copy to":
        command, options = [*command, url], sqlite_store
    for _ in range(TRIES):
        ended = CliRunner().invoke(main, [*command, *options])
        assert ended.exit_code == 2, ended.output
        assert PASSWORD not in ended.output
    assert front.connections >= TRIES
    assert (front.passwords, front.startups) == ([], [])


async def test_a_server_that_is_trusted_gets_the_password_and_all_settings(
    authorities, certificates
):
    own, _ = authorities
    with tls_front() as front:
        front.present(*certificates[0])
        for options in ("sslmode=require", f"sslmode=verify-full&sslrootcert={quote(own.file)}"):
            url = url_to(front, f"{options}&options=-c+work_mem%3D1MB&connect_timeout=3")
            location, key = StoreLocation.parse(url), StoreKey(new_raw_key())
            for _ in range(TRIES):
                for opening in (
                    open_store(location, key),
                    provision_store(location, key, "minikms"),
                    connect(location, "minikms notices", 5),
                ):
                    with pytest.raises((StoreError, asyncpg.InvalidPasswordError)):
                        await opening
            assert set(front.passwords) == {PASSWORD}
            assert {startup["options"] for startup in front.startups} == {location.server_options}
            assert len(front.passwords) == len(front.startups) == 3 * TRIES
            front.passwords.clear()
            front.startups.clear()
        assert front.plain == 0


def through(front, url, options):
    """A URL that leads to a database through a front."""
    parts = urlsplit(url)
    netloc = f"{parts.netloc.rpartition(':')[0]}:{front.port}"
    return parts._replace(netloc=netloc, query=options).geturl()


@pytest.fixture
def trusted(postgres_server, authorities, certificates):
    """A server with a valid certificate, and the URL options that verify it."""
    with tls_front(postgres_server.port) as front:
        front.present(*certificates[0])
        yield front, f"sslmode=verify-full&sslrootcert={quote(authorities[0].file)}"


async def test_a_service_connects_no_more_to_a_server_that_is_no_longer_trusted(
    trusted, postgres_server, make_store, start, certificates
):
    front, options = trusted
    url = through(front, postgres_server.create_database(), options)
    client = await start(create_service(Config(**await make_store(url), cache_size=0)))

    async def status():
        async with client.post("/key/generate", json={"alg": "ed25519"}) as response:
            return response.status

    assert await status() == 200
    for broken in ((), certificates[1]):
        front.present(*broken)
        front.drop()
        before, connected = front.connections, len(front.startups)
        async with waiting_for("connections that are tried"):
            while front.connections < before + TRIES:
                assert await status() == 503
        assert len(front.startups) == connected
    front.present(*certificates[0])
    async with waiting_for("a service that works again"):
        while await status() != 200:
            await asyncio.sleep(0.1)
    assert front.plain == 0


@pytest.mark.timeout(90)  # twenty commands, ten databases
def test_commands_on_a_server_that_is_trusted(trusted, postgres_server, sqlite_store):
    front, options = trusted
    for _ in range(TRIES // 4):  # of four commands each
        urls = [through(front, postgres_server.create_database(), options) for _ in range(2)]
        key = sqlite_store[2:]
        for command in (
            ["store", "init", "--store", urls[0], *key],
            ["store", "info", "--store", urls[0], *key],
            ["store", "copy", "--to", urls[1], "--store", urls[0], *key],
            ["store", "verify", "--store", urls[1], *key],
        ):
            ended = CliRunner().invoke(main, command)
            assert ended.exit_code == 0, ended.output
    assert front.plain == 0
    assert len(front.startups) > TRIES


def test_both_ends_of_a_copy_share_the_environment_of_the_driver(
    trusted, postgres_server, sqlite_store
):
    front, options = trusted
    source, target = postgres_server.create_database(), postgres_server.create_database()
    target = through(front, target, options)
    command = ["store", "copy", "--to", target, "--store", source, *sqlite_store[2:]]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 2
    assert "sslrootcert" in ended.output
    assert front.connections == 0


async def test_a_unix_socket_needs_no_tls(postgres_server, make_store, tmp_path):
    url = postgres_server.create_database()
    async with Proxy(postgres_server.port) as proxy:
        folder = quote(str(tmp_path), safe="")
        path = tmp_path / f".s.PGSQL.{postgres_server.port}"
        async with await asyncio.start_unix_server(proxy._accept, path):
            url = url.replace("@127.0.0.1:", f"@{folder}:")
            location = StoreLocation.parse(url)
            key = StoreKey((await make_store(url))["store_key"])
            await (await open_store(location, key)).close()
            await (await connect(location, "minikms notices", 5)).close()
