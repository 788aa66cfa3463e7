"""Entries that do not decrypt: found by halving, logged, and left out of listings."""

from dataclasses import replace

import pytest

from minikms.errors import KeyUnreadable
from minikms.maintenance.write import StoreWriter
from minikms.records import DEFAULT_PROFILE, KeyRecord, KeyRef
from minikms.store.keys import KeyStore
from minikms.store.location import StoreLocation

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


@pytest.mark.parametrize("what", ["record", "material"])
async def test_a_byte_that_flipped(sqlite, key, what, caplog, flip, query):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as store:
        for n in range(20):
            record = replace(RECORD, kid=f"kid-{n}")
            material = bytes(32)
            if n == 7 and what == "record":
                record = replace(record, labels={"long": "x" * 5000})
            elif n == 7:
                material = bytes(5000)
            await store.insert(DEFAULT_PROFILE, record, material, [f"alias {n}"])
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
                records, more = await store.page(DEFAULT_PROFILE, limit=limit, after=after)
                listed, after = listed + records, records[-1].seq
            kids = [record.kid for record in listed]
            assert kids == [f"kid-{n}" for n in range(20) if n != 7 or what == "material"]
        assert ("number 8" in caplog.text) == (what == "record")


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
                    records, more = await store.page(
                        DEFAULT_PROFILE, limit=limit, after=after, alg=alg
                    )
                    found += (record.kid for record in records)
                    after = records[-1].seq
                assert found == ["0", "1", "2", "4", "5"]
                assert "number 60001" in caplog.text
                caplog.clear()
