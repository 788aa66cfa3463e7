"""Stores of older layouts, with everything in them that a store of their version has.

`make.py` has made them. The service of that version answered what `expected-VERSION.json.gz` says.
"""

import gzip
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from stores import REGISTRY, complaints, options_of, refused, write_key

from minikms.config import Config
from minikms.maintenance.inspect import StoreInspector
from minikms.serve.assembly import create_service
from minikms.store.askar.layout import LAYOUT
from minikms.store.askar.location import StoreKey, StoreLocation

HERE = Path(__file__).parent

# Of an operation: the one that takes its answer, and which member of the answer is compared.
INVERSE = {
    "sign": ("verify", {"valid": True}),
    "encrypt": ("decrypt", {"plaintext": "aGVsbG8="}),
    "wrap": ("unwrap", {"key": "AAECAwQFBgcICQoLDA0ODw=="}),
    "mac": ("mac/verify", {"valid": True}),
}


# Of each version with another layout.
LAYOUTS = {"0.1.0": "1.0", "0.2.0": "2.0"}


@pytest.fixture(params=LAYOUTS)
def version(request):
    return request.param


@pytest.fixture
def expected(version):
    return json.loads(gzip.decompress((HERE / f"expected-{version}.json.gz").read_bytes()))


@pytest.fixture
def old(tmp_path, version, expected):
    """The URL of a store of an older layout, and the file of its key."""
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress((HERE / f"store-{version}.db.gz").read_bytes()))
    return f"sqlite://{path}", write_key(tmp_path / "old.key", expected["store_key"])


async def check(start, url, key_file, expected, tmp_path):
    """All is as it was, and new keys come after it."""
    admin = write_key(tmp_path / f"admin {url[-5:]}", expected["admin_token"])
    config = Config(store=url, store_key_file=key_file, auth="token", admin_token_file=admin)
    client = await start(create_service(config))

    async def call(method, path, body=None, *, token=expected["admin_token"], profile="default"):
        headers = {"Authorization": f"Bearer {token}", "X-Profile": profile}
        async with client.request(method, path, json=body, headers=headers) as response:
            assert response.status == 200, (path, await response.text())
            return await response.json()

    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    for profile, keys in expected["profiles"].items():
        listed = await call("GET", "/keys?limit=1000", profile=profile)
        there = [key for key in keys if not key["deletes"] or key["deletes"] > now]
        assert [{**key, **then} for key, then in zip(listed, there, strict=True)] == listed
        for key in there:
            for alias in key["aliases"]:
                found = await client.get(
                    "/key",
                    params={"alias": alias},
                    headers={
                        "Authorization": f"Bearer {expected['admin_token']}",
                        "X-Profile": profile,
                    },
                )
                assert (await found.json())["kid"] == key["kid"]
    for kid, exported in expected["exported"].items():
        assert await call("GET", f"/key/{kid}/export") == exported
    for used in expected["used"]:
        operation, body, answer = used["operation"], used["body"], used["answer"]
        if operation in INVERSE:
            inverse, result = INVERSE[operation]
            given = {name: answer[name] for name in answer if name not in ("kid", "alg")}
            if inverse in ("verify", "mac/verify"):
                given["data"] = body["data"]
            again = await call("POST", f"/{inverse}", {"kid": body["kid"], **given})
            assert {**again, **result} == again
            await call("POST", f"/{operation}", body)
        else:
            assert await call("POST", f"/{operation}", body) == answer
    signing = next(used["body"] for used in expected["used"] if used["operation"] == "sign")
    await call("POST", "/sign", signing, token=expected["token"])
    async with client.get("/jwks.json?profile=published") as response:
        assert await response.json() == expected["jwks"]
    for profile in expected["profiles"]:
        made = await call("POST", "/key/generate", {"alg": "ed25519"}, profile=profile)
        listed = await call("GET", "/keys?limit=1000", profile=profile)
        assert [key["kid"] for key in listed][-1] == made["kid"]
        await call("POST", "/sign", {"kid": made["kid"], "data": "aGVsbG8="}, profile=profile)
    rotated = (await call("GET", "/key?alias=rotated"))["kid"]
    await call("POST", f"/key/{rotated}/rotate")
    for kid in expected["exported"]:
        await call("DELETE", f"/key/{kid}")
    await client.close()


async def forms(url, key_file):
    """Count the keys of each algorithm in each form: as the record says, or sealed in its entry."""
    key = StoreKey(Path(key_file).read_text().strip())
    async with StoreInspector.open(StoreLocation.parse(url), key) as inspector:
        found = [
            ("sealed" if entry.record.sealed else entry.record.material, entry.record.alg)
            for profile in await inspector.profiles()
            async for batch in inspector.records(profile)
            for entry in batch
        ]
    return Counter(found)


def upgraded(before):
    """The forms that an upgrade gives: of new keys, but for public keys alone."""

    def form(alg):
        algorithm = REGISTRY.get(alg)
        return "sealed" if isinstance(algorithm.pack(algorithm.generate()), bytes) else "askar"

    after = Counter()
    for (material, alg), number in before.items():
        after["none" if material == "none" else form(alg), alg] += number
    return after


@pytest.mark.process
async def test_a_service_serves_it_once_it_is_upgraded(
    start, run, old, version, expected, tmp_path
):
    options, before = options_of(*old), await forms(*old)
    layout = f"\nLayout: {LAYOUTS[version]}\n"
    assert layout in run("store", "info", *options).stdout
    assert run("store", "verify", *options).returncode == 0
    assert "run `minikms store upgrade`" in refused(run("serve", "--port", "0", *options))
    workers = run("serve", "--port", "0", "--workers", "2", *options)
    assert (workers.returncode, workers.stderr.count("`minikms store upgrade`")) == (2, 1)
    assert layout in run("store", "info", *options).stdout
    ended = run("store", "upgrade", *options)
    assert (ended.returncode, complaints(ended)) == (0, [])
    after = await forms(*old)
    assert after == upgraded(before) != before
    rewritten, total = (before - after).total(), before.total()
    assert f"Keys rewritten: {rewritten} of {total}." in ended.stdout
    assert ("The others needed no change." in ended.stdout) == (rewritten < total)
    again = run("store", "upgrade", *options)
    assert (again.returncode, complaints(again)) == (0, [])
    assert again.stdout.endswith(f"already has the layout {LAYOUT}.\n")
    await check(start, *old, expected, tmp_path)
    verified = run("store", "verify", *options)
    assert verified.returncode == 0, verified.stdout


@pytest.mark.process
async def test_a_copy_of_it_has_this_layout(start, run, old, version, expected, tmp_path):
    copy, before = f"sqlite://{tmp_path}/copy.db", await forms(*old)
    assert run("store", "copy", *options_of(*old), "--to", copy).returncode == 0
    layout = f"\nLayout: {LAYOUTS[version]}\n"
    assert layout in run("store", "info", *options_of(*old)).stdout
    assert f"\nLayout: {LAYOUT}\n" in run("store", "info", *options_of(copy, old[1])).stdout
    assert await forms(*old) == before
    assert await forms(copy, old[1]) == upgraded(before)
    await check(start, copy, old[1], expected, tmp_path)
    assert run("store", "verify", *options_of(copy, old[1])).returncode == 0
