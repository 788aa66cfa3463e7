"""Make stores, fill them with keys of every kind, and read them as a whole."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

from sqlite_copies import whole, write
from waiting import LONG

from minikms.access.tokens import Tokens
from minikms.key_requests import KeyPolicy, KeyRef, KeySource
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.seals.key_file import read_key
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.entries import find_record, material_of
from minikms.store.keys.key_store import KeyStore

REGISTRY = AlgorithmRegistry.from_installed()
PASSPHRASE = "correct horse battery staple"


def write_key(path, secret):
    """Write a key file, and return its path."""
    path.touch(0o600)
    path.write_text(f"{secret}\n")
    return str(path)


def options_of(url, key_file, method="raw"):
    """The options of a store."""
    return ["--store", url, "--store-key-file", key_file, "--store-key-method", method]


def new_store(folder):
    """Make a store in a folder, and return its options."""

    async def make():
        async with KeyStore.create(StoreLocation.parse(url), StoreKey(key)):
            pass

    url, key = f"sqlite://{folder}/keys.db", new_raw_key()
    asyncio.run(make())
    return ["--store", url, "--store-key-file", write_key(folder / "key", key)]


@asynccontextmanager
async def opened(options):
    """Open the store of a service with these options, or a store in memory without options."""
    if not options:
        async with KeyStore.open_memory() as store:
            yield store
        return
    location = StoreLocation.parse(options["store"])
    key = read_key(options.get("store_key_file", ""), options.get("store_key", ""), "raw")
    async with KeyStore.open(location, key) as store:
        yield store


# The bytes of filled SQLite stores, by key and number of keys.
_FILLED = {}


async def fill(url, key, *, many=0):
    """Make a store with keys of every kind, the last one deleted, and `many` more in `z`.

    With the same key, an SQLite file is a copy of the first.
    """
    path = StoreLocation.parse(url).path
    if path and (file := _FILLED.get((key, many))):
        write(path, file)
        return
    await _fill(url, key, many)
    if path:
        _FILLED[key, many] = (await whole(path)).read_bytes()


async def _fill(url, key, many):
    async with KeyStore.create(StoreLocation.parse(url), StoreKey(key)) as store:
        service = KeyService(REGISTRY, store)
        for profile in ("empty", "t", "z"):
            await service.profiles.create(profile)
        for alg in ("ed25519", "p521", "bls12381g1", "mldsa44", "hs256", "xc20p", "rsa2048"):
            aliases = f"did:x#{alg}", f"of {alg}", f"{alg} {'é' * 4000}"
            policy = KeyPolicy(aliases=aliases, labels={"n": alg})
            record = await service.creation.generate(DEFAULT_PROFILE, alg, policy)
            if record.jwk:
                policy = KeyPolicy(aliases=("a",), delete_after=86_400)
                await service.creation.import_key("t", KeySource(jwk=record.jwk), policy)
        await service.changes.delete(DEFAULT_PROFILE, KeyRef(record.kid))
        await Tokens(store.database).create("issuer", ("sign",))
        for first in range(0, many, 50):  # begun together, so that they share transactions
            some = range(first, min(first + 50, many))
            algs = [("hs256", "ed25519")[n % 2] for n in some]
            policies = [KeyPolicy(aliases=(f"{n}",)) for n in some]
            await asyncio.gather(*(map(partial(service.creation.generate, "z"), algs, policies)))


async def everything(url, key, method="raw"):
    """All records of a store in order, with their material."""
    found = {}

    async def read(session, profile, records):
        for record in records:
            material = await material_of(session, record)
            secret = material if type(material) is bytes else material.get_secret_bytes()
            found[profile].append((record, secret))
            for alias in record.aliases:
                assert await find_record(session, KeyRef(alias=alias)) == record

    location = StoreLocation.parse(url)
    async with KeyStore.open(location, StoreKey(key, method)) as store:
        service = KeyService(REGISTRY, store)
        for profile in await service.profiles.names():
            found[profile] = []
            async for page in service.descriptions.pages(profile):
                # In one session, which takes less than one for each key.
                work = partial(read, profile=profile, records=page)
                await store.database.run(profile, work, timeout=LONG)
    return found


async def next_place(url, key, profile):
    """The place of a new key."""
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(key)) as store:
        service = KeyService(REGISTRY, store)
        made = await service.creation.generate(profile, "hs256", KeyPolicy())
        return int((await service.operations.get(profile, KeyRef(kid=made.kid))).seq)
