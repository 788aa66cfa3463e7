"""Private keys of pyca/cryptography that sign by the service."""

import copy
import hashlib
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from minikms_client import AliasNotFound, RuleViolated
from minikms_client.pyca import private_key

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
# The hash of an X.509 signature.
HASHES = {
    "p256": hashes.SHA256(),
    "p384": hashes.SHA384(),
    "p521": hashes.SHA512(),
    "k256": hashes.SHA256(),
    "rsa2048": hashes.SHA384(),
    "ed25519": None,
    "ed448": None,
}
JOSE = {
    "p256": ["ES256"],
    "p384": ["ES384"],
    "k256": ["ES256K"],
    "rsa2048": ["RS256", "RS512", "PS256", "PS384"],
    "ed25519": ["EdDSA"],
    "ed448": ["EdDSA"],
}


@pytest.fixture
def signer(minikms):
    def make(alg):
        minikms.generate_key(alg, alias="signer")
        return private_key(minikms, alias="signer")

    return make


@pytest.mark.parametrize("alg", HASHES)
def test_a_request_and_a_certificate_are_signed(signer, alg):
    key = signer(alg)
    request = x509.CertificateSigningRequestBuilder(NAME).sign(key, HASHES[alg])
    assert request.is_signature_valid
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = builder.sign(key, HASHES[alg])
    certificate.verify_directly_issued_by(certificate)


@pytest.mark.parametrize("alg", JOSE)
def test_pyjwt_signs(signer, alg):
    key = signer(alg)
    for name in JOSE[alg]:
        token = jwt.encode({"sub": "alice"}, key, name)
        assert jwt.decode(token, key.public_key(), [name]) == {"sub": "alice"}


def test_a_digest_is_signed(signer):
    key = signer("p256")
    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    signature = key.sign(hashlib.sha256(b"hello").digest(), algorithm)
    key.public_key().verify(signature, b"hello", ec.ECDSA(hashes.SHA256()))
    assert (key.curve.name, key.key_size) == ("secp256r1", 256)


@pytest.mark.parametrize("algorithm", [hashes.SHA384(), hashes.SHA3_256()])
def test_a_hash_that_the_curve_does_not_have_is_refused(signer, algorithm):
    with pytest.raises(UnsupportedAlgorithm):
        signer("p256").sign(b"hello", ec.ECDSA(algorithm))


def test_a_padding_that_jose_does_not_have_is_refused(signer):
    key = signer("rsa2048")
    assert key.key_size == 2048
    sha256, mgf = hashes.SHA256(), padding.MGF1(hashes.SHA256())
    for form, digest in (
        (padding.PSS(mgf, 20), sha256),
        (padding.PSS(padding.MGF1(hashes.SHA512()), 32), sha256),
        (padding.PKCS1v15(), hashes.SHA3_256()),
        (padding.PKCS1v15(), hashes.SHA1()),
        (padding.PKCS1v15(), utils.NoDigestInfo()),
    ):
        with pytest.raises(UnsupportedAlgorithm):
            key.sign(b"hello", form, digest)
    key.sign(b"hello", padding.PSS(mgf, padding.PSS.DIGEST_LENGTH), sha256)


@pytest.mark.parametrize("alg", HASHES)
def test_the_private_key_stays_in_the_service(signer, alg):
    key = signer(alg)
    assert copy.deepcopy(key) is copy.copy(key) is key
    assert repr(key).endswith(f"{key.kid}>")
    with pytest.raises(UnsupportedAlgorithm):
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name in ("private_bytes_raw", "private_numbers"):
        if hasattr(key, name):
            with pytest.raises(UnsupportedAlgorithm):
                getattr(key, name)()


def test_keys_that_pyca_has_no_class_for(minikms):
    for alg in ("mldsa44", "x25519", "hs256"):
        kid = minikms.generate_key(alg).kid
        with pytest.raises(UnsupportedAlgorithm):
            private_key(minikms, kid=kid)
    with pytest.raises(AliasNotFound):
        private_key(minikms, alias="nobody")
    with pytest.raises(TypeError):
        private_key(minikms)


RULES = {"jws": {"claims": {"iss": ["https://issuer.example"]}}, "cose": True}


@pytest.mark.parametrize("alg", JOSE)
def test_a_key_with_rules_signs_what_a_library_makes_for_a_jws(minikms, alg):
    minikms.generate_key(alg, alias="signer", rules=RULES)
    key = private_key(minikms, alias="signer")
    for name in JOSE[alg]:
        token = jwt.encode({"iss": "https://issuer.example"}, key, name)
        assert jwt.decode(token, key.public_key(), [name])
        with pytest.raises(RuleViolated):
            jwt.encode({"iss": "https://evil.example"}, key, name)
    with pytest.raises(RuleViolated):
        x509.CertificateSigningRequestBuilder(NAME).sign(key, HASHES[alg])


def test_a_key_with_rules_signs_what_a_library_makes_for_a_cose_message(minikms):
    minikms.generate_key("p256", alias="signer", rules={"raw": False})
    key = private_key(minikms, alias="signer")
    structure = bytes.fromhex("846a5369676e61747572653143a10126404568656c6c6f")
    key.public_key().verify(
        key.sign(structure, ec.ECDSA(hashes.SHA256())), structure, ec.ECDSA(hashes.SHA256())
    )


@pytest.mark.parametrize("alg", HASHES)
def test_only_bytes_are_signed(signer, alg):
    """An int is not the length of a message of zeros."""
    key = signer(alg)
    options = {
        "rsa2048": [padding.PKCS1v15(), hashes.SHA256()],
        "ed25519": [],
        "ed448": [],
    }.get(alg, [ec.ECDSA(HASHES[alg])])
    for other in (5, "text", [104, 105], None):
        with pytest.raises(TypeError):
            key.sign(other, *options)
    for form in (bytearray(b"text"), memoryview(b"text")):
        key.public_key().verify(key.sign(form, *options), b"text", *options)
