"""Stores for scripts: created and filled without a service."""

from dataclasses import replace

from minikms.basics.secret_files import write_secret
from minikms.key_requests import KeyPolicy
from minikms.keys.making import maker
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore


async def create(url: str, key_file: str, *profiles: str) -> tuple[StoreLocation, StoreKey]:
    """Make a store with these profiles besides `default`, and the file of its key."""
    location, key = StoreLocation.parse(url), StoreKey(new_raw_key())
    write_secret(key_file, key.secret, "key", StoreError)
    async with KeyStore.create(location, key) as store:
        for profile in profiles:
            await store.directory.create(profile)
    return location, key


async def fill(
    writer: StoreWriter, profile: str, start: int, end: int, *, batch: int = 500
) -> list[str]:
    """Store Ed25519 keys at the places after `start` up to `end`, and return their kids in order.

    A transaction has `batch` keys. Each key has the label `wallet`, with its place as the value.
    """
    algorithm = AlgorithmRegistry.from_installed().get("ed25519")
    make, kids = maker(algorithm, KeyPolicy(), algorithm.generate), list[str]()
    for first in range(start, end, batch):
        keys, last = [], min(first + batch, end)
        for place in range(first + 1, last + 1):
            record, material = make()
            labels = {"wallet": str(place)}
            keys.append((replace(record, seq=f"{place:020d}", labels=labels), material))
            kids.append(record.kid)
        await writer.insert(profile, keys)
        await writer.set_last_seq(profile, last)
    return kids
