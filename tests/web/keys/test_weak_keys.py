"""Keys that cost too much to look at, and keys that nobody should believe, over HTTP."""

import contextlib
import json
import time

import pytest
from base64url import jose
from problems import refused

from minikms.encodings import thumbprint
from minikms.records import KeyRecord
from minikms.web.state import SERVICE

pytestmark = pytest.mark.shared_service

# A prime of 2,048 bits; 2²⁵⁶ divides the number before it.
PRIME = (2**1791 + 427) * 2**256 + 1
E = 65537
MIB = 1024 * 1024

IDENTITY_25519 = (1).to_bytes(32, "little")
OFF_CURVE_25519 = (2).to_bytes(32, "little")
WEAK = {
    "Ed25519, the identity": ("Ed25519", IDENTITY_25519),
    "Ed25519, y = 2": ("Ed25519", OFF_CURVE_25519),
    "Ed25519, not reduced": ("Ed25519", (2**255 - 19 + 3).to_bytes(32, "little")),
    "Ed448, the identity": ("Ed448", (1).to_bytes(57, "little")),
    "Ed448, y = 2": ("Ed448", (2).to_bytes(57, "little")),
}
weak = pytest.mark.parametrize(("crv", "x"), WEAK.values(), ids=WEAK)


def text(number):
    return jose(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def okp(crv, x):
    return {"kty": "OKP", "crv": crv, "x": jose(x)}


@pytest.mark.process
def test_an_rsa_jwk_of_a_prime_n_is_refused_and_holds_nobody_up(serve):
    """From d alone no factors are looked for without an end."""
    service = serve("--port", "0")
    body = {"jwk": {"kty": "RSA", "n": text(PRIME), "e": "AQAB", "d": text(pow(E, -1, PRIME - 1))}}
    with contextlib.closing(service.connect()) as connection:
        connection.request("POST", "/key/import", json.dumps(body))
        with connection.getresponse() as response:
            problem = json.loads(response.read())
    assert (response.status, problem["type"]) == (422, "urn:minikms:problem:invalid-key")
    assert service.status("GET", "/healthz") == 200
    assert service.stop()[0] == 0


@weak
async def test_a_public_key_that_is_no_point_is_not_imported(client, refuses, crv, x):
    await refuses("/key/import", {"jwk": okp(crv, x)}, 422, "invalid-key")
    assert await (await client.get("/keys")).json() == []


@weak
async def test_a_public_key_that_is_no_point_verifies_nothing(refuses, crv, x):
    by, sig = {"jwk": okp(crv, x)}, jose(x.ljust(2 * len(x), b"\0"))
    header = jose(json.dumps({"alg": "EdDSA"}).encode())
    for path, what in (
        ("/verify", {"data": "", "sig": sig}),
        ("/verify/batch", {"items": [{"data": "", "sig": sig}]}),
        ("/jws/verify", {"jws": f"{header}..{sig}"}),
    ):
        await refuses(path, by | what, 422, "invalid-key")


@weak
async def test_one_that_was_stored_before_verifies_nothing(client, refuses, profile, crv, x):
    """As an older version has left it."""
    jwk = okp(crv, x)
    record = KeyRecord(
        kid=thumbprint(jwk),
        alg=crv.lower(),
        kty="OKP",
        jwk=jwk,
        b58=None,
        multikey=None,
        did=None,
        operations=("verify",),
        material="none",
        created=time.time_ns(),
    )
    await client.app[SERVICE].operations.store.insert(profile, record, b"")
    body = {"kid": record.kid, "data": "", "sig": jose(x.ljust(2 * len(x), b"\0"))}
    for _ in range(2):  # the second time its record is in memory
        await refuses("/verify", body, 422, "invalid-key")
    assert (await client.delete(f"/key/{record.kid}")).status == 200


@pytest.mark.parametrize(("crv", "size"), [("X25519", 32), ("X448", 56)])
async def test_a_public_key_of_low_order_is_neither_imported_nor_agreed_with(
    refuses, generate, crv, size
):
    kid = (await generate(crv))["kid"]
    for u in (0, 1):
        jwk = okp(crv, u.to_bytes(size, "little"))
        await refuses("/key/import", {"jwk": jwk}, 422, "invalid-key")
        body = {"kid": kid, "peer": jwk}
        await refuses("/derive", body, 422, "invalid-key")


@pytest.mark.parametrize(("crv", "size"), [("BLS12381G1", 48), ("BLS12381G2", 96)])
async def test_the_identity_of_bls_is_not_imported(refuses, crv, size):
    """draft-irtf-cfrg-bls-signature section 2.5: KeyValidate."""
    point = {"x": jose(b"\x40" + bytes(size - 1)), "y": jose(bytes(size))}
    body = {"jwk": {"kty": "EC", "crv": crv, **point}}
    await refuses("/key/import", body, 422, "invalid-key")


RSA = {"kty": "RSA", "n": text(2**2048 - 1), "e": "AQAB"}


@pytest.mark.parametrize(
    "jwk",
    [
        RSA | {"n": text(2**16_384 - 1)},
        RSA | {"e": text(2**2047 + 1)},
        RSA | {"e": text(2**16_384 + 1)},
        RSA | {"e": "A" * (MIB // 2)},
        RSA | {"n": "A" * (MIB // 2)},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * (MIB // 2)},
        {"kty": "EC", "crv": "P-256", "x": "A" * (MIB // 2), "y": "A" * (MIB // 2 - 9000)},
        {"kty": "EC", "crv": "BLS12381G1", "x": "A" * (MIB // 2), "y": "AA"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "A" * (MIB // 2)},
    ],
    ids=lambda jwk: f"{jwk['kty']} of {len(str(jwk))} characters",
)
async def test_a_jwk_of_any_size_is_refused(refuses, jwk):
    await refuses("/key/import", {"jwk": jwk}, 422, "invalid-key")
    if not jwk.get("crv", "").startswith("BLS"):
        body = {"jwk": jwk, "data": "", "sig": ""}
        await refuses("/verify", body, 422, "invalid-key")


async def test_the_secret_of_a_mac_is_bounded(client, post):
    """All of it is hashed at each use."""
    for size, status in ((4096, 200), (4097, 422)):
        k = jose(bytes(size))
        for body in (
            {"alg": "hs256", "secret": k},
            {"jwk": {"kty": "oct", "alg": "HS256", "k": k}},
        ):
            response = await client.post("/key/import", json=body)
            assert response.status == status
            if status == 422:
                await refused(response, 422, "invalid-key")


async def test_key_material_of_any_size_is_refused(client, refuses, generate):
    kek = (await generate("a256kw"))["kid"]
    long = jose(bytes(65_536))
    for field, more in (
        ("secret", {"alg": "a256gcm"}),
        ("seed", {"alg": "ed25519"}),
        ("wrapped", {"alg": "a256gcm", "unwrap_kid": kek}),
    ):
        problem = await refuses("/key/import", more | {field: long}, 422, "validation-failed")
        assert f"#/{field}" in [error["pointer"] for error in problem["errors"]]
        response = await client.post("/key/import", json=more | {field: jose(bytes(65_535))})
        assert "validation-failed" not in (await response.json())["type"]


@pytest.mark.process
def test_unbalanced_primes_of_a_seed_file_stop_the_start(run, tmp_path):
    p, q = 2**4090 + 2 * 2533 + 1, 61
    d = pow(E, -1, (p - 1) * (q - 1))
    numbers = {"n": p * q, "e": E, "d": d, "p": p, "q": q}
    jwk = {"kty": "RSA", **{name: text(number) for name, number in numbers.items()}}
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"jwk": jwk}]}))
    ended = run("serve", "--port", "0", "--seed-keys", str(file))
    assert ended.returncode == 2
    assert "keys[0]" in ended.stderr
