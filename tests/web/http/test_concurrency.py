"""Many concurrent callers: each gets its own answer, and the store stays consistent."""

import asyncio
from collections import Counter

import pytest
from aiohttp import ClientSession
from http_answers import pages
from minikms_processes import begin_and_answer, services
from problems import slug_of

from minikms.config import Config
from minikms.serve.assembly import create_service

CALLERS = 32


STORES = [
    ("memory", 1),
    ("sqlite", 1),
    ("postgres", 1),
    pytest.param("sqlite", 2, marks=pytest.mark.process),
    pytest.param("postgres", 2, marks=pytest.mark.process),
]


pytestmark = pytest.mark.parametrize(("kind", "processes"), STORES)


@pytest.fixture(scope="module")
def shared(request, tmp_path_factory, make_store):
    """The URL of a service with several processes, for all tests of this module."""
    addresses = {}
    with services() as start:

        async def address(kind, processes):
            if kind not in addresses:
                url = f"sqlite://{tmp_path_factory.mktemp('shared')}/keys.db"
                if kind == "postgres":
                    url = request.getfixturevalue("postgres_server").create_database()
                options = await make_store(url)
                options["workers"] = str(processes)
                _, addresses[kind] = await begin_and_answer(start, options)
            return addresses[kind]

        yield address


@pytest.fixture
async def client(kind, processes, start, empty_store, shared):
    """An empty service on each store, and as several processes if they can share the store."""
    if processes == 1:
        yield await start(create_service(Config(**await empty_store(kind))))
        return
    async with ClientSession(await shared(kind, processes)) as session:
        async with session.get("/profiles") as response:
            others = set((await response.json())["profiles"]) - {"default"}
        async with session.get("/keys?limit=1000") as response:
            kids = [key["kid"] for key in await response.json()]
        for path in [f"/profile/{name}" for name in others] + [f"/key/{kid}" for kid in kids]:
            async with session.delete(path) as response:
                assert response.status == 200
        yield session


async def answer(call):
    """A call's status, and the slug of its problem."""
    async with call as response:
        return response.status, await slug_of(response)


async def at_once(calls):
    """Count the answers."""
    return Counter(await asyncio.gather(*(answer(call) for call in calls)))


async def test_one_deletes_a_key(client, generate):
    key = await generate()
    found = await at_once(client.delete(f"/key/{key['kid']}") for _ in range(CALLERS))
    assert found == {(200, ""): 1, (404, "key-not-found"): CALLERS - 1}


async def test_one_makes_a_profile(client):
    found = await at_once(client.post("/profile", json={"name": "new"}) for _ in range(CALLERS))
    assert found == {(200, ""): 1, (400, "profile-exists"): CALLERS - 1}


async def test_one_deletes_a_profile(client):
    await client.post("/profile", json={"name": "old"})
    calls = [client.delete("/profile/old") for _ in range(CALLERS)]
    answers = await asyncio.gather(*calls)
    assert Counter([(await a.json())["success"] for a in answers]) == {True: 1, False: CALLERS - 1}


async def test_an_alias_moved_by_many_ends_at_one_key(client, generate):
    kids = [(await generate())["kid"] for _ in range(4)]
    calls = [
        client.post(f"/key/{kids[n % 4]}/associate", json={"alias": alias})
        for n in range(CALLERS)
        for alias in ("moves", "moves too")
    ]
    assert await at_once(calls) == {(200, ""): 2 * CALLERS}
    keys = await (await client.get("/keys")).json()
    for alias in ("moves", "moves too"):
        found = await (await client.get("/key", params={"alias": alias})).json()
        assert found.pop("cose_key")
        assert [key for key in keys if alias in key["aliases"]] == [found]
        assert found["aliases"].count(alias) == 1


@pytest.mark.parametrize("length", [5, 4096])
async def test_one_gets_a_free_alias(client, generate, length):
    """In a new profile each time, so that theirs are its first keys, and then among others."""
    for turn in range(6):
        profile = {"X-Profile": f"p{turn // 2}"}
        if turn % 2 == 0:
            await client.post("/profile", json={"name": profile["X-Profile"]})
        before = len(await (await client.get("/keys", headers=profile)).json())
        body = {"alg": "ed25519", "alias": f"{turn}" * length, "alias_taken": "refuse"}
        found = await at_once(
            client.post("/key/generate", json=body, headers=profile) for _ in range(8)
        )
        assert found == {(200, ""): 1, (409, "alias-exists"): 7}
        keys = await (await client.get("/keys", headers=profile)).json()
        assert len(keys) == before + 1
        assert keys[-1]["aliases"] == [body["alias"]]


async def test_one_key_is_imported_by_many(client):
    """In a new profile each time, and then again."""
    seed = {"alg": "ed25519", "seed": "A" * 43}
    for turn in range(3):
        headers = {"X-Profile": f"p{turn}"}
        await client.post("/profile", json={"name": headers["X-Profile"]})
        for _ in range(2):
            calls = [
                client.post(
                    "/key/import",
                    json=seed | {"if_exists": "keep", "alias": f"{n}"},
                    headers=headers,
                )
                for n in range(8)
            ]
            assert await at_once(calls) == {(200, ""): 8}
            (key,) = await (await client.get("/keys", headers=headers)).json()
            assert sorted(key["aliases"]) == [f"{n}" for n in range(8)]


async def test_one_gets_a_free_alias_for_its_key(client, generate):
    kids = [(await generate())["kid"] for _ in range(8)]
    body = {"alias": "free", "alias_taken": "refuse"}
    found = await at_once(client.post(f"/key/{kid}/associate", json=body) for kid in kids)
    assert found == {(200, ""): 1, (409, "alias-exists"): 7}
    named = [key["aliases"] for key in await (await client.get("/keys")).json()]
    assert sorted(named) == [[]] * 7 + [["free"]]


async def test_keys_deleted_while_an_alias_moves_between_them(client, generate):
    kids = [(await generate())["kid"] for _ in range(8)]
    name = [client.post(f"/key/{kid}/associate", json={"alias": "moves"}) for kid in kids * 4]
    remove = [client.delete(f"/key/{kid}") for kid in kids[1:]]
    mixed = [call for n, call in enumerate(name) for call in (call, *remove[n : n + 1])]
    assert set(await at_once(mixed)) == {(200, ""), (404, "key-not-found")}
    # The last to be named may be the last to be deleted: then the alias went with it.
    (left,) = await (await client.get("/keys")).json()
    found = await answer(client.get("/key", params={"alias": "moves"}))
    assert (left["kid"], left["aliases"], found) in [
        (kids[0], ["moves"], (200, "")),
        (kids[0], [], (404, "alias-not-found")),
    ]
    assert (await client.post(f"/key/{kids[0]}/associate", json={"alias": "moves"})).status == 200
    named = await (await client.get("/key", params={"alias": "moves"})).json()
    assert named == {
        **left,
        "aliases": ["moves"],
        "cose_key": named["cose_key"],
    }


async def test_keys_made_at_once_are_each_listed_once(client):
    calls = (client.post("/key/generate", json={"alg": "ed25519"}) for _ in range(60))
    answers = await asyncio.gather(*calls)
    kids = {(await response.json())["kid"] for response in answers}
    listed = [kid for page in await pages(client, "/keys?limit=9") for kid in page]
    assert (len(kids), len(listed), set(listed)) == (60, 60, kids)


async def test_each_failing_call_gets_its_own_problem(client):
    kinds = {
        (404, "key-not-found"): lambda n: client.get(f"/key/unknown-{n}"),
        (404, "alias-not-found"): lambda n: client.get("/key", params={"alias": f"unknown-{n}"}),
        (404, "profile-not-found"): lambda n: client.get(
            "/keys", headers={"X-Profile": f"unknown-{n}"}
        ),
        (400, "profile-exists"): lambda n: client.post("/profile", json={"name": "default"}),
    }
    work = iter([(kind, n) for n in range(48) for kind in kinds])
    wrong, done = [], 0

    async def worker():
        nonlocal done
        for kind, n in work:
            found = await answer(kinds[kind](n))
            wrong.extend([(kind, found)] if found != kind else [])
            done += 1

    await asyncio.gather(*(worker() for _ in range(32)))
    assert (wrong, done) == ([], 192)


async def test_one_fails_among_63_others(client, post):
    """Their writes wait together: it gets its problem, and they their keys."""
    taken = {"alg": "ed25519", "seed": "A" * 43, "alias": "taken"}
    assert (await client.post("/key/import", json=taken)).status == 200
    alias = {"alg": "ed25519", "alias": "taken", "alias_taken": "refuse"}
    failing = [
        ((409, "key-exists"), lambda: client.post("/key/import", json=taken)),
        ((409, "alias-exists"), lambda: client.post("/key/generate", json=alias)),
        ((404, "key-not-found"), lambda: client.post("/key/none/rotate")),
        ((404, "key-not-found"), lambda: client.post("/key/none/associate", json={"alias": "a"})),
        ((404, "key-not-found"), lambda: client.delete("/key/none")),
    ]
    for turn, (problem, call) in enumerate(failing):

        async def make(n, turn=turn):
            body = {"alg": "ed25519", "alias": f"{turn} {n}"}
            return (await post("/key/generate", body))["kid"]

        calls = [make(n) for n in range(63)]
        calls.insert(31, answer(call()))
        found = await asyncio.gather(*calls)
        assert found.pop(31) == problem
        keys = await (await client.get("/keys?limit=1000")).json()
        named = {alias: key["kid"] for key in keys for alias in key["aliases"]}
        assert [named[f"{turn} {n}"] for n in range(63)] == found
        assert len(keys) == 1 + 63 * (turn + 1)


@pytest.mark.parametrize("seed", range(3))
async def test_a_profile_deleted_while_it_is_used(client, generate, seed):
    name = f"tenant-{seed}"
    headers = {"X-Profile": name}
    await client.post("/profile", json={"name": name})
    kid = (await generate("ed25519", name))["kid"]
    await client.post(f"/key/{kid}/associate", json={"alias": "a"}, headers=headers)
    body = {"kid": kid, "data": ""}
    calls = [
        lambda n: client.post("/key/generate", json={"alg": "a256gcm"}, headers=headers),
        lambda n: client.post("/sign", json=body, headers=headers),
        lambda n: client.get("/key", params={"alias": "a"}, headers=headers),
        lambda n: client.get("/keys", headers=headers),
        lambda n: client.post(f"/key/{kid}/associate", json={"alias": f"{n}"}, headers=headers),
        lambda n: client.delete(f"/key/unknown-{n}", headers=headers),
    ]
    made = [call(n) for n in range(20) for call in calls]
    made.insert((seed + 1) * len(made) // 5, client.delete(f"/profile/{name}"))
    assert set(await at_once(made)) <= {
        (200, ""),
        (404, "profile-not-found"),
        (404, "key-not-found"),
        (404, "alias-not-found"),
    }
    found = await client.get("/keys", headers=headers)
    assert found.status == 404
    assert (await client.get("/readyz")).status == 200


async def test_one_rotates_a_key(client, generate, post):
    key = await generate(alias="a")
    body = {"alias": "a", "data": ""}
    signed = {"sig": (await post("/sign", body))["sig"]}
    found = await at_once(client.post(f"/key/{key['kid']}/rotate") for _ in range(CALLERS))
    assert found == {(200, ""): 1, (409, "key-not-usable"): CALLERS - 1}
    old, new = await (await client.get("/keys")).json()
    assert (old["kid"], old["state"], old["aliases"]) == (key["kid"], "verify-only", [])
    assert (new["state"], new["aliases"]) == ("enabled", ["a"])
    named = await (await client.get("/key?alias=a")).json()
    assert named == new | {"cose_key": named["cose_key"], "predecessors": [old["kid"]]}
    assert (await post("/verify", body | signed))["valid"] is True


async def test_signing_and_verifying_by_an_alias_whose_key_rotates(client, generate, post):
    await generate(alias="a")
    body, done = {"alias": "a", "data": ""}, asyncio.Event()

    async def rotate():
        for _ in range(10):
            kid = (await (await client.get("/key?alias=a")).json())["kid"]
            assert (await client.post(f"/key/{kid}/rotate")).status == 200
        done.set()

    async def use():
        sigs = set()  # one for each key, whose signatures of the same data are the same
        while not done.is_set():
            # Found by its alias, and rotated before it is asked: no caller sees the moment between.
            sigs.add((await post("/sign", body))["sig"])
        items = [{"data": "", "sig": sig} for sig in sigs]
        results = await post("/verify/batch", {"alias": "a", "items": items})
        assert {one["valid"] for one in results["results"]} == {True}
        return sigs

    _, *sigs = await asyncio.gather(rotate(), *(use() for _ in range(2)))
    assert len(set().union(*sigs)) > 1


async def test_deleted_restored_and_rotated_at_once(client, generate):
    kids = [(await generate(alias=f"of {n}"))["kid"] for n in range(4)]
    calls = [
        call
        for _ in range(4)
        for kid in kids
        for call in (
            client.delete(f"/key/{kid}?after=1d"),
            client.post(f"/key/{kid}/restore"),
            client.post(f"/key/{kid}/rotate"),
        )
    ]
    found = await at_once(calls)
    assert found.keys() <= {(200, ""), (409, "key-not-usable")}
    keys = await (await client.get("/keys")).json()
    for n in range(4):
        named = await (await client.get("/key", params={"alias": f"of {n}"})).json()
        assert named.pop("cose_key")
        named.pop("predecessors", None)  # of a key that was rotated
        assert [key for key in keys if f"of {n}" in key["aliases"]] == [named]
