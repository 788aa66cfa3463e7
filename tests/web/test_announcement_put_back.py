"""Whoever writes the database puts entries of objects back, and destroys no object of a key."""

import json
import subprocess
import sys

import pytest
from minikms_files import FilesProvider
from token_folder import until_open
from waiting import until

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.askar.location import StoreLocation
from minikms.web.state import SWEEPER

pytestmark = pytest.mark.process

KEY = {"alg": "p256", "provider": "hsm"}
HOURS = 3 * 3600

# Of the same rows, those that are gone, as due, under numbers that nothing else has.
PUT_BACK = (
    "INSERT INTO items SELECT id + 1000000, profile_id, kind, category, name, value, expiry"
    " FROM {0}_items AS old WHERE NOT EXISTS (SELECT 1 FROM items AS now"
    " WHERE (now.profile_id, now.kind, now.category, now.name)"
    " = (old.profile_id, old.kind, old.category, old.name))",
    "INSERT INTO items_tags (item_id, name, value, plaintext)"
    " SELECT item_id + 1000000, name, {1}, plaintext FROM {0}_tags"
    " WHERE item_id + 1000000 IN (SELECT id FROM items)",
)


class Writer:
    """Whoever writes the database of a running service, and lacks its key."""

    def __init__(self, url, request):
        self._path = StoreLocation.parse(url).path
        self._database = url.rpartition("/")[2]
        self._request = request
        zeros = "0" * 20
        self._due = f"x'{zeros.encode().hex()}'" if self._path else f"'{zeros}'"

    def run(self, *statements):
        """Run statements in another process, as one transaction, and give the last result."""
        statements = ";".join(statements)
        if self._path is None:
            server = self._request.getfixturevalue("postgres_server")
            return server.execute(f"BEGIN;{statements};COMMIT", self._database)
        code = (
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], 20)\n"
            "db.executescript('BEGIN IMMEDIATE;' + sys.argv[2] + ';COMMIT')"
        )
        command = [sys.executable, "-c", code, str(self._path), statements]
        return subprocess.run(command, check=True, timeout=60)

    def keep(self, name):
        """Keep the present rows."""
        self.run(
            f"CREATE TABLE {name}_items AS SELECT * FROM items",
            f"CREATE TABLE {name}_tags AS SELECT * FROM items_tags",
        )

    def put_back(self, name):
        """Put the rows back that are gone since then, as if their time were over."""
        self.run(*(each.format(name, self._due) for each in PUT_BACK))

    def restore(self, name):
        """Make all rows what they were then."""
        self.run(
            "DELETE FROM items_tags",
            "DELETE FROM items",
            f"INSERT INTO items SELECT * FROM {name}_items",
            f"INSERT INTO items_tags SELECT * FROM {name}_tags",
        )


@pytest.fixture
def writer(persistent, request):
    return Writer(persistent["store"], request)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def client(start, persistent, token_folder, log):
    """A client of a service on a persistent store, with the provider `hsm` and an audit log."""
    config = Config(**persistent, provider=(token_folder.option,), audit_log=str(log))
    client = await start(create_service(config))
    await until_open(client)
    return client


@pytest.fixture
async def kid(client, post, writer, monkeypatch):
    """The kid of a key; the writer has kept the rows that were there while it was made."""
    make = FilesProvider.make

    def keep_and_make(self, algorithm, key_id):
        writer.keep("making")
        return make(self, algorithm, key_id)

    monkeypatch.setattr(FilesProvider, "make", keep_and_make)
    kid = (await post("/key/generate", KEY))["kid"]
    monkeypatch.undo()
    return kid


async def signs(post, kid):
    return bool((await post("/sign", {"kid": kid, "data": "aGk"}))["sig"])


def destructions(log):
    lines = map(json.loads, log.read_text().splitlines())
    return [line for line in lines if line.get("operation") == "destroyObject"]


@pytest.mark.parametrize("later", [0, 1200, HOURS])
async def test_an_announcement_that_is_put_back_destroys_no_object_of_a_key(
    client, post, kid, writer, token_folder, log, clock, later
):
    [object_id] = token_folder.keys
    writer.put_back("making")
    clock(later)
    assert await client.app[SWEEPER].sweep() == set()
    assert token_folder.keys == {object_id}
    assert await signs(post, kid)
    assert destructions(log) == []


async def test_an_announcement_that_is_put_back_is_logged(
    client, kid, writer, token_folder, clock, caplog
):
    [object_id] = token_folder.keys
    writer.put_back("making")
    clock(1200)
    for _ in range(2):
        await client.app[SWEEPER].sweep()
    assert caplog.text.count(f"the object {object_id} of the provider hsm stays: a key has it") == 1


async def test_an_older_state_destroys_no_object_of_a_key(
    client, post, kid, writer, token_folder, clock
):
    [object_id] = token_folder.keys
    writer.keep("now")
    writer.restore("making")  # without the record
    clock(HOURS)
    assert await client.app[SWEEPER].sweep() == set()
    writer.restore("now")
    assert token_folder.keys == {object_id}
    assert await signs(post, kid)


async def test_the_destruction_of_an_object_is_an_audit_line(client, post, kid, token_folder, log):
    [object_id] = token_folder.keys
    assert (await client.delete(f"/key/{kid}")).status == 200
    await until("the line", lambda: destructions(log))
    await client.app[SWEEPER].sweep()
    [line] = destructions(log)
    assert token_folder.keys == set()
    assert {name: line[name] for name in ("profile", "provider", "object_id", "outcome")} == {
        "profile": "default",
        "provider": "hsm",
        "object_id": object_id,
        "outcome": "success",
    }
    async with client.get("/audit", params={"operation": "destroyObject"}) as answer:
        [event] = await answer.json()
    assert event["object_id"] == object_id
