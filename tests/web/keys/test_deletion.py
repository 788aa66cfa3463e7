"""Keys that are deleted later: until then, from then on, and once they are removed."""

import asyncio
import pkgutil
import time
from datetime import datetime

import pytest
from http_answers import pages
from problems import refused
from waiting import until, waiting_for

from minikms.config import Config
from minikms.errors import KeyNotFound, KeyUnreadable, ProfileNotFound
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.records import KeyRecord
from minikms.serve.assembly import create_service
from minikms.store.categories import KEY
from minikms.store.keys.deletions import Deletions
from minikms.web.state import SERVICE, STORE

DATA = "aGVsbG8="


@pytest.fixture
async def own_client(start_swept, any_store):
    """A client of a service that has looked once for due keys, as it does when it starts."""
    return await start_swept(create_service(Config(**any_store)))


async def schedule(client, kid, after="7d"):
    async with client.delete(f"/key/{kid}?after={after}") as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def let_be_due(client, kid, profile="default"):
    """Let the time come that a key was given; it is still kept, as nobody has swept."""
    await client.app[SERVICE].operations.store.deletions.schedule(
        profile, KeyRef(kid), time.time_ns()
    )


async def kept(client, profile="default"):
    """Count the entries of keys: records, aliases, scheduled deletions, material of any form."""
    database = client.app[SERVICE].operations.store._database

    async def work(session):
        names = ("key", "alias", "deletion")
        counts = [await session.count(f"minikms.{name}") for name in names]
        records = [KeyRecord.from_bytes(row.value) for row in await session.fetch_all(KEY)]
        sealed = sum(bool(record.sealed) for record in records)
        return (*counts, sealed + len(await session.all_keys()))

    return await database.run(profile, work)


@pytest.mark.each_store
async def test_an_alias_names_the_key_to_delete(client, generate):
    key, other = await generate(alias="did:example:1#a b"), await generate(alias="other")
    await client.post(f"/key/{key['kid']}/associate", json={"alias": "second"})
    query = {"alias": "did:example:1#a b"}
    async with client.delete("/key", params=query | {"after": "7d"}) as response:
        assert response.status == 200
        done = await response.json()
    assert (done["message"], done["kid"]) == ("Key deletion scheduled", key["kid"])
    found = await (await client.get("/key", params=query)).json()
    assert (found["deletes"], found["kid"]) == (done["deletes"], key["kid"])
    async with client.delete("/key", params=query) as response:
        assert await response.json() == {"message": "Key deleted", "kid": key["kid"]}
    for alias in (*query.values(), "second"):
        await refused(await client.delete("/key", params={"alias": alias}), 404, "alias-not-found")
    await refused(await client.get(f"/key/{key['kid']}"), 404, "key-not-found")
    assert await (await client.get("/keys")).json() == [other]
    assert await kept(client) == (1, 1, 0, 1)


@pytest.mark.shared_service
@pytest.mark.parametrize(
    "query", ["", "?alias=", "?alias=a&after=9999d", "?after=7d", "?alias=a%00"]
)
async def test_a_malformed_alias_to_delete_is_refused(client, query):
    await refused(await client.delete(f"/key{query}"), 422, "validation-failed")


async def test_the_alias_of_an_overdue_key_is_not_found(client, generate):
    key = await generate(alias="a")
    await let_be_due(client, key["kid"])
    await refused(await client.delete("/key?alias=a"), 404, "alias-not-found")
    await refused(await client.delete("/key?alias=a&after=7d"), 404, "alias-not-found")


@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("after", "seconds"),
    [("1s", 1), ("31536000s", 365 * 86400), ("90m", 5400), ("36h", 129600), ("365d", 365 * 86400)],
)
async def test_a_deletion_waits_for_the_given_time(client, generate, after, seconds):
    key = await generate(alias="a")
    earliest = time.time() + seconds
    done = await schedule(client, key["kid"], after)
    latest = time.time() + seconds
    assert done == {
        "message": "Key deletion scheduled",
        "kid": key["kid"],
        "deletes": done["deletes"],
    }
    assert earliest - 0.001 <= datetime.fromisoformat(done["deletes"]).timestamp() <= latest
    if seconds > 1:
        found = await (await client.get("/key?alias=a")).json()
        state = {"state": "disabled", "deletes": done["deletes"]}
        assert found == key | state | {"cose_key": found["cose_key"]}


@pytest.mark.shared_service
@pytest.mark.parametrize(
    "after",
    ["", "0s", "0d", "7", "d", "7w", "7D", "-7d", "+7d", "07d", "7.5d", "7d7h", "%207d", "7d%0A",
     "366d", "8761h", "525601m", "31536001s", "99999999d", "٧d", "1_0d"],
)  # fmt: skip
async def test_times_that_are_none(client, generate, after):
    key = await generate()
    response = await client.delete(f"/key/{key['kid']}?after={after}")
    problem = await refused(response, 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["#/after"]
    found = await (await client.get(f"/key/{key['kid']}")).json()
    assert found == key | {"cose_key": found["cose_key"]}


@pytest.mark.each_store
async def test_a_key_that_is_not_there(client, generate):
    kid = (await generate())["kid"]
    await client.post("/profile", json={"name": "other"})
    for headers, name in (({}, "unknown"), ({"X-Profile": "other"}, kid)):
        for method, path in (("DELETE", f"/key/{name}?after=1d"), ("POST", f"/key/{name}/restore")):
            await refused(await client.request(method, path, headers=headers), 404, "key-not-found")


@pytest.mark.each_store
@pytest.mark.parametrize("state", ["enabled", "disabled", "verify-only"])
async def test_until_then_it_comes_back_as_it_was(client, generate, state):
    kid = (await generate(alias="a", labels={"n": "1"}))["kid"]
    async with client.patch(f"/key/{kid}", json={"state": state}) as response:
        before = await response.json()
    await schedule(client, kid)
    for body in ({"state": "enabled"}, {"expires": None}, {"labels": {}}):
        response = await client.patch(f"/key/{kid}", json=body)
        await refused(response, 409, "key-not-usable")
    for _ in range(2):  # a key that is not scheduled stays unchanged
        async with client.post(f"/key/{kid}/restore") as response:
            assert await response.json() == before
    found = await (await client.get("/key?alias=a")).json()
    assert found == before | {"cose_key": found["cose_key"]}
    assert await kept(client) == (1, 1, 0, 1)


@pytest.mark.each_store
async def test_another_time_and_at_once(client, generate):
    kid = (await generate("hs256", alias="a"))["kid"]
    times = [(await schedule(client, kid, after))["deletes"] for after in ("2d", "9d", "1d")]
    assert times[2] < times[0] < times[1]
    assert (await (await client.get(f"/key/{kid}")).json())["deletes"] == times[2]
    assert await kept(client) == (1, 1, 1, 1)
    async with client.delete(f"/key/{kid}") as response:
        assert await response.json() == {"message": "Key deleted", "kid": kid}
    await refused(await client.get(f"/key/{kid}"), 404, "key-not-found")
    assert await kept(client) == (0, 0, 0, 0)


@pytest.mark.each_store
async def test_a_scheduled_key_is_gone_at_its_time(client, generate):
    kid = (await generate())["kid"]
    deletes = datetime.fromisoformat((await schedule(client, kid, "1s"))["deletes"])
    async with asyncio.timeout(60):
        while (response := await client.get(f"/key/{kid}")).status == 200:
            await asyncio.sleep(0.02)
    await refused(response, 404, "key-not-found")
    assert time.time() >= deletes.timestamp()


@pytest.mark.each_store
async def test_from_then_on_it_is_not_there(client, refuses, post, generate):
    key = await generate("p256", alias="a", exportable=True)
    other = await generate()
    await let_be_due(client, key["kid"])
    path, by = f"/key/{key['kid']}", {"kid": key["kid"]}
    for method, where, body in [
        ("GET", path, None),
        ("GET", f"{path}/export", None),
        ("PATCH", path, {"state": "enabled"}),
        ("DELETE", path, None),
        ("DELETE", f"{path}?after=1d", None),
        ("DELETE", f"{path}/associate?alias=a", None),
        ("POST", f"{path}/associate", {"alias": "b"}),
        ("POST", f"{path}/restore", None),
        ("POST", f"{path}/rotate", None),
        ("POST", "/sign", by | {"data": DATA}),
        ("POST", "/verify", by | {"data": DATA, "sig": ""}),
        ("POST", "/jws/verify", by | {"jws": ""}),
    ]:
        await refused(await client.request(method, where, json=body), 404, "key-not-found")
    await refused(await client.get("/key?alias=a"), 404, "alias-not-found")
    body = {"alias": "a", "data": DATA}
    await refuses("/sign", body, 404, "alias-not-found")
    assert await (await client.get("/keys")).json() == [other]
    assert await (await client.get("/keys?alias=a")).json() == []
    assert len((await (await client.get("/jwks.json")).json())["keys"]) == 1
    # The store still has all its entries, but its kid and alias are free.
    assert await kept(client) == (2, 1, 1, 2)
    async with client.post(f"/key/{other['kid']}/associate", json={"alias": "a"}) as response:
        assert response.status == 200
    assert (await post("/key/import", {"jwk": key["jwk"]}))["kid"] == key["kid"]
    assert await kept(client) == (2, 1, 0, 1)
    assert (await (await client.get("/key?alias=a")).json())["kid"] == other["kid"]


@pytest.mark.each_store
async def test_pages_leave_out_overdue_keys(client, generate):
    kids = [(await generate())["kid"] for _ in range(7)]
    for kid in kids[1:4]:
        await let_be_due(client, kid)
    assert await pages(client, "/keys?limit=2") == [[kids[0], kids[4]], kids[5:]]


@pytest.mark.each_store
async def test_overdue_keys_of_every_profile_are_swept(client, generate, start, any_store):
    await client.post("/profile", json={"name": "other"})
    left = await generate("hs256", alias="left")
    later = await generate()
    await schedule(client, later["kid"])
    service = client.app[SERVICE]
    for profile in ("default", "other"):
        for alg in ("ed25519", "hs256", "p521"):
            key = await generate(alg, profile, alias=f"of {alg}")
            await service.operations.store.deletions.schedule(
                profile, KeyRef(key["kid"]), time.time_ns()
            )
    sweepers = [service]
    if any_store:
        sweepers.append((await start(create_service(Config(**any_store)))).app[SERVICE])
    await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers for _ in range(5)))
    assert await kept(client) == (2, 1, 1, 2)
    assert await kept(client, "other") == (0, 0, 0, 0)
    found = await (await client.get("/keys")).json()
    assert [key["kid"] for key in found] == [left["kid"], later["kid"]]


@pytest.mark.each_store
async def test_each_removal_has_one_line_however_many_sweep(client, generate, start, any_store):
    kids = [(await generate())["kid"] for _ in range(5)]
    for kid in kids:
        await let_be_due(client, kid)
    sweepers = [client.app[SERVICE]]
    if any_store:
        sweepers.append((await start(create_service(Config(**any_store)))).app[SERVICE])
    lines = []

    def sink(events, outcome):
        lines.extend((each.operation, each.kid, outcome) for each in events)

    await asyncio.gather(*(sweeper.sweep(sink) for sweeper in sweepers for _ in range(4)))
    assert lines.count(("sweepKey", kids[0], "success")) <= 1
    assert len(lines) == len(set(lines))
    assert await kept(client) == (0, 0, 0, 0)


@pytest.mark.each_store
async def test_restored_while_others_sweep(client, generate):
    kids = [(await generate())["kid"] for _ in range(8)]
    for kid in kids:
        await schedule(client, kid)
    service = client.app[SERVICE]

    async def back(kid):
        async with client.post(f"/key/{kid}/restore") as response:
            return response.status

    sweeps = [service.sweep() for _ in range(8)]
    statuses = await asyncio.gather(*map(back, kids), *sweeps)
    assert statuses[: len(kids)] == [200] * len(kids)
    assert await kept(client) == (8, 0, 0, 8)


@pytest.fixture
def paused(monkeypatch):
    """Let the next call of a coroutine function wait; gives events for its start and its end."""

    def pause(name):
        begun, go_on = asyncio.Event(), asyncio.Event()
        target = pkgutil.resolve_name(name)

        async def wait(*args, **options):
            if not begun.is_set():
                begun.set()
                await go_on.wait()
            return await target(*args, **options)

        monkeypatch.setattr(name, wait)
        return begun, go_on

    return pause


async def test_restored_while_another_service_removes_it(persistent, start, paused, clock):
    """The other's clock is ahead: the key is due there, and not here."""
    here, there = [await start(create_service(Config(**persistent))) for _ in range(2)]
    async with here.post("/key/generate", json={"alg": "hs256"}) as response:
        kid = (await response.json())["kid"]
    await schedule(here, kid, "1h")
    begun, go_on = paused("minikms.store.keys.deletions.replace_scheduled")
    restoring = asyncio.create_task(here.post(f"/key/{kid}/restore"))
    async with waiting_for("a key that is being restored"):
        await begun.wait()
    clock(2 * 3600)
    removing = asyncio.create_task(there.app[SERVICE].sweep())
    database = there.app[STORE].database
    await until("a sweep", lambda: database.pool.in_use + database.pool.waiting)
    await asyncio.sleep(0.1)  # until it has come to the key, or waits for the file
    go_on.set()
    await removing
    assert (await restoring).status == 200
    assert (await (await there.get(f"/key/{kid}")).json())["deletes"] is None
    assert await kept(there) == (1, 0, 0, 1)


@pytest.mark.parametrize("change", ["POST /key/{kid}/restore", "DELETE /key/{kid}?after=9h"])
async def test_changed_before_it_is_noted_as_due(client, generate, paused, clock, change):
    """On a machine whose clock is behind, a call that finds the key due leaves it unchanged."""
    kid = (await generate())["kid"]
    await schedule(client, kid, "1h")
    begun, go_on = paused("minikms.store.keys.deletions.Deletions.record")
    clock(2 * 3600)
    finding = asyncio.create_task(client.get(f"/key/{kid}"))
    async with waiting_for("a call that finds it due"):
        await begun.wait()
    clock(0)
    method, path = change.format(kid=kid).split()
    async with client.request(method, path) as response:
        assert response.status == 200
    go_on.set()
    await refused(await finding, 404, "key-not-found")
    assert (await client.get(f"/key/{kid}")).status == 200


async def test_a_service_sweeps_when_it_starts(persistent_url, make_store, start):
    options = await make_store(persistent_url)
    first = await start(create_service(Config(**options)))
    async with first.post("/key/generate", json={"alg": "ed25519"}) as response:
        kid = (await response.json())["kid"]
    await let_be_due(first, kid)
    second = await start(create_service(Config(**options)))
    async with asyncio.timeout(60):
        while await kept(second) != (0, 0, 0, 0):
            await asyncio.sleep(0.02)


async def test_services_sweep_again_and_again(persistent_url, make_store, start, monkeypatch):
    monkeypatch.setattr("minikms.serve.upkeep._SWEEP_EVERY", 0.02)
    options = await make_store(persistent_url)
    first = await start(create_service(Config(**options)))
    async with first.post("/key/generate", json={"alg": "ed25519"}) as response:
        kid = (await response.json())["kid"]
    await let_be_due(first, kid)
    second = await start(create_service(Config(**options)))
    async with asyncio.timeout(60):
        while await kept(second) != (0, 0, 0, 0):
            await asyncio.sleep(0.02)


@pytest.mark.each_store
async def test_one_that_cannot_be_removed_holds_up_none(client, generate, caplog):
    kids = [(await generate("hs256", alias=name))["kid"] for name in "abc"]
    store = client.app[SERVICE].operations.store
    await store._database.run(
        "default", lambda session: session.remove("minikms.alias", "a"), write=True
    )
    for kid in kids:
        await let_be_due(client, kid)
    told = []

    def sink(events, outcome):
        told.extend((event.kid, outcome) for event in events)

    await client.app[SERVICE].sweep(sink)
    assert sorted(told) == sorted((kid, "success") for kid in kids[1:])
    assert f"the key {kids[0]}, whose deletion is due, cannot be removed" in caplog.text
    assert await kept(client) == (1, 0, 1, 1)


@pytest.mark.parametrize("failure", [KeyUnreadable, ProfileNotFound])
async def test_a_profile_that_cannot_be_read_holds_up_no_other(
    client, post, monkeypatch, caplog, failure
):
    """Profiles are swept by name, and this one is the first; it may be removed meanwhile."""
    await post("/profile", {"name": "a"})
    service, kid = client.app[SERVICE], (await post("/key/generate", {"alg": "ed25519"}))["kid"]
    await let_be_due(client, kid)
    other = await service.creation.generate("a", "ed25519", KeyPolicy())
    await let_be_due(client, other.kid, "a")
    due = Deletions.due

    async def failing(self, profile, **more):
        if profile == "a":
            raise failure
        return await due(self, profile, **more)

    monkeypatch.setattr(Deletions, "due", failing)
    await client.app[SERVICE].sweep()
    assert await kept(client) == (0, 0, 0, 0)
    is_logged = "due keys of a profile are not deleted" in caplog.text
    assert is_logged == (failure is KeyUnreadable)


@pytest.mark.each_store
async def test_a_sweep_leaves_keys_that_are_not_due(client, generate):
    kid = (await generate())["kid"]
    store = client.app[SERVICE].operations.store
    assert not await store.deletions.remove_due("default", kid)
    await schedule(client, kid)
    assert not await store.deletions.remove_due("default", kid)
    assert not await store.deletions.remove_due("default", "unknown")
    await let_be_due(client, kid)
    assert await store.deletions.due("default") == [kid]
    assert await store.deletions.remove_due("default", kid)
    with pytest.raises(KeyNotFound):
        await store.deletions.delete("default", KeyRef(kid))
