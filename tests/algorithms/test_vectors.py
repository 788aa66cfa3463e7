"""Published vectors, from the package cryptography-vectors."""

import re

import pytest
from cryptography_vectors import open_vector_file

from minikms.encodings import jose_b64url
from minikms.plugin import DecryptionFailed, InvalidKey, Sealed
from minikms.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()

EC_CRV = {"p256": "P-256", "p384": "P-384", "k256": "secp256k1"}


def vectors(path, section=""):
    """The records of a file of NIST's kind, under headings with `section` in them.

    A record is lines `NAME = value` up to an empty one; a line alone, `FAIL`, is a name.
    """
    heading, record = "", {}
    with open_vector_file(path, "r") as lines:
        for line in (*lines, ""):
            name, equals, value = (part.strip() for part in line.partition("="))
            if line.startswith("["):
                heading = line
            elif name and not line.startswith("#"):
                record[name.upper()] = value if equals else True
            elif record:
                if section in heading:
                    yield record
                record = {}


def unhex(digits, size=None):
    """The bytes of hexadecimal digits, some of which NIST leaves out in front."""
    return int(digits, 16).to_bytes(size, "big") if size else bytes.fromhex(digits)


def ec_public(algorithm, x, y):
    size = algorithm.size
    return algorithm.load_public(
        {
            "kty": "EC",
            "crv": EC_CRV[algorithm.name],
            "x": jose_b64url(unhex(x, size)),
            "y": jose_b64url(unhex(y, size)),
        }
    )


def outcome(call, *arguments):
    """What `call` gives, or None where it refuses."""
    try:
        return call(*arguments)
    except DecryptionFailed:
        return None


def test_ed25519_of_rfc_8032():
    ed25519 = REGISTRY.get("ed25519")
    with open_vector_file("asymmetric/Ed25519/sign.input", "r") as lines:
        rows = [[unhex(field) for field in line.split(":")[:4]] for line in lines]
    assert len(rows) == 1024
    for secret, public, message, signed in rows:
        key, signature = ed25519.import_secret(secret[:32]), signed[:64]
        assert ed25519.public_bytes(key) == public
        assert ed25519.sign(key, message, "EdDSA", False) == signature
        loaded = ed25519.load_public(ed25519.public_jwk(key))
        assert ed25519.verify(loaded, message, signature, "EdDSA", False)
        assert not ed25519.verify(loaded, message + b"!", signature, "EdDSA", False)


@pytest.mark.parametrize(
    ("name", "section"), [("p256", "[P-256,SHA-256]"), ("p384", "[P-384,SHA-384]")]
)
def test_ecdsa_verification_of_fips_186(name, section):
    algorithm, expected, found = REGISTRY.get(name), [], []
    for vector in vectors("asymmetric/ECDSA/FIPS_186-3/SigVer.rsp", section):
        # "F (1 - Message changed)", "F (4 - Q changed)"
        expected.append(vector["RESULT"].startswith("P"))
        signature = b"".join(unhex(vector[half], algorithm.size) for half in "RS")
        alg = algorithm.signing_algs[0]
        public = ec_public(algorithm, vector["QX"], vector["QY"])
        found.append(algorithm.verify(public, unhex(vector["MSG"]), signature, alg, False))
    assert found == expected
    assert {True, False} == set(expected)


@pytest.mark.parametrize(
    ("name", "path", "section"),
    [
        ("p256", "asymmetric/ECDSA/FIPS_186-3/SigGen.txt", "[P-256,SHA-256]"),
        ("p384", "asymmetric/ECDSA/FIPS_186-3/SigGen.txt", "[P-384,SHA-384]"),
        ("k256", "asymmetric/ECDSA/SECP256K1/SigGen.txt", "[K-256,SHA-256]"),
    ],
)
def test_ecdsa_signatures_of_others(name, path, section):
    algorithm, alg = REGISTRY.get(name), REGISTRY.get(name).signing_algs[0]
    checked = 0
    for vector in vectors(path, section):
        key = algorithm.import_secret(unhex(vector["D"], algorithm.size))
        public = ec_public(algorithm, vector["QX"], vector["QY"])
        message = unhex(vector["MSG"])
        signature = b"".join(unhex(vector[half], algorithm.size) for half in "RS")
        assert algorithm.verify(public, message, signature, alg, False)
        assert algorithm.verify(
            public, message, algorithm.sign(key, message, alg, False), alg, False
        )
        checked += 1
    assert checked


@pytest.mark.parametrize(
    ("name", "section"), [("p256", "[EC - SHA256]"), ("p384", "[ED - SHA384]")]
)
@pytest.mark.parametrize("role", ["init", "resp"])
def test_ecdh_of_nist(name, section, role):
    algorithm = REGISTRY.get(name)
    path = f"asymmetric/ECDH/KASValidityTest_ECCStaticUnified_NOKC_ZZOnly_{role}.fax"
    agreed = refused = 0
    for vector in vectors(path, section):
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


def test_x25519_of_rfc_7748():
    x25519, checked = REGISTRY.get("x25519"), 0
    for vector in vectors("asymmetric/X25519/rfc7748.txt"):
        key = x25519.import_secret(unhex(vector["INPUT_SCALAR"]))
        u = jose_b64url(unhex(vector["INPUT_U"]))
        peer = x25519.load_public({"kty": "OKP", "crv": "X25519", "x": u})
        assert x25519.derive(key, peer) == unhex(vector["OUTPUT_U"])
        checked += 1
    assert checked == 3


@pytest.mark.parametrize("bits", [128, 256])
def test_aes_gcm_of_nist(bits):
    algorithm, expected, found = REGISTRY.get(f"a{bits}gcm"), [], []
    for vector in vectors(f"ciphers/AES/GCM/gcmDecrypt{bits}.rsp"):
        nonce, tag = unhex(vector["IV"]), unhex(vector["TAG"])
        if (len(nonce), len(tag)) != (12, 16):  # RFC 7518 section 5.3 allows no other
            continue
        expected.append(None if "FAIL" in vector else unhex(vector["PT"]))
        sealed = Sealed(unhex(vector["CT"]), nonce, tag)
        key = algorithm.import_secret(unhex(vector["KEY"]))
        found.append(outcome(algorithm.decrypt, key, sealed, unhex(vector["AAD"])))
    assert found == expected
    assert len(found) > 100
    assert None in found


def text_or_hex(value):
    """BoringSSL writes text in quotation marks."""
    quoted = re.fullmatch('"(.*)"', value)
    return quoted[1].encode() if quoted else unhex(value)


def test_chacha20_poly1305_of_boringssl():
    c20p, checked = REGISTRY.get("c20p"), 0
    for vector in vectors("ciphers/ChaCha20Poly1305/boringssl.txt"):
        fields = (text_or_hex(vector[name]) for name in ("KEY", "NONCE", "IN", "AD", "CT", "TAG"))
        key, nonce, plaintext, aad, ciphertext, tag = fields
        if len(nonce) != 12:
            continue
        sealed = Sealed(ciphertext, nonce, tag)
        assert c20p.decrypt(c20p.import_secret(key), sealed, aad) == plaintext
        checked += 1
    assert checked > 50


def test_chacha20_poly1305_of_openssl():
    c20p, expected, found = REGISTRY.get("c20p"), [], []
    for vector in vectors("ciphers/ChaCha20Poly1305/openssl.txt"):
        fields = (unhex(vector[name]) for name in ("KEY", "IV", "AAD", "TAG", "CIPHERTEXT"))
        key, nonce, aad, tag, ciphertext = fields
        if len(nonce) != 12:
            continue
        expected.append(None if "RESULT" in vector else unhex(vector["PLAINTEXT"]))
        sealed = Sealed(ciphertext, nonce, tag)
        found.append(outcome(c20p.decrypt, c20p.import_secret(key), sealed, aad))
    assert found == expected
    assert None in found


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("form", ["KW", "KWP"])
def test_key_unwrap_of_nist(bits, form):
    algorithm, expected, found = REGISTRY.get(f"a{bits}kw"), [], []
    for vector in vectors(f"keywrap/kwtestvectors/{form}_AD_{bits}.txt"):
        expected.append(None if "FAIL" in vector else unhex(vector["P"]))
        key = algorithm.import_secret(unhex(vector["K"]))
        found.append(outcome(algorithm.unwrap, key, unhex(vector["C"])))
    assert found == expected
    assert len(found) >= 400
    assert None in found


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("form", ["KW", "KWP"])
def test_key_wrap_of_nist(bits, form):
    algorithm, checked = REGISTRY.get(f"a{bits}kw"), 0
    for vector in vectors(f"keywrap/kwtestvectors/{form}_AE_{bits}.txt"):
        secret = unhex(vector["P"])
        # What is shorter is no key; what is not padded goes the way of RFC 3394.
        if len(secret) < 16 or (form == "KWP" and len(secret) % 8 == 0):
            continue
        key = algorithm.import_secret(unhex(vector["K"]))
        assert algorithm.wrap(key, secret) == unhex(vector["C"])
        checked += 1
    assert checked >= 100
