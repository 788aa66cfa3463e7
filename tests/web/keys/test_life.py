"""Keys over their life: their states, and what each lets a caller do."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from operation_calls import DATA, SIXTEEN, USES
from problems import refused

pytestmark = pytest.mark.shared_service

SELF_SIGNED = {"profile": "self-signed", "subject": "CN=a", "days": 1}
PAST, FUTURE = "2001-02-03T04:05:06Z", "2190-01-01T00:00:00+01:00"

MAKES = {
    *("sign", "sign/batch", "jws/sign", "jws/sign mac", "mac", "encrypt", "wrap", "box"),
    *("cose/sign", "cose/sign mac", "key-attestation"),
    *("jwe/encrypt", "jwe/encrypt to it", "jwe/encrypt from it", "didcomm/pack"),
    *("csr", "certificate", "certificate of it", "crl"),
}
CHECKS = {
    *("verify", "verify/batch", "jws/verify", "jws/verify mac", "mac/verify", "decrypt", "unwrap"),
    *("cose/verify", "cose/verify mac"),
    *(
        "box/open",
        "box/seal/open",
        "didcomm/unpack",
        "decapsulate",
        "hpke/open",
        "jwe/decrypt",
        "derive",
        "export",
        "export mac",
        "import wrapped",
    ),
}
ALLOWED = {"enabled": MAKES | CHECKS, "verify-only": CHECKS, "disabled": set()}


def patched(**body):
    async def act(client, kid):
        async with client.patch(f"/key/{kid}", json=body) as response:
            assert response.status == 200

    return act


async def scheduled(client, kid):
    async with client.delete(f"/key/{kid}?after=7d") as response:
        assert response.status == 200


# How a key comes to its state, and which that is.
WAYS = {
    "made": (patched(labels={}), "enabled"),
    "enabled": (patched(state="enabled"), "enabled"),
    "to expire": (patched(expires=FUTURE), "enabled"),
    "verify-only": (patched(state="verify-only"), "verify-only"),
    "expired": (patched(expires=PAST), "verify-only"),
    "verify-only and expired": (patched(state="verify-only", expires=PAST), "verify-only"),
    "disabled": (patched(state="disabled"), "disabled"),
    "disabled and expired": (patched(state="disabled", expires=PAST), "disabled"),
    "scheduled for deletion": (scheduled, "disabled"),
}


async def uses(client, post, generate):
    """Every use of a key: its name, the key, the call, and a part of the answer if it succeeds."""
    ec = await generate("p256", exportable=True)
    gcm, kw, hs = [await generate(alg, exportable=True) for alg in ("a256gcm", "a128kw", "hs256")]
    x = await generate("x25519")
    kem = await generate("mlkem768")
    wallet = await generate("ed25519", operations=["box", "box-open"])
    keys = [ec, gcm, kw, hs, x, kem, wallet]
    by = {key["alg"]: {"kid": key["kid"]} for key in keys}
    other = await generate("p256")
    peer, peer_kid = other["jwk"], other["kid"]
    signed = {"data": DATA, "sig": (await post("/sign", by["p256"] | {"data": DATA}))["sig"]}
    sealed = await post("/encrypt", by["a256gcm"] | {"plaintext": DATA})
    wrapped = await post("/wrap", by["a128kw"] | {"key": SIXTEEN})
    mac = {"data": DATA, **await post("/mac", by["hs256"] | {"data": DATA})}
    to, sender = {"to": x["jwk"], "plaintext": DATA}, {"from": x["jwk"]}
    boxed = sender | await post("/box", by["x25519"] | to)
    closed = await post("/box/seal", to)
    secret = await post("/encapsulate", {"to": kem["jwk"]})
    hpke = await post("/hpke/seal", {"to": ec["jwk"], "plaintext": DATA})
    encapsulated = {"ciphertext": secret["ciphertext"]}
    jws = {alg: await post("/jws/sign", by[alg] | {"payload": DATA}) for alg in ("p256", "hs256")}
    cose = {alg: await post("/cose/sign", by[alg] | {"payload": DATA}) for alg in ("p256", "hs256")}
    jwe = {"plaintext": DATA, "enc": "A128CBC-HS256"}
    to_ec = {"recipients": [by["p256"] | {"alg": "ECDH-ES"}]}
    to_kw = {"recipients": [by["a128kw"] | {"alg": "A128KW"}]}
    from_ec = {"recipients": [{"jwk": peer, "alg": "ECDH-1PU"}], "from": ec["kid"]}
    encrypted = await post("/jwe/encrypt", jwe | to_ec)
    good = {"valid": True}
    table = [
        ("sign", "p256", "/sign", {"data": DATA}, {"kid": ec["kid"]}),
        ("sign/batch", "p256", "/sign/batch", {"items": [{"data": DATA}]}, {}),
        ("jws/sign", "p256", "/jws/sign", {"payload": DATA}, {}),
        ("jws/sign mac", "hs256", "/jws/sign", {"payload": DATA}, jws["hs256"]),
        ("csr", "p256", "/csr", {"subject": "CN=a"}, {}),
        ("certificate", "p256", "/certificate", SELF_SIGNED, {}),
        ("crl", "p256", "/crl", {"number": 1, "days": 1, "revoked": []}, {}),
        ("key-attestation", "p256", "/key-attestation", {"keys": [peer_kid]}, {}),
        ("cose/sign", "p256", "/cose/sign", {"payload": DATA}, {}),
        ("cose/sign mac", "hs256", "/cose/sign", {"payload": DATA}, cose["hs256"]),
        ("mac", "hs256", "/mac", {"data": DATA}, {"mac": mac["mac"]}),
        ("encrypt", "a256gcm", "/encrypt", {"plaintext": DATA}, {}),
        ("wrap", "a128kw", "/wrap", {"key": SIXTEEN}, wrapped),
        ("verify", "p256", "/verify", signed, good),
        ("verify/batch", "p256", "/verify/batch", {"items": [signed]}, {"results": [good]}),
        ("jws/verify", "p256", "/jws/verify", jws["p256"], good),
        ("jws/verify mac", "hs256", "/jws/verify", jws["hs256"], good),
        ("cose/verify", "p256", "/cose/verify", cose["p256"], good),
        ("cose/verify mac", "hs256", "/cose/verify", cose["hs256"], good),
        ("mac/verify", "hs256", "/mac/verify", mac, good),
        ("decrypt", "a256gcm", "/decrypt", sealed, {"plaintext": DATA}),
        ("unwrap", "a128kw", "/unwrap", wrapped, {"key": SIXTEEN}),
        ("box", "x25519", "/box", to, {}),
        ("box/open", "x25519", "/box/open", boxed, {"plaintext": DATA}),
        ("box/seal/open", "x25519", "/box/seal/open", closed, {"plaintext": DATA}),
        ("decapsulate", "mlkem768", "/decapsulate", encapsulated, {"secret": secret["secret"]}),
        ("hpke/open", "p256", "/hpke/open", hpke, {"plaintext": DATA}),
        ("derive", "p256", "/derive", {"peer": peer}, {}),
        ("jwe/decrypt", "p256", "/jwe/decrypt", encrypted, {"plaintext": DATA}),
    ]
    authority = await generate("p256", alias="authority")
    for kid in authority["kid"], ec["kid"]:
        made = await post("/certificate", {"kid": kid, **SELF_SIGNED, "days": 9})
        chain = {"certificates": [made["certificate"]]}
        async with client.put(f"/key/{kid}/certificates", json=chain) as response:
            assert response.status == 200
    calls = [(name, "POST", path, by[alg] | body, has) for name, alg, path, body, has in table]
    for name, to in (("", to_kw), (" to it", to_ec), (" from it", from_ec)):
        calls.append((f"jwe/encrypt{name}", "POST", "/jwe/encrypt", jwe | to, {}))
    body = SELF_SIGNED | {"profile": "client", "alias": "authority", "key": ec["kid"]}
    calls.append(("certificate of it", "POST", "/certificate", body, {}))
    pack = {"to": [wallet["b58"]], "from": wallet["kid"], "message": DATA}
    calls.append(("didcomm/pack", "POST", "/didcomm/pack", pack, {}))
    packed = await post("/didcomm/pack", pack)
    calls.append(("didcomm/unpack", "POST", "/didcomm/unpack", packed, {"message": DATA}))
    for name, key in (("export", ec), ("export mac", hs)):
        calls.append((name, "GET", f"/key/{key['kid']}/export", None, {}))
    body = {"alg": "a128gcm", "unwrap_kid": kw["kid"], **wrapped}
    calls.append(("import wrapped", "POST", "/key/import", body, {"alg": "a128gcm"}))
    return keys, calls


@pytest.mark.parametrize("way", WAYS)
async def test_each_state_allows_its_operations_alone(client, get, generate, post, way):
    bring, state = WAYS[way]
    keys, calls = await uses(client, post, generate)
    assert {call[0] for call in calls} == MAKES | CHECKS
    assert {call[2] for call in calls} >= {use.path for use in USES}
    for key in keys:
        await bring(client, key["kid"])
        assert (await get(f"/key/{key['kid']}"))["state"] == state
    done = set()
    for name, method, path, body, has in calls:
        async with client.request(method, path, json=body) as response:
            if response.status == 200:
                done.add(name)
                answer = await response.json()
                assert has.items() <= answer.items(), name
            else:
                problem = await refused(response, 409, "key-not-usable")
                assert state in problem["detail"]
    assert done == ALLOWED[state]


@pytest.mark.each_store
@pytest.mark.parametrize("way", WAYS)
async def test_reading_a_key_in_any_state(client, generate, way):
    bring, state = WAYS[way]
    key = await generate(alias="a", labels={"n": "1"})
    await bring(client, key["kid"])
    found = await (await client.get(f"/key/{key['kid']}")).json()
    assert found["state"] == state
    assert found["jwk"] == key["jwk"]
    assert await (await client.get("/key?alias=a")).json() == found
    assert found.pop("cose_key")
    assert await (await client.get("/keys")).json() == [found]
    assert await (await client.get("/keys?alias=a")).json() == [found]
    listed = (await (await client.get("/jwks.json")).json())["keys"]
    assert [one["kid"] for one in listed] == ([] if state == "disabled" else [key["kid"], "a"])


@pytest.mark.each_store
async def test_a_change_leaves_the_rest(client, generate):
    key = await generate(alias="a", labels={"n": "1"}, expires="2150-06-01T14:00:00.25+02:00")
    assert (key["state"], key["expires"]) == ("enabled", "2150-06-01T12:00:00.250Z")
    for body, change in [
        ({"labels": {"n": "2"}}, {"labels": {"n": "2"}}),
        ({"state": "disabled"}, {"state": "disabled"}),
        ({"expires": None}, {"expires": None}),
        ({"expires": PAST}, {"expires": "2001-02-03T04:05:06.000Z"}),
        ({"state": "enabled"}, {"state": "verify-only"}),
        ({"expires": FUTURE}, {"expires": "2189-12-31T23:00:00.000Z", "state": "enabled"}),
        ({"state": "verify-only", "expires": None}, {"state": "verify-only", "expires": None}),
        ({"state": "enabled", "labels": {}}, {"state": "enabled", "labels": {}}),
    ]:
        key |= change
        async with client.patch(f"/key/{key['kid']}", json=body) as response:
            assert await response.json() == key
        found = await (await client.get(f"/key/{key['kid']}")).json()
        assert found == key | {"cose_key": found["cose_key"]}


async def test_a_key_that_expires(client, generate):
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    kid = (await generate(expires=soon.isoformat()))["kid"]
    async with asyncio.timeout(60):
        while True:
            async with client.post("/sign", json={"kid": kid, "data": DATA}) as response:
                if response.status != 200:
                    break
            await asyncio.sleep((soon - datetime.now(UTC)).total_seconds() - 0.02)
    assert response.status == 409
    assert datetime.now(UTC) >= soon
    assert (await (await client.get(f"/key/{kid}")).json())["state"] == "verify-only"


async def test_an_imported_key_that_has_expired(client, post, generate):
    made = await generate(exportable=True)
    exported = await (await client.get(f"/key/{made['kid']}/export")).json()
    for jwk in (exported["jwk"], made["jwk"]):
        await client.delete(f"/key/{made['kid']}")
        key = await post("/key/import", {"jwk": jwk, "expires": PAST})
        assert (key["state"], key["expires"]) == ("verify-only", "2001-02-03T04:05:06.000Z")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("2100-01-01T00:00:00Z", "2100-01-01T00:00:00.000Z"),
        ("2100-01-01t00:00:00z", "2100-01-01T00:00:00.000Z"),
        ("2100-01-01T00:00:00-00:00", "2100-01-01T00:00:00.000Z"),
        ("2100-01-01T00:00:00.123456789123+14:00", "2099-12-31T10:00:00.123Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("2199-12-31T23:59:59Z", "2199-12-31T23:59:59.000Z"),
    ],
)
async def test_expiry_is_kept_in_utc_milliseconds(client, generate, text, given):
    key = await generate(expires=text)
    assert key["expires"] == given
    async with client.patch(f"/key/{key['kid']}", json={"expires": given}) as response:
        assert (await response.json())["expires"] == given


@pytest.mark.parametrize(
    "value",
    [0, 4102444800, True, {}, "", "2100-01-01", "2100-01-01T00:00:00", "2100-01-01 00:00:00Z",
     "2100-01-01T00:00Z", "20991231T000000Z", "2100-W01-1T00:00:00Z", "2100-02-30T00:00:00Z",
     "2100-01-01T25:00:00Z", "2100-01-01T00:00:00+25:00", "2100-01-01T00:00:00+0100",
     "2100-01-01T00:00:00Z\n", "٢100-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
     "2200-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"],
)  # fmt: skip
async def test_times_that_are_none(client, generate, value):
    kid = (await generate())["kid"]
    for response in (
        await client.patch(f"/key/{kid}", json={"expires": value}),
        await client.post("/key/generate", json={"alg": "ed25519", "expires": value}),
    ):
        problem = await refused(response, 422, "validation-failed")
        assert [error["pointer"] for error in problem["errors"]] == ["#/expires"]


@pytest.mark.parametrize(
    "body",
    [{}, [], {"state": None}, {"state": "gone"}, {"state": 1}, {"state": ["enabled"]},
     {"labels": None}, {"alias": "a"}, {"state": "enabled", "exportable": True}],
)  # fmt: skip
async def test_changes_that_are_none(client, generate, body):
    kid = (await generate())["kid"]
    await refused(await client.patch(f"/key/{kid}", json=body), 422, "validation-failed")


async def test_null_is_no_end_of_a_new_key(refuses):
    body = {"alg": "ed25519", "expires": None}
    await refuses("/key/generate", body, 422, "validation-failed")
