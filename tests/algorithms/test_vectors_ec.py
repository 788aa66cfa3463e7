"""Published vectors of elliptic curves, from the package cryptography-vectors."""

import pytest
from cryptography_vectors import open_vector_file

from minikms.encodings import jose_b64url
from minikms.plugin import InvalidKey, SignatureOptions

SIG_GEN = "asymmetric/ECDSA/FIPS_186-3/SigGen.txt"
ECDH = "asymmetric/ECDH/KASValidityTest_ECCStaticUnified_NOKC_ZZOnly"


@pytest.fixture
def ec_public(unhex):
    def load(algorithm, x, y):
        x, y = (jose_b64url(unhex(number, algorithm.size)) for number in (x, y))
        return algorithm.load_public({"kty": "EC", "crv": algorithm.crv, "x": x, "y": y})

    return load


@pytest.fixture
def joined(unhex):
    def join(algorithm, vector):
        return unhex(vector["R"], algorithm.size) + unhex(vector["S"], algorithm.size)

    return join


def test_ed25519_of_rfc_8032(registry, unhex):
    with open_vector_file("asymmetric/Ed25519/sign.input", "r") as lines:
        rows = [[unhex(field) for field in line.split(":")[:4]] for line in lines]
    assert len(rows) == 1024
    for secret, public, message, signed in rows:
        check_edwards(registry.get("ed25519"), secret[:32], public, message, signed[:64])


def test_ed448_of_rfc_8032(registry, vectors, unhex):
    ed448, checked = registry.get("ed448"), 0
    for vector in vectors("asymmetric/Ed448/rfc8032.txt"):
        names = ("SECRET", "PUBLIC", "MESSAGE", "SIGNATURE")
        secret, public, message, signature = (unhex(vector[name]) for name in names)
        if "CONTEXT" in vector:  # which no JOSE signature has
            loaded = ed448.import_secret(secret).public_key()
            assert not ed448.verify(loaded, message, signature, SignatureOptions("Ed448"))
            continue
        check_edwards(ed448, secret, public, message, signature)
        checked += 1
    assert checked == 8


def check_edwards(algorithm, secret, public, message, signature):
    key = algorithm.import_secret(secret)
    assert algorithm.public_bytes(key) == public
    loaded = algorithm.load_public(algorithm.public_jwk(key))
    for alg in algorithm.signing_algs:
        assert algorithm.sign(key, message, SignatureOptions(alg)) == signature
        assert algorithm.verify(loaded, message, signature, SignatureOptions(alg))
        assert not algorithm.verify(loaded, message + b"!", signature, SignatureOptions(alg))


@pytest.mark.parametrize(
    ("name", "section"),
    [("p256", "[P-256,SHA-256]"), ("p384", "[P-384,SHA-384]"), ("p521", "[P-521,SHA-512]")],
)
def test_ecdsa_verification_of_fips_186(registry, vectors, unhex, ec_public, joined, name, section):
    algorithm, expected, found = registry.get(name), [], []
    for vector in vectors("asymmetric/ECDSA/FIPS_186-3/SigVer.rsp", section):
        # "F (1 - Message changed)", "F (4 - Q changed)"
        expected.append(vector["RESULT"].startswith("P"))
        alg, message = algorithm.signing_algs[0], unhex(vector["MSG"])
        public = ec_public(algorithm, vector["QX"], vector["QY"])
        found.append(
            algorithm.verify(public, message, joined(algorithm, vector), SignatureOptions(alg))
        )
    assert found == expected
    assert {True, False} == set(expected)


@pytest.mark.parametrize(
    ("name", "path", "section"),
    [
        ("p256", SIG_GEN, "[P-256,SHA-256]"),
        ("p384", SIG_GEN, "[P-384,SHA-384]"),
        ("p521", SIG_GEN, "[P-521,SHA-512]"),
        ("k256", "asymmetric/ECDSA/SECP256K1/SigGen.txt", "[K-256,SHA-256]"),
    ],
)
def test_ecdsa_signatures_of_others(
    registry, vectors, unhex, ec_public, joined, name, path, section
):
    algorithm, checked = registry.get(name), 0
    for vector in vectors(path, section):
        key = algorithm.import_secret(unhex(vector["D"], algorithm.size))
        public = ec_public(algorithm, vector["QX"], vector["QY"])
        assert algorithm.public_bytes(key) == algorithm.public_bytes(public)
        alg, message = algorithm.signing_algs[0], unhex(vector["MSG"])
        for signature in (
            joined(algorithm, vector),
            algorithm.sign(key, message, SignatureOptions(alg)),
        ):
            assert algorithm.verify(public, message, signature, SignatureOptions(alg))
        checked += 1
    assert checked


@pytest.mark.parametrize(
    ("name", "section"),
    [("p256", "[EC - SHA256]"), ("p384", "[ED - SHA384]"), ("p521", "[EE - SHA512]")],
)
@pytest.mark.parametrize("role", ["init", "resp"])
def test_ecdh_gives_the_secrets_of_nist(registry, vectors, unhex, ec_public, name, section, role):
    algorithm = registry.get(name)
    agreed = refused = 0
    for vector in vectors(f"{ECDH}_{role}.fax", section):
        peer = vector["QSCAVSX"], vector["QSCAVSY"]
        if "CAVS's Static public key" in vector["RESULT"]:
            with pytest.raises(InvalidKey):
                ec_public(algorithm, *peer)
            refused += 1
        elif vector["RESULT"].startswith("P"):
            key = algorithm.import_secret(unhex(vector["DSIUT"], algorithm.size))
            secret = algorithm.derive(key, ec_public(algorithm, *peer))
            assert secret == unhex(vector["Z"], algorithm.size)
            agreed += 1
    assert agreed
    assert refused


@pytest.mark.parametrize("name", ["x25519", "x448"])
def test_montgomery_agreement_of_rfc_7748(registry, vectors, unhex, name):
    algorithm, checked = registry.get(name), 0
    for vector in vectors(f"asymmetric/{algorithm.crv}/rfc7748.txt"):
        key = algorithm.import_secret(unhex(vector["INPUT_SCALAR"]))
        u = jose_b64url(unhex(vector["INPUT_U"]))
        peer = algorithm.load_public({"kty": "OKP", "crv": algorithm.crv, "x": u})
        assert algorithm.derive(key, peer) == unhex(vector["OUTPUT_U"])
        checked += 1
    assert checked == 3
