"""Stores that commands cannot use: one sentence, exit code 2, and nothing changed."""

import asyncio
from pathlib import Path

import pytest
from aries_askar import Store

from minikms.store.askar.stores import new_raw_key

SERVE = "serve", "--port", "0"
OTHER_KEY = "9iPcYcVjTbrK1oTZCYPJdX6Zi9GiyQ5hQQJAhHyDaAzD"


@pytest.fixture
def refused(run, command):
    """Run a command that must fail with one sentence, and give it; a service has a process."""

    def check(*args, **variables):
        ended = (run if args == SERVE else command)(*args, **variables)
        (line,) = ended.stderr.splitlines()
        assert (ended.returncode, ended.stdout, line[:9]) == (2, "", "minikms: ")
        assert "secret" not in line
        return line

    return check


@pytest.mark.process
def test_a_wrong_store_key_is_refused_in_one_line(refused, persistent):
    for key, method in ((new_raw_key(), "raw"), ("passphrase", "raw"), ("passphrase", "argon2i")):
        options = {"STORE": persistent["store"], "STORE_KEY": key, "STORE_KEY_METHOD": method}
        # `serve` takes three times as long to start as others, which read the key as it does.
        line = refused(*(("store", "info") if key == "passphrase" else SERVE), **options)
        assert "key" in line
        assert key not in line
    assert "already" in refused("store", "init", STORE=persistent["store"], STORE_KEY=new_raw_key())
    assert "already" in refused(
        "store", "init", STORE=persistent["store"], STORE_KEY=persistent["store_key"]
    )


@pytest.mark.process
async def test_a_store_of_another_program(refused, persistent_url):
    key = new_raw_key()
    store = await Store.provision(persistent_url, "raw", key, profile="wallet")
    async with store.session() as session:
        await session.insert("category", "name", "value")
    await store.close()
    options = {"STORE": persistent_url, "STORE_KEY": key}
    assert "not one of Mini KMS" in refused(*SERVE, **options)
    line = await asyncio.to_thread(refused, "store", "init", **options)
    assert "another program" in line
    store = await Store.open(persistent_url, "raw", key)
    async with store.session() as session:
        assert (await session.fetch("category", "name")).value == b"value"
    await store.close()


@pytest.mark.process
@pytest.mark.parametrize("content", [b"", b"junk" * 1000])
def test_a_file_that_is_no_store(refused, tmp_path, content):
    file = tmp_path / "keys.db"
    file.write_bytes(content)
    refused(*SERVE, STORE=f"sqlite://{file}", STORE_KEY=OTHER_KEY)
    if content:
        refused("store", "init", STORE=f"sqlite://{file}", STORE_KEY=OTHER_KEY)
        assert file.read_bytes() == content


@pytest.mark.process
def test_a_store_that_is_not_there(refused, persistent_url, tmp_path):
    line = refused(*SERVE, STORE=persistent_url, STORE_KEY=OTHER_KEY)
    assert "minikms store init" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_directory_that_is_not_there(refused, tmp_path):
    url = f"sqlite://{tmp_path}/absent/keys.db"
    for command in (SERVE, ("store", "init")):
        assert "absent does not exist" in refused(*command, STORE=url, STORE_KEY=OTHER_KEY)


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="there is no /proc: run pytest on Linux"
)
def test_a_directory_that_cannot_be_written(refused):
    line = refused("store", "init", STORE="sqlite:///proc/keys.db", STORE_KEY=OTHER_KEY)
    assert "directory /proc cannot be written" in line


@pytest.mark.process
def test_a_database_that_refuses_the_password(refused, postgres_server):
    url = postgres_server.url("postgres")
    scheme, _, rest = url.partition("://")
    url = f"{scheme}://postgres:secret@{rest.rpartition('@')[2]}"
    for command in (SERVE, ("store", "init")):
        assert "password" in refused(*command, STORE=url, STORE_KEY=OTHER_KEY)


@pytest.mark.process
@pytest.mark.parametrize("host", ["127.0.0.1:1", "192.0.2.1", "name.invalid"])
def test_a_database_that_is_not_there(refused, host):
    url = f"postgresql://kms:secret@{host}/kms"
    command = SERVE if host == "name.invalid" else ("store", "info")
    assert host.partition(":")[0] in refused(*command, STORE=url, STORE_KEY=OTHER_KEY)


@pytest.mark.parametrize(
    "url",
    [
        "keys.db",
        "mysql://secret@host/name",
        "sqlite://",
        "sqlite://:memory:",
        "postgres://user:secret@host",
        "postgres://user:secret@host:port/name",
        "postgres://user:secret@host/name?max_connections=many",
        "sqlite:///keys.db?max_connections=0",
    ],
)
def test_a_url_that_is_none(refused, url):
    # Every command reads the URL in this way.
    refused("store", "info", STORE=url, STORE_KEY=OTHER_KEY)


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (f"{OTHER_KEY}\n", 0o644),
        (f"{OTHER_KEY}\n", 0o620),
        ("", 0o600),
        ("two\nlines\n", 0o600),
        ("\xff", 0o600),
    ],
)
def test_a_key_file_that_is_none(refused, tmp_path, content, mode):
    file = tmp_path / "store.key"
    file.write_bytes(content.encode("latin-1"))
    file.chmod(mode)
    options = {"STORE": f"sqlite://{tmp_path}/keys.db", "STORE_KEY_FILE": str(file)}
    assert str(file) in refused("store", "info", **options)
    file.unlink()
    assert str(file) in refused("store", "info", **options)


@pytest.mark.process
def test_a_missing_store_key_is_refused_in_one_line(refused, tmp_path):
    refused(*SERVE, STORE=f"sqlite://{tmp_path}/keys.db")


@pytest.mark.process
def test_a_service_reads_url_and_key_file_as_commands_do(refused, tmp_path):
    refused(*SERVE, STORE="keys.db", STORE_KEY=OTHER_KEY)
    file = tmp_path / "store.key"
    options = {"STORE": f"sqlite://{tmp_path}/keys.db", "STORE_KEY_FILE": str(file)}
    assert str(file) in refused(*SERVE, **options)
