"""If a profile's name is used again, the new tenant gets nothing of the former tenant.

The attacker writes to the database, without the store's key: rows of an earlier time come back.
"""

import contextlib
import secrets
import sqlite3
from pathlib import Path

import orjson
import pytest
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer
from http_answers import bearer
from problems import refused

from minikms.access.token_record import TokenRecord
from minikms.config import Config
from minikms.maintenance.copy import copy
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.verify import verify
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.profiles import making
from minikms.web.state import TOKENS

ALICE = {"name": "alice"}
OF_ALICE = {"X-Profile": "alice"}
TENANT = {"name": "tenant", "scopes": ["admin", "keys:write", "keys:read"], "profiles": ["alice"]}
EARLIER_TOKEN = "the token {} is for an earlier profile of this name"

# The rows of a backup: a token; the one profile besides the default one; the entry of the directory
# with the same name, whose encryption is the same.
TOKEN_AGAIN = (
    "INSERT INTO items SELECT id + 1000, profile_id, kind, category, name, value, expiry"
    " FROM before.items WHERE id = {0}",
    "INSERT INTO items_tags SELECT id + 100000, item_id + 1000, name, value, plaintext"
    " FROM before.items_tags WHERE item_id = {0}",
)
PROFILE_AGAIN = (
    "DELETE FROM profiles WHERE id IN (SELECT id FROM before.profiles WHERE id > 2)",
    "INSERT INTO profiles SELECT * FROM before.profiles WHERE id > 2",
    "DELETE FROM items WHERE profile_id > 2",
    "INSERT INTO items SELECT id + 1000, profile_id, kind, category, name, value, expiry"
    " FROM before.items WHERE profile_id > 2",
    "INSERT INTO items_tags SELECT id + 100000, item_id + 1000, name, value, plaintext"
    " FROM before.items_tags WHERE item_id IN"
    " (SELECT id FROM before.items WHERE profile_id > 2)",
)
DIRECTORY_AGAIN = (
    "UPDATE items SET value = old.value FROM before.items AS old WHERE items.profile_id = 1"
    " AND old.profile_id = 1 AND items.category = old.category AND items.name = old.name"
    " AND items.kind = old.kind",
)


@pytest.fixture
async def store(tmp_path, make_store):
    """The options of a service that needs tokens, on an SQLite file."""
    return await make_store(f"sqlite://{tmp_path}/keys.db") | {"auth": "token"}


@pytest.fixture
def serving(store, admin):
    """Serve the store within a block: a client, and the headers of its operator."""

    @contextlib.asynccontextmanager
    async def serve(**options):
        config = Config(**{**store, "admin_token_file": admin[1], **options})
        async with TestClient(KmsTestServer(create_service(config))) as client:
            yield client, bearer(admin[0])

    return serve


@pytest.fixture
def path(store):
    return StoreLocation.parse(store["store"]).path


def as_of_0_3_0(monkeypatch):
    """Make profiles and tokens as version 0.3.0 does: no token names an id."""
    monkeypatch.setattr(making, "new_name", lambda _: secrets.token_hex(16))

    def to_bytes(self):
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in NEWER}
        return orjson.dumps(plain)

    monkeypatch.setattr(TokenRecord, "to_bytes", to_bytes)


NEWER = ("last_used", "ids", "seq")


async def make_tenant(client, operator):
    """Make the profile and a token for it; give the token's headers and its id."""
    assert (await client.post("/profile", json=ALICE, headers=operator)).status == 200
    return await make_token(client, operator)


async def make_token(client, operator, **body):
    answer = await client.post("/tokens", json=TENANT | body, headers=operator)
    made = await answer.json()
    return {**bearer(made["token"]), **OF_ALICE}, made["record"]["id"]


async def make_key(client, headers):
    answer = await client.post("/key/generate", json={"alg": "ed25519"}, headers=headers)
    assert answer.status == 200
    return (await answer.json())["kid"]


def rows(path):
    """The sizes of all entries, by their rows. No service may have the file open."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        return dict(file.execute("SELECT id, length(value) FROM items"))


def keep(path, earlier=()):
    """Keep the database as it is: a backup. Give the row of the token made since `earlier`."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("VACUUM INTO ?", (str(path.with_name("before.db")),))
    new = {row: size for row, size in rows(path).items() if row not in earlier}
    return max(new, key=new.get)  # a record is larger than the place of the last token


async def kept_token(serving, path, **body):
    """Make the profile and a token for it, and keep the database then; also gives its row."""
    async with serving() as (client, operator):
        await client.post("/profile", json=ALICE, headers=operator)
    earlier = rows(path)
    async with serving() as (client, operator):
        headers, token_id = await make_token(client, operator, **body)
    return headers, token_id, keep(path, earlier)


def put_back(path, *statements, token=0):
    """Run statements; `token` is the row of a token in the backup."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("ATTACH ? AS before", (f"{path.with_name('before.db')}",))
        with file:
            for statement in statements:
                file.execute(statement.format(token))
                assert file.execute("SELECT changes()").fetchone() > (0,) or "tags" in statement


async def faults_in(store):
    faults, notes = [], []
    location, key = StoreLocation.parse(store["store"]), StoreKey(store["store_key"])
    async with StoreInspector.open(location, key) as inspector:
        registry = AlgorithmRegistry.from_installed()
        await verify(inspector, registry, lambda *fault: faults.append(fault), notes.append)
    return faults, notes


async def test_a_token_that_is_put_back_is_not_for_the_next_profile(serving, store, path):
    former, former_id, row = await kept_token(serving, path)
    async with serving() as (client, operator):
        await client.delete("/profile/alice", headers=operator)
        present, _ = await make_tenant(client, operator)
        kid = await make_key(client, present)
    put_back(path, *TOKEN_AGAIN, token=row)
    async with serving() as (client, operator):
        await refused(await client.get("/keys", headers=former), 401, "unauthenticated")
        await refused(await client.get(f"/key/{kid}", headers=former), 401, "unauthenticated")
        assert (await client.get(f"/key/{kid}", headers=present)).status == 200
    assert await faults_in(store) == ([("alice", "", EARLIER_TOKEN.format(former_id))], [])


async def test_a_token_that_is_put_back_does_not_make_its_profile_again(serving, store, path):
    former, _, row = await kept_token(serving, path, scopes=["profiles"])
    async with serving() as (client, operator):
        await client.delete("/profile/alice", headers=operator)
    put_back(path, *TOKEN_AGAIN, token=row)
    async with serving() as (client, operator):
        answer = await client.post("/profile", json=ALICE, headers=former)
        await refused(answer, 401, "unauthenticated")


async def test_a_profile_that_is_put_back_is_not_the_next_tenants(serving, store, path):
    """The profile's rows are put back, and the entry of the directory that leads to it."""
    async with serving() as (client, operator):
        former, _ = await make_tenant(client, operator)
        kid = await make_key(client, former)
    keep(path)
    async with serving() as (client, operator):
        await client.delete("/profile/alice", headers=operator)
        present, present_id = await make_tenant(client, operator)
        await make_key(client, present)
    put_back(path, *PROFILE_AGAIN, *DIRECTORY_AGAIN)
    async with serving() as (client, operator):
        for call in (f"/key/{kid}", "/keys"):
            await refused(await client.get(call, headers=present), 401, "unauthenticated")
        # The store is as it was then, and the operator sees the same.
        as_operator = await client.get(f"/key/{kid}", headers={**operator, **OF_ALICE})
        assert as_operator.status == 200
    faults, _ = await faults_in(store)
    assert ("alice", "", EARLIER_TOKEN.format(present_id)) in faults


@pytest.mark.parametrize("call", ["keys", "removal"])
async def test_rows_under_the_name_of_the_next_profile_are_refused(serving, store, path, call):
    """The directory is as it is, and leads to the former rows."""
    async with serving() as (client, operator):
        former, _ = await make_tenant(client, operator)
        await make_key(client, former)
    keep(path)
    async with serving() as (client, operator):
        await client.delete("/profile/alice", headers=operator)
        await make_tenant(client, operator)
    with contextlib.closing(sqlite3.connect(path)) as file:
        [(name,)] = file.execute("SELECT name FROM profiles WHERE id > 2")
    put_back(path, *PROFILE_AGAIN, f"UPDATE profiles SET name = '{name}' WHERE id > 2")
    async with serving() as (client, operator):
        headers = {**operator, **OF_ALICE}
        answer = await (
            client.get("/keys", headers=headers)
            if call == "keys"
            else client.delete("/profile/alice", headers=headers)
        )
        await refused(answer, 500, "key-unreadable")
    faults, _ = await faults_in(store)
    what = "Askar's profile for it belongs to an earlier alice: rows were exchanged in the database"
    assert ("alice", "", what) in faults


async def test_a_token_of_an_earlier_version_is_not_for_a_newer_profile(
    serving, store, path, monkeypatch, clock
):
    """Even if the clock was ahead when it was made."""
    with monkeypatch.context() as patch:
        as_of_0_3_0(patch)
        clock(3600)
        former, former_id, row = await kept_token(serving, path)
        clock(0)
    async with serving() as (client, operator):
        await client.delete("/profile/alice", headers=operator)
        await make_tenant(client, operator)
    put_back(path, *TOKEN_AGAIN, token=row)
    async with serving() as (client, operator):
        await refused(await client.get("/keys", headers=former), 401, "unauthenticated")
    assert await faults_in(store) == ([("alice", "", EARLIER_TOKEN.format(former_id))], [])


async def test_tokens_of_an_earlier_version_work_on_in_its_profiles(
    serving, store, path, monkeypatch, tmp_path, make_store
):
    """And in a copy; but one that is older than its profile does not."""
    with monkeypatch.context() as patch:
        as_of_0_3_0(patch)
        async with serving() as (client, operator):
            older, older_id = await make_token(client, operator)
            present, present_id = await make_tenant(client, operator)
            kid = await make_key(client, present)
    url = f"sqlite://{tmp_path}/copy.db"
    for served in (store["store"], url):
        if served == url:
            key = StoreKey(store["store_key"])
            location = StoreLocation.parse(store["store"])
            async with (
                StoreInspector.open(location, key) as source,
                StoreWriter.create(StoreLocation.parse(url), key) as target,
            ):
                async for _ in copy(source, target, lambda _: None):
                    pass
        async with serving(store=served) as (client, operator):
            assert (await client.get(f"/key/{kid}", headers=present)).status == 200
            await refused(await client.get("/keys", headers=older), 401, "unauthenticated")
            listed = await (await client.get("/tokens", headers=present)).json()
            assert [each["id"] for each in listed] == [older_id, present_id]
    assert Path(f"{tmp_path}/copy.db").exists()


async def test_a_copy_has_the_tokens_of_its_profiles(serving, store, tmp_path):
    async with serving() as (client, operator):
        present, _ = await make_tenant(client, operator)
        kid = await make_key(client, present)
    key, url = StoreKey(store["store_key"]), f"sqlite://{tmp_path}/copy.db"
    async with (
        StoreInspector.open(StoreLocation.parse(store["store"]), key) as source,
        StoreWriter.create(StoreLocation.parse(url), key) as target,
    ):
        async for _ in copy(source, target, lambda _: None):
            pass
    async with serving(store=url) as (client, operator):
        assert (await client.get(f"/key/{kid}", headers=present)).status == 200
    assert await faults_in({**store, "store": url}) == ([], [])


async def test_a_token_that_is_older_than_its_profile_is_noted(serving, store):
    """Nobody has to have tampered with the store."""
    async with serving() as (client, operator):
        _, token_id = await make_token(client, operator)
        assert (await client.post("/profile", json=ALICE, headers=operator)).status == 200
    assert await faults_in(store) == (
        [],
        [f"the token {token_id} is older than the profile alice"],
    )


async def test_tags_of_tokens_that_were_exchanged_are_found(serving, store, path):
    """The database alone finds the tokens of a profile, by their tags."""
    token_ids = []
    async with serving() as (client, operator):
        for profile in ("alice", "bob"):
            await client.post("/profile", json={"name": profile}, headers=operator)
            _, token_id = await make_token(client, operator, profiles=[profile])
            token_ids.append(token_id)
    assert await faults_in(store) == ([], [])
    with contextlib.closing(sqlite3.connect(path)) as file:
        # Only tokens have tags in the store's own profile, and two of them a profile.
        tagged = "SELECT DISTINCT item_id FROM items_tags WHERE plaintext = 0 AND item_id IN"
        of_store = "(SELECT id FROM items WHERE profile_id = 1)"
        (one,), (other,) = file.execute(f"{tagged} {of_store}")
        with file:
            file.execute(
                "UPDATE items_tags SET item_id = ? - item_id WHERE item_id IN (?, ?)",
                (one + other, one, other),
            )
    faults, notes = await faults_in(store)
    what = "the tags of the token {} do not match its record"
    assert sorted(faults) == sorted(("", "", what.format(each)) for each in token_ids)
    assert notes == []


async def test_a_token_is_for_the_profile_that_it_makes(serving):
    """Any other token that was made before the profile is not for it."""
    async with serving() as (client, operator):
        scopes = ["profiles", "keys:read"]
        maker, other = [(await make_token(client, operator, scopes=scopes))[0] for _ in "12"]
        for headers in (maker, other):
            await refused(await client.get("/keys", headers=headers), 404, "profile-not-found")
        assert (await client.post("/profile", json=ALICE, headers=maker)).status == 200
        assert (await client.get("/keys", headers=maker)).status == 200
        await refused(await client.get("/keys", headers=other), 401, "unauthenticated")


async def test_no_process_lets_a_token_into_a_profile_that_was_made_later(serving):
    """The other process has the token in its cache, from a time without that profile."""
    async with serving() as (one, operator), serving() as (other, _):
        token, _ = await one.app[TOKENS].create("t", ("keys:read",), ("alice",))
        headers = {**bearer(token.reveal()), **OF_ALICE}
        await refused(await other.get("/keys", headers=headers), 404, "profile-not-found")
        await one.post("/profile", json=ALICE, headers=operator)
        await refused(await other.get("/keys", headers=headers), 401, "unauthenticated")
