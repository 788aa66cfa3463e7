import pytest

SIGN, AEAD, WRAP = ["sign", "verify"], ["encrypt", "decrypt"], ["wrap", "unwrap"]
MAC, BOX = ["mac", "mac-verify"], ["box", "box-open"]
JWE = ["jwe-encrypt", "jwe-decrypt"]
HPKE = "hpke-open"

FACTS = ("name", "aliases", "kty", "jose_algs")
RSA = [f"{scheme}{bits}" for scheme in ("RS", "PS") for bits in (256, 384, 512)]

# name: JWK key type, JOSE names, and what it can do besides importing
ALGORITHMS = {
    "ed25519": ("OKP", ["EdDSA", "Ed25519"], [*SIGN, "derive", *JWE, *BOX]),
    "ed448": ("OKP", ["Ed448", "EdDSA"], SIGN),
    "x25519": ("OKP", ["ECDH-ES"], ["derive", *JWE, *BOX, HPKE]),
    "x448": ("OKP", ["ECDH-ES"], ["derive", *JWE]),
    "k256": ("EC", ["ES256K", "ECDH-ES"], [*SIGN, "derive", *JWE]),
    "p256": ("EC", ["ES256", "ECDH-ES"], [*SIGN, "derive", *JWE, HPKE]),
    "p384": ("EC", ["ES384", "ECDH-ES"], [*SIGN, "derive", *JWE, HPKE]),
    "p521": ("EC", ["ES512", "ECDH-ES"], [*SIGN, "derive", *JWE, HPKE]),
    "rsa2048": ("RSA", [*RSA, "RSA-OAEP-256"], [*SIGN, *AEAD, *JWE]),
    "rsa3072": ("RSA", [*RSA, "RSA-OAEP-256"], [*SIGN, *AEAD, *JWE]),
    "rsa4096": ("RSA", [*RSA, "RSA-OAEP-256"], [*SIGN, *AEAD, *JWE]),
    "mldsa44": ("AKP", ["ML-DSA-44"], SIGN),
    "mldsa65": ("AKP", ["ML-DSA-65"], SIGN),
    "mldsa87": ("AKP", ["ML-DSA-87"], SIGN),
    "mlkem768": ("AKP", ["ML-KEM-768"], ["decapsulate", HPKE]),
    "mlkem1024": ("AKP", ["ML-KEM-1024"], ["decapsulate", HPKE]),
    "bls12381g1": ("EC", [], []),
    "bls12381g2": ("EC", [], []),
    "a128gcm": ("oct", ["A128GCM"], [*AEAD, *JWE]),
    "a192gcm": ("oct", ["A192GCM"], [*AEAD, *JWE]),
    "a192cbchs384": ("oct", ["A192CBC-HS384"], [*AEAD, *JWE]),
    "a192kw": ("oct", ["A192KW"], [*WRAP, *JWE]),
    "a256gcm": ("oct", ["A256GCM"], [*AEAD, *JWE]),
    "a128cbchs256": ("oct", ["A128CBC-HS256"], [*AEAD, *JWE]),
    "a256cbchs512": ("oct", ["A256CBC-HS512"], [*AEAD, *JWE]),
    "a128kw": ("oct", ["A128KW"], [*WRAP, *JWE]),
    "a256kw": ("oct", ["A256KW"], [*WRAP, *JWE]),
    "c20p": ("oct", ["C20P"], [*AEAD, *JWE]),
    "xc20p": ("oct", ["XC20P"], [*AEAD, *JWE]),
    "hs256": ("oct", ["HS256"], MAC),
    "hs384": ("oct", ["HS384"], MAC),
    "hs512": ("oct", ["HS512"], MAC),
}


async def test_the_algorithms_are_listed_with_what_they_can_do(client):
    response = await client.get("/algorithms")
    found = {}
    for entry in await response.json():
        assert entry.keys() == {*FACTS, "operations", "opt_in", "source"}
        if entry["source"] == "minikms":
            uses = [op for op in entry["operations"] if not op.startswith("import-")]
            found[entry["name"]] = (entry["kty"], entry["jose_algs"], uses)
    assert (response.status, found) == (200, ALGORITHMS)


@pytest.mark.each_store
@pytest.mark.parametrize(("path", "status"), [("/healthz", "alive"), ("/readyz", "ready")])
async def test_health_and_readiness_are_answered(client, path, status):
    response = await client.get(path)
    assert (response.status, await response.json()) == (200, {"status": status})


async def test_routes_without_keys_ignore_the_profile(client):
    for path in ("/healthz", "/readyz", "/algorithms", "/profiles"):
        assert (await client.get(path, headers={"X-Profile": "nobody"})).status == 200
