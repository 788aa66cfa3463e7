"""A key with a critical member of a later version: shown, changed and deleted, but never used."""

from dataclasses import replace

import pytest
from operation_calls import USES
from problems import refused

from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.keys.entries import load_record, replace_record
from minikms.web.state import SERVICE

LATER = {"rules": {"later": 1}}


@pytest.fixture
def critical(client, generate):
    """Make a key, then give it a critical member."""

    async def make(alg, *, exportable=True):
        kid = (await generate(alg, exportable=exportable, alias=f"of {alg}"))["kid"]

        async def add(session):
            record = await load_record(session, kid)
            await replace_record(session, replace(record, crit=("rules",), unknown=LATER))

        await client.app[SERVICE].operations.store.database.write(DEFAULT_PROFILE, add)
        return kid

    return make


@pytest.mark.parametrize("alg", sorted({use.alg for use in USES}))
async def test_it_is_used_for_nothing(client, critical, alg):
    kid = await critical(alg)
    for use in USES:
        if use.alg == alg:
            answer = await client.post(use.path, json={**use.body, "kid": kid})
            await refused(answer, 409, "key-not-usable")
    await refused(await client.post(f"/key/{kid}/rotate"), 409, "key-not-usable")
    await refused(await client.get(f"/key/{kid}/export"), 409, "key-not-usable")


async def test_it_is_not_attested(client, critical, generate):
    by, kid = (await generate("p256"))["kid"], await critical("ed25519", exportable=False)
    body = {"kid": by, "keys": [kid]}
    await refused(await client.post("/key-attestation", json=body), 409, "key-not-usable")


async def test_it_is_shown_and_changed_and_keeps_the_member(client, critical):
    kid = await critical("p256")
    async with client.patch(f"/key/{kid}", json={"labels": {"n": "1"}}) as answer:
        assert (await answer.json())["labels"] == {"n": "1"}
    async with client.post(f"/key/{kid}/associate", json={"alias": "b"}) as answer:
        assert answer.status == 200
    async with client.get("/keys") as answer:
        [shown] = await answer.json()
    assert (shown["kid"], shown["aliases"]) == (kid, ["of p256", "b"])
    work = client.app[SERVICE].operations.store.database
    record = await work.run(DEFAULT_PROFILE, lambda session: load_record(session, kid))
    assert (record.crit, record.unknown) == (("rules",), LATER)
    async with client.delete(f"/key/{kid}") as answer:
        assert answer.status == 200
