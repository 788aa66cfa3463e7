"""Signatures with a hash of the caller's choice, checked by pyca/cryptography."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from minikms.algorithms.ecdsa import K256, P256, P384, P521
from minikms.algorithms.okp import Ed25519
from minikms.algorithms.rsa import Rsa2048
from minikms.keys.operation import UsableKey
from minikms.keys.signing import Sign, SignOptions
from minikms.plugin import HASHES, SignatureOptions, UnsupportedOption, ValidationFailed

CURVES = {each.name: each() for each in (P256, P384, P521, K256)}
MESSAGE = b"a message"


def check(algorithm, public, message, signature, chosen):
    """Verify an ECDSA signature by OpenSSL, which raises InvalidSignature."""
    point = algorithm.point(public, compressed=True)
    public = ec.EllipticCurvePublicKey.from_encoded_point(algorithm.curve, point)
    public.verify(algorithm.to_der(signature), message, ec.ECDSA(chosen))


def public_of(key):
    return key.public_key() if callable(key.public_key) else key.public_key


@pytest.fixture(scope="module")
def rsa_key():
    return Rsa2048().generate()


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("algorithm", CURVES.values(), ids=CURVES)
def test_each_curve_signs_with_each_hash(algorithm, name):
    key, options = algorithm.generate(), SignatureOptions(hash=name)
    public = public_of(key)
    signature = algorithm.sign(key, MESSAGE, options)
    check(algorithm, public, MESSAGE, signature, HASHES[name])
    assert algorithm.verify(public, MESSAGE, signature, options)
    assert not algorithm.verify(public, b"another", signature, options)


@pytest.mark.parametrize("algorithm", CURVES.values(), ids=CURVES)
def test_the_hash_of_the_curve_gives_the_signature_of_its_alg(algorithm):
    key = algorithm.generate()
    signature = algorithm.sign(key, MESSAGE, SignatureOptions(hash=algorithm.hash.name))
    assert signature == algorithm.sign(key, MESSAGE, SignatureOptions())


@pytest.mark.parametrize("algorithm", CURVES.values(), ids=CURVES)
def test_a_digest_may_be_given_instead(algorithm):
    key = algorithm.generate()
    digest = hashlib.sha512(MESSAGE).digest()
    signature = algorithm.sign(key, digest, SignatureOptions(prehashed=True, hash="sha512"))
    check(algorithm, public_of(key), MESSAGE, signature, hashes.SHA512())
    assert signature == algorithm.sign(key, digest, SignatureOptions(hash="none"))
    with pytest.raises(ValidationFailed):
        algorithm.sign(key, digest[1:], SignatureOptions(prehashed=True, hash="sha512"))


@pytest.mark.parametrize("algorithm", CURVES.values(), ids=CURVES)
def test_a_digest_of_no_hash_has_any_length_but_none(algorithm):
    key, options = algorithm.generate(), SignatureOptions(hash="none")
    signature = algorithm.sign(key, b"\1\2\3", options)
    # The number counts, so zeros before it change nothing.
    padded = utils.Prehashed(hashes.SHA1())
    check(algorithm, public_of(key), b"\1\2\3".rjust(20, b"\0"), signature, padded)
    with pytest.raises(ValidationFailed):
        algorithm.sign(key, b"", options)


def test_p521_takes_no_digest_that_is_longer_than_sha512():
    with pytest.raises(ValidationFailed):
        P521().sign(P521().generate(), bytes(65), SignatureOptions(hash="none"))


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("salt", [None, "auto", 0, 7])
def test_rsa_pss_has_each_hash_and_salt(rsa_key, name, salt):
    rsa, chosen = Rsa2048(), HASHES[name]
    options = SignatureOptions("PS256", hash=name, salt_length=salt)
    signature = rsa.sign(rsa_key, MESSAGE, options)
    length = {None: chosen.digest_size, "auto": 256 - 2 - chosen.digest_size}.get(salt, salt)
    public = rsa_key.public_key()
    public.verify(signature, MESSAGE, padding.PSS(padding.MGF1(chosen), length), chosen)
    assert rsa.verify(public, MESSAGE, signature, options)
    assert rsa.verify(public, MESSAGE, signature, SignatureOptions("PS256", False, name, "auto"))
    assert not rsa.verify(public, MESSAGE, signature, SignatureOptions("PS256", False, name, 11))


@pytest.mark.parametrize("name", HASHES)
def test_rsa_pkcs1_has_each_hash(rsa_key, name):
    rsa, options = Rsa2048(), SignatureOptions("RS256", hash=name)
    signature = rsa.sign(rsa_key, MESSAGE, options)
    rsa_key.public_key().verify(signature, MESSAGE, padding.PKCS1v15(), HASHES[name])
    digest = hashlib.new(name, MESSAGE).digest()
    assert rsa.sign(rsa_key, digest, SignatureOptions("RS256", True, name)) == signature


def test_rsa_pkcs1_signs_bytes_without_a_hash(rsa_key):
    rsa, options = Rsa2048(), SignatureOptions("RS256", hash="none")
    signature = rsa.sign(rsa_key, MESSAGE, options)
    plain = rsa_key.public_key().recover_data_from_signature(signature, padding.PKCS1v15(), None)
    assert plain == MESSAGE
    assert rsa.verify(rsa_key.public_key(), MESSAGE, signature, options)
    with pytest.raises(ValidationFailed):
        rsa.sign(rsa_key, bytes(246), options)
    with pytest.raises(UnsupportedOption):
        rsa.sign(rsa_key, MESSAGE, SignatureOptions("PS256", hash="none"))


@pytest.mark.parametrize("length", [223, 2**70, -1])
def test_rsa_refuses_salts_that_the_key_cannot_have(rsa_key, length):
    options = SignatureOptions("PS256", salt_length=length)
    with pytest.raises(ValidationFailed):
        Rsa2048().sign(rsa_key, MESSAGE, options)
    with pytest.raises(ValidationFailed):
        Rsa2048().verify(rsa_key.public_key(), MESSAGE, bytes(256), options)


def test_a_signature_with_another_hash_does_not_verify():
    algorithm, key = P256(), P256().generate()
    signature = algorithm.sign(key, MESSAGE, SignatureOptions(hash="sha384"))
    with pytest.raises(InvalidSignature):
        check(algorithm, key.public_key(), MESSAGE, signature, hashes.SHA256())
    assert not algorithm.verify(key.public_key(), MESSAGE, signature, SignatureOptions())


def test_only_algorithms_that_say_so_take_a_hash():
    algorithm = Ed25519()
    key = UsableKey(algorithm, Sign.uses[0], "kid", material=algorithm.generate())
    with pytest.raises(UnsupportedOption):
        Sign(MESSAGE, SignOptions(hash="sha256")).compute(key)


def test_a_signature_with_a_chosen_hash_has_no_jose_name():
    algorithm = P384()
    key = UsableKey(algorithm, Sign.uses[0], "kid", material=algorithm.generate())
    assert Sign(MESSAGE, SignOptions(hash="sha256")).compute(key).alg is None
    assert Sign(MESSAGE, SignOptions()).compute(key).alg == "ES384"
