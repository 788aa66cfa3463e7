"""Many keys by one call: all of them, or none."""

import json

import pytest
from problems import refused

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.keys import entries


@pytest.mark.each_store
async def test_all_are_there_and_work(get, post):
    made = await post(
        "/key/generate/batch", {"alg": "p256", "count": 20, "labels": {"for": "mdoc"}}
    )
    keys = made["keys"]
    assert len({key["kid"] for key in keys}) == 20
    assert await get("/keys?label=for:mdoc&limit=1000") == keys
    signed = await post("/sign", {"kid": keys[-1]["kid"], "data": "aGVsbG8"})
    assert (await post("/verify", {"jwk": keys[-1]["jwk"], "data": "aGVsbG8", **_sig(signed)}))[
        "valid"
    ]


def _sig(signed):
    return {"sig": signed["sig"], "alg": signed["alg"]}


async def test_options_hold_for_all(post):
    options = {"operations": ["sign"], "exportable": True, "expires": "2099-12-31T23:59:59.000Z"}
    made = await post("/key/generate/batch", {"alg": "ed25519", "count": 3, **options})
    for key in made["keys"]:
        assert {name: key[name] for name in options} == options


@pytest.mark.shared_service
@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"count": 1001}, {"count": "2"}, {"count": 2, "alias": "a"}, {}]
)
async def test_a_malformed_batch_is_refused(refuses, wrong):
    body = {"alg": "ed25519", **wrong}
    await refuses("/key/generate/batch", body, 422, "validation-failed")


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"alg": "nothing", "count": 2}, "unsupported-algorithm"),
        ({"alg": "x25519", "count": 2, "operations": ["sign"]}, "unsupported-operation"),
    ],
)
async def test_a_batch_that_cannot_be_made_is_refused(refuses, body, slug):
    await refuses("/key/generate/batch", body, 422, slug)


@pytest.mark.each_store
async def test_none_is_there_where_one_fails(client, get, monkeypatch):
    """The last of them cannot be stored."""
    seal, sealed = entries.with_material, []

    async def failing(session, record, material):
        sealed.append(record.kid)
        if len(sealed) == 5:
            raise RuntimeError("planted")
        return await seal(session, record, material)

    monkeypatch.setattr(entries, "with_material", failing)
    call = client.post("/key/generate/batch", json={"alg": "ed25519", "count": 5})
    await refused(await call, 500, "internal-error")
    assert await get("/keys") == []


async def test_each_key_has_its_line(start, tmp_path):
    log = tmp_path / "audit.log"
    client = await start(create_service(Config(audit_log=str(log))))
    async with client.post("/key/generate/batch", json={"alg": "ed25519", "count": 4}) as answer:
        kids = [key["kid"] for key in (await answer.json())["keys"]]
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    written = [(line["kid"], line["alg"]) for line in lines if line["operation"] == "generateKeys"]
    assert written == [(kid, "ed25519") for kid in kids]
