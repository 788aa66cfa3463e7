"""Entries that do not decrypt: found by halving, logged, and left out of listings."""

from dataclasses import replace

import pytest

from minikms.errors import KeyUnreadable
from minikms.key_requests import KeyRef
from minikms.maintenance.write import StoreWriter
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.store.askar.location import StoreLocation
from minikms.store.keys.entries import load_record, replace_record
from minikms.store.keys.key_store import KeyStore

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


async def test_a_byte_that_flipped(sqlite, key, caplog, flip, query):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as store:
        for n in range(20):
            labels = {"long": "x" * 5000 if n == 7 else ""}
            record = replace(RECORD, kid=f"kid-{n}", labels=labels)
            await store.insert(DEFAULT_PROFILE, record, bytes(32), [f"alias {n}"])
    ((longest,),) = query(sqlite, "SELECT id FROM items ORDER BY length(value) DESC LIMIT 1")
    flip(sqlite, longest)
    async with KeyStore.open(location, key) as store:
        for ref in (KeyRef(kid="kid-7"), KeyRef(alias="alias 7")):
            with pytest.raises(KeyUnreadable):
                await store.open_key(DEFAULT_PROFILE, ref, lambda _: None)
            assert "key kid-7 does not decrypt" in caplog.text
            caplog.clear()
        for n in {*range(20)} - {7}:
            await store.open_key(DEFAULT_PROFILE, KeyRef(alias=f"alias {n}"), lambda _: None)
        for limit in (5, 19, 100):
            listed, after, more = [], "", True
            while more:
                records, more = await store.listing.page(DEFAULT_PROFILE, limit=limit, after=after)
                listed, after = listed + records, records[-1].seq
            kids = [record.kid for record in listed]
            assert kids == [f"kid-{n}" for n in range(20) if n != 7]
        assert "number 8" in caplog.text


async def test_sealed_material_that_does_not_open_is_told_and_its_key_listed(caplog):
    async with KeyStore.open_memory() as store:
        await store.insert(DEFAULT_PROFILE, RECORD, bytes(32))

        async def spoil(session):
            record = await load_record(session, RECORD.kid)
            spoilt = record.sealed[:-1] + bytes([record.sealed[-1] ^ 1])
            await replace_record(session, replace(record, sealed=spoilt))

        await store.database.write(DEFAULT_PROFILE, spoil)
        with pytest.raises(KeyUnreadable):
            await store.open_key(DEFAULT_PROFILE, KeyRef(kid=RECORD.kid), lambda _: None)
        assert f"key {RECORD.kid} does not decrypt" in caplog.text
        [listed], _ = await store.listing.page(DEFAULT_PROFILE, limit=2)
        assert listed.kid == RECORD.kid


async def test_a_byte_that_flipped_where_few_keys_are_left(sqlite, key, caplog, flip, query):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as store:
        for n in range(6):
            labels = {"long": "x" * 5000 if n == 3 else ""}
            await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}", labels=labels), b"")
            await StoreWriter(store.database).set_last_seq(DEFAULT_PROFILE, 20_000 * (n + 1))
    ((longest,),) = query(sqlite, "SELECT id FROM items ORDER BY length(value) DESC LIMIT 1")
    flip(sqlite, longest)
    async with KeyStore.open(location, key) as store:
        for alg in (None, "x"):
            for limit in (1, 2, 3, 100):
                found, after, more = [], "", True
                while more:
                    records, more = await store.listing.page(
                        DEFAULT_PROFILE, limit=limit, after=after, alg=alg
                    )
                    found += (record.kid for record in records)
                    after = records[-1].seq
                assert found == ["0", "1", "2", "4", "5"]
                assert "number 60001" in caplog.text
                caplog.clear()
