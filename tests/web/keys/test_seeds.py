"""Seed keys: the keys of a file, loaded at the start."""

import asyncio
import fcntl
import json
import logging
import re

import pytest
from base64url import b64, raw
from document_blocks import ROOT, section

from minikms.config import Config
from minikms.plugin.protocol import SecretImporter, SeedImporter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.startup_errors import SeedError
from minikms.web import seeds
from minikms.web.app import create_runner
from minikms.web.state import SERVICE

DOCUMENT = section((ROOT / "docs/operations/access.md").read_text("utf-8"), "## Seed keys")
# RFC 8037 appendix A.1 to A.3.
SECRET = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
PUBLIC = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
KID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
GOOD = {"alg": "ed25519", "seed": SECRET}
AES = {"alg": "a256gcm", "secret": SECRET, "kid": "aes-1"}
OCT = {"kty": "oct", "alg": "A256GCM", "k": SECRET}
# RFC 6979 appendix A.2.5: the private key, and x of the public one.
P256 = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
P256_X = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"


@pytest.fixture
def seed(tmp_path):
    """The configuration of a service that loads this content."""

    def write(content, **options):
        file = tmp_path / "keys.json"
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return Config(seed_keys=str(file), **options)

    return write


@pytest.fixture
def counts(caplog):
    """For each start, how many keys were loaded and how many were there."""
    caplog.set_level(logging.INFO, "minikms.web.seeds")

    def read():
        lines = [record for record in caplog.records if record.levelno == logging.INFO]
        return [record.args[1:] for record in lines if record.name == "minikms.web.seeds"]

    return read


async def keys_of(client, profile="default"):
    async with client.get("/keys", headers={"X-Profile": profile}) as response:
        assert response.status == 200
        return await response.json()


async def profiles_of(client):
    return (await (await client.get("/profiles")).json())["profiles"]


async def test_the_example_of_the_documentation(start, seed, counts):
    (example,) = re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\S+)` \| (.*)\|$", DOCUMENT, re.MULTILINE)
    client = await start(create_service(seed(example.encode())))
    found = [
        (profile, key["alg"], key["kid"], tuple(key["aliases"]))
        for profile in await profiles_of(client)
        for key in await keys_of(client, profile)
    ]
    assert sorted(found) == sorted(
        (*row, tuple(re.findall("`(.*?)`", names))) for *row, names in rows
    )
    assert counts() == [(len(rows), 0)]
    assert set(json.loads(example)["profiles"]) <= set(await profiles_of(client))


async def test_all_that_an_entry_may_say(start, seed):
    entry = {
        "jwk": PUBLIC | {"d": SECRET, "kid": "did:example:1#not-a-kid", "use": "sig"},
        "kid": KID,
        "profile": "alice",
        "aliases": ["did:example:1#k", "two", "é" * 4096],
        "labels": {"purpose": "assertion"},
        "operations": ["sign"],
        "exportable": True,
    }
    client = await start(create_service(seed({"profiles": ["bob", "default"], "keys": [entry]})))
    assert await profiles_of(client) == ["alice", "bob", "default"]
    assert await keys_of(client) == await keys_of(client, "bob") == []
    (key,) = await keys_of(client, "alice")
    assert (key["kid"], key["jwk"]) == (KID, PUBLIC)
    for name in ("aliases", "labels", "operations", "exportable"):
        assert key[name] == entry[name]
    alice = {"X-Profile": "alice"}
    for alias in entry["aliases"]:
        async with client.get("/key", params={"alias": alias}, headers=alice) as response:
            found = await response.json()
            assert found == key | {"cose_key": found["cose_key"]}
    async with client.get(f"/key/{KID}/export", headers=alice) as response:
        assert (await response.json())["jwk"] == PUBLIC | {"d": SECRET}


async def test_every_way_to_give_the_key_of_an_rfc(start, seed):
    ways = [GOOD, {"alg": "Ed25519", "secret": SECRET}, {"jwk": PUBLIC | {"d": SECRET}}]
    ways.append({"jwk": PUBLIC})
    entries = [way | {"profile": str(number)} for number, way in enumerate(ways)]
    entries.append({"alg": "p256", "secret": b64(bytes.fromhex(P256)), "profile": "p256"})
    client = await start(create_service(seed({"keys": entries})))
    for number in range(len(ways)):
        (key,) = await keys_of(client, str(number))
        assert (key["kid"], key["jwk"]) == (KID, PUBLIC)
    (key,) = await keys_of(client, "p256")
    assert raw(key["jwk"]["x"]).hex() == P256_X


async def test_every_algorithm_gives_the_same_key_each_time(start, seed):
    entries, made = [], {}
    for registered in AlgorithmRegistry.from_installed():
        alg = registered.algorithm
        jwk = made[alg.name] = alg.export_jwk(alg.generate())
        secret = jwk.get("k") or jwk.get("priv") or jwk["d"]
        if alg.name.startswith("bls"):  # `d` is little-endian, see docs/algorithms.md
            secret = b64(raw(secret)[::-1])
        ways = {"jwk": {"jwk": jwk}}
        if isinstance(alg, SecretImporter):
            ways["secret"] = {"alg": alg.name, "secret": secret}
        if isinstance(alg, SeedImporter):
            ways["seed"] = {"alg": alg.name, "seed": secret}
        assert len(ways) > 1 or alg.kty == "RSA"
        kid = {"kid": f"{alg.name}-1"} if alg.kty == "oct" else {}
        for profile, way in ways.items():
            entries.append(way | kid | {"profile": profile, "exportable": True})
    config = seed({"keys": entries})
    first, second = await start(create_service(config)), await start(create_service(config))
    kids = {}
    for profile in ("jwk", "secret", "seed"):
        one, two = await keys_of(first, profile), await keys_of(second, profile)
        assert [key["kid"] for key in one] == [key["kid"] for key in two]
        for key in one:
            assert kids.setdefault(key["alg"], key["kid"]) == key["kid"]
            path, headers = f"/key/{key['kid']}/export", {"X-Profile": profile}
            async with second.get(path, headers=headers) as response:
                assert (await response.json())["jwk"] == made[key["alg"]]
    assert kids.keys() == made.keys()


async def test_a_curve_by_its_former_name_and_an_operation_that_is_opt_in(start, seed):
    # Of a key of 1: the generator (SEC 2 section 2.4.1).
    jwk = {
        "kty": "EC",
        "crv": "P-256K",
        "x": b64(bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")),
        "y": b64(bytes.fromhex("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")),
        "d": b64((1).to_bytes(32)),
    }
    entries = [{"jwk": jwk}, GOOD | {"operations": ["sign", "derive"]}]
    client = await start(create_service(seed({"keys": entries})))
    curve, opted = await keys_of(client)
    assert (curve["alg"], curve["jwk"]["crv"]) == ("k256", "secp256k1")
    assert opted["operations"] == ["sign", "derive"]


async def test_a_symmetric_key_may_have_its_kid_in_its_jwk(start, seed):
    entries = [{"jwk": OCT | {"kid": "in-it"}}, {"jwk": OCT | {"kid": "in it"}, "kid": "beside"}]
    client = await start(create_service(seed({"keys": entries})))
    assert [key["kid"] for key in await keys_of(client)] == ["in-it", "beside"]


async def test_seeding_leaves_stored_keys_unchanged(start, seed, persistent, counts):
    entries = [GOOD | {"aliases": ["a", "b"], "labels": {"of": "file"}}, AES]
    config = seed({"profiles": ["alice"], "keys": entries}, **persistent)
    client = await start(create_service(config))
    await client.patch(f"/key/{KID}", json={"labels": {"of": "caller"}})
    await client.delete(f"/key/{KID}/associate", params={"alias": "a"})
    before = await keys_of(client)
    assert [key["kid"] for key in before] == [KID, "aes-1"]
    assert (before[0]["labels"], before[0]["aliases"]) == ({"of": "caller"}, ["b"])
    await client.close()

    # Even if the file has changed meanwhile.
    entries[1] |= {"secret": "A" * 43, "aliases": ["late"]}
    entries.append({"alg": "x25519", "seed": SECRET})
    client = await start(
        create_service(seed({"profiles": ["alice"], "keys": entries}, **persistent))
    )
    assert (await keys_of(client))[:2] == before
    assert counts() == [(2, 0), (1, 2)]
    assert await profiles_of(client) == ["alice", "default"]


async def test_an_alias_stays_with_the_key_that_it_was_given_to(start, seed, persistent, caplog):
    config = seed({"keys": [GOOD | {"aliases": ["free", "planted-7f3a"]}]}, **persistent)
    client = await start(create_service(config))
    await client.delete(f"/key/{KID}")
    body = {"alg": "ed25519", "alias": "planted-7f3a"}
    other = await (await client.post("/key/generate", json=body)).json()
    await client.close()
    caplog.clear()

    client = await start(create_service(config))
    mine, back = await keys_of(client)
    assert mine == other
    assert (back["kid"], back["aliases"]) == (KID, ["free"])
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "keys[0].aliases[1]" in warning.getMessage()
    assert "planted-7f3a" not in caplog.text


async def test_several_services_start_on_one_store(start, seed, persistent, counts):
    entries = [
        {"alg": "hs256", "secret": SECRET, "kid": f"{n}", "profile": f"p{n % 3}", "aliases": ["a"]}
        for n in range(12)
    ]
    for entry in entries[3:]:
        del entry["aliases"]
    config = seed({"keys": entries}, **persistent)
    clients = await asyncio.gather(*(start(create_service(config)) for _ in range(4)))
    loaded, there = (sum(numbers) for numbers in zip(*counts(), strict=True))
    assert (loaded, there) == (12, 36)
    for client in clients:
        for profile in ("p0", "p1", "p2"):
            keys = await keys_of(client, profile)
            assert sorted(key["kid"] for key in keys) == sorted(
                entry["kid"] for entry in entries if entry["profile"] == profile
            )
            assert sum(len(key["aliases"]) for key in keys) == 1


# Each bad entry follows TAKEN, which is valid.
TAKEN = GOOD | {"aliases": ["taken"]}
BAD_ENTRIES = [
    ("", 1),
    ("", None),
    ("", {"alg": "unknown", "seed": SECRET}),
    ("", {"alg": "ed25519", "seed": SECRET + SECRET}),
    ("", {"alg": "a256gcm", "seed": SECRET, "kid": "a"}),
    ("", {"alg": "p256", "secret": "A" * 43}),
    ("", {"alg": "a256gcm", "secret": "AAAA", "kid": "a"}),
    ("", {"jwk": {}}),
    ("", {"jwk": PUBLIC | {"d": "A" * 43}}),
    ("", {"jwk": PUBLIC | {"d": SECRET}, "alg": "x25519"}),
    ("", {"jwk": PUBLIC, "exportable": True}),
    ("", {"jwk": {"kty": "oct", "alg": "A256GCM", "kid": "a"}}),
    ("", {"alg": "x25519", "seed": SECRET, "operations": ["sign"]}),
    (".jwk", {}),
    (".jwk", {"alg": "x25519"}),
    (".jwk", {"alg": "x25519", "seed": SECRET, "secret": SECRET}),
    (".jwk", {"jwk": SECRET}),
    (".alg", {"seed": SECRET}),
    (".seed", {"alg": "x25519", "seed": SECRET + "!"}),
    (".secret", {"alg": "x25519", "secret": None}),
    (".alias", {"alg": "x25519", "seed": SECRET, "alias": "a"}),
    (".alias_taken", {"alg": "x25519", "seed": SECRET, "alias_taken": "move"}),
    (".if_exists", {"alg": "x25519", "seed": SECRET, "if_exists": "keep"}),
    (".aliases[0]", {"alg": "x25519", "seed": SECRET, "aliases": ["a" * 4097]}),
    (".wrapped", {"alg": "x25519", "seed": SECRET, "wrapped": SECRET}),
    (".unwrap_kid", {"alg": "x25519", "seed": SECRET, "unwrap_kid": KID}),
    (".labels", {"alg": "x25519", "seed": SECRET, "labels": {"a:b": SECRET}}),
    (".operations[1]", {"alg": "x25519", "seed": SECRET, "operations": ["derive", "fly"]}),
    (".exportable", {"alg": "x25519", "seed": SECRET, "exportable": "yes"}),
    (".profile", {"alg": "x25519", "seed": SECRET, "profile": "a b"}),
    (".aliases", {"alg": "x25519", "seed": SECRET, "aliases": "a"}),
    (".aliases", {"alg": "x25519", "seed": SECRET, "aliases": [f"a{n}" for n in range(1001)]}),
    (".aliases[1]", {"alg": "x25519", "seed": SECRET, "aliases": ["a", ""]}),
    (".kid", {"alg": "x25519", "seed": SECRET, "kid": "a.b"}),
    (".kid", {"alg": "x25519", "seed": SECRET, "kid": KID}),
    (".kid", {"alg": "a256gcm", "secret": SECRET}),
    (".kid", {"jwk": OCT}),
    (".kid", {"jwk": OCT | {"kid": "did:example:1"}}),
    (".kid", {"jwk": OCT | {"kid": 1}}),
    (r".a\nb\x1b", {"alg": "x25519", "seed": SECRET, "a\nb\x1b": 1}),
    # Duplicates of TAKEN, or within the entry.
    ("", GOOD),
    ("", {"jwk": PUBLIC}),
    ("", {"alg": "a256gcm", "secret": SECRET, "kid": KID}),
    (".aliases[1]", {"alg": "x25519", "seed": SECRET, "aliases": ["a", "taken"]}),
    (".aliases[1]", {"alg": "x25519", "seed": SECRET, "aliases": ["a", "a"]}),
]


BAD_FILES = [
    ("It is not JSON: line 1, column 1.", b""),
    ("It is not JSON: line 2, column 11.", b'{"keys":\n[{"seed": %s}]}' % SECRET.encode()),
    ("It is not JSON: ", b'{"profiles": ["\\ud800"]}'),
    ("It is not JSON: ", b"[" * 100_000),
    ("It is not JSON: line 1, column 1.", b"\xef\xbb\xbf{}"),
    ("It is not UTF-8.", b'{"profiles": ["\xff"]}'),
    ("It is not UTF-8.", '{"profiles": []}'.encode("utf-16")),
    ("Invalid input type.", []),
    ("Invalid input type.", SECRET),
    ("keys: ", {"keys": {}}),
    ("profiles: ", {"profiles": "a"}),
    ("profiles[1]: ", {"profiles": ["a", "a b"]}),
    ("secrets: ", {"keys": [], "secrets": SECRET}),
    *(
        (f"keys[1]{place}: ", {"profiles": ["alice"], "keys": [TAKEN, entry]})
        for place, entry in BAD_ENTRIES
    ),
]


def message(caught, config):
    """The message of a SeedError behind the name of the file: one line, and no secret."""
    text = str(caught.value)
    assert text.startswith(f"{config.seed_keys}: ")
    assert len(text.splitlines()) == 1
    assert SECRET[:20] not in text
    return text.removeprefix(f"{config.seed_keys}: ")


async def test_a_bad_file_of_seeds_stores_nothing(client, seed):
    for place, content in BAD_FILES:
        config = seed(content)
        with pytest.raises(SeedError) as caught:
            await seeds.load(config.seed_keys, client.app[SERVICE])
        assert (content, message(caught, config)[: len(place)]) == (content, place)
    assert await profiles_of(client) == ["default"]
    assert await keys_of(client) == []


async def start_error(config):
    """The message with which the application does not start."""
    runner = create_runner(create_service(config))
    with pytest.raises(SeedError) as caught:
        await runner.setup()
    await runner.cleanup()
    return message(caught, config)


async def test_a_bad_file_stops_the_start(start, seed, persistent):
    good, bad = GOOD | {"profile": "alice"}, AES | {"secret": "AAAA"}
    assert (await start_error(seed({"keys": [good, bad]}, **persistent))).startswith("keys[1]: ")
    assert await profiles_of(await start(create_service(Config(**persistent)))) == ["default"]


@pytest.mark.parametrize("name", ["absent.json", "."])
async def test_a_file_that_cannot_be_read(tmp_path, name):
    config = Config(seed_keys=str(tmp_path / name))
    assert (await start_error(config)).startswith("It cannot be read: ")


async def test_an_empty_file_is_a_good_one(start, seed, counts):
    assert await keys_of(await start(create_service(seed({})))) == []
    assert counts() == [(0, 0)]


@pytest.mark.parametrize("persistent_url", ["sqlite"], indirect=True)
async def test_a_store_that_takes_no_key(start, seed, persistent):
    client, config = await start(create_service(Config(**persistent))), seed({"keys": [GOOD]})
    path = persistent["store"].removeprefix("sqlite://")
    with open(f"{path}-lock-3", "w") as lock:  # as another process would hold it
        # In a thread, since the service may hold it, to store the times of last uses.
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        with pytest.raises(SeedError) as caught:
            await seeds.load(config.seed_keys, client.app[SERVICE])
    assert "store" in message(caught, config)
    assert await keys_of(client) == []


async def test_the_rules_of_a_key_that_is_there_stay(start, seed, persistent, caplog):
    content = {"keys": [{**GOOD, "rules": {"raw": False}}]}
    client = await start(create_service(seed(content, **persistent)))
    [key] = await keys_of(client)
    assert key["rules"] == {"raw": False}
    await client.close()
    # Neither a file without rules, nor one with others, changes them.
    for rules, warnings in ({}, 0), ({"rules": {"per_day": 9}}, 1), (content["keys"][0], 0):
        caplog.clear()
        client = await start(create_service(seed({"keys": [{**GOOD, **rules}]}, **persistent)))
        assert await keys_of(client) == [key]
        await client.close()
        found = [each for each in caplog.records if "keeps them" in each.getMessage()]
        assert len(found) == warnings


@pytest.mark.parametrize("rules", ["none-such", {"raw": 1}, {"jws": {"claims": {"iss": "a"}}}])
async def test_faulty_rules_are_refused(start, seed, rules):
    with pytest.raises(SeedError, match=r"keys\[0\]\.rules"):
        await start(create_service(seed({"keys": [{**GOOD, "rules": rules}]})))
