"""Forms of signatures that some tokens return, and DigestInfo."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from minikms.plugin import HASHES, Scheme, UnsupportedOption
from minikms_pkcs11.signing import form_of, normalized, signing, verify

RSA = rsa.generate_private_key(65537, 2048)
K256_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("name", HASHES)
def test_digest_info(name):
    """The result equals pyca's for the same digest."""
    digest = hashlib.new(name, b"hello").digest()
    call = signing(digest, Scheme("rsa-pkcs1v15", name))
    signature = RSA.sign(call.data, padding.PKCS1v15(), utils.NoDigestInfo())
    assert signature == RSA.sign(b"hello", padding.PKCS1v15(), HASHES[name])
    verify(RSA.public_key(), digest, Scheme("rsa-pkcs1v15", name), signature)


def test_data_without_digest_info():
    assert signing(b"data", Scheme("rsa-pkcs1v15")).data == b"data"


def test_pss_without_the_hash():
    with pytest.raises(UnsupportedOption):
        signing(b"x" * 32, Scheme("rsa-pss", "sha3_256", 32))


@pytest.mark.parametrize(
    ("curve", "size"), [(ec.SECP256R1(), 32), (ec.SECP384R1(), 48), (ec.SECP521R1(), 66)]
)
def test_halves_without_leading_zeros(curve, size):
    public = ec.derive_private_key(7, curve).public_key()
    whole = normalized(form_of(public), b"\1" + b"r" * 30 + b"\2" + b"s" * 30)
    assert (
        whole
        == b"\1".rjust(size - 30, b"\0") + b"r" * 30 + b"\2".rjust(size - 30, b"\0") + b"s" * 30
    )
    assert normalized(form_of(public), whole) == whole


ED25519 = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("private", "lengths"),
    [
        (ec.derive_private_key(7, ec.SECP256R1()), (0, 1, 63, 65, 66, 512)),
        (ec.derive_private_key(7, ec.SECP521R1()), (0, 131, 133, 134)),
        (ED25519, (0, 32, 62, 63, 65, 66, 128)),
        (RSA, (0, 254, 255, 257, 258, 512)),
    ],
)
def test_a_signature_of_another_length_is_refused(private, lengths):
    form = form_of(private.public_key())
    for length in lengths:
        with pytest.raises(InvalidSignature):
            normalized(form, b"s" * length)
    assert normalized(form, b"s" * form.size) == b"s" * form.size


def test_a_high_s_on_secp256k1_becomes_low():
    private = ec.derive_private_key(7, ec.SECP256K1())
    digest = hashlib.sha256(b"hello").digest()
    prehashed = ec.ECDSA(utils.Prehashed(HASHES["sha256"]))
    r, s = utils.decode_dss_signature(private.sign(digest, prehashed))
    low, high = sorted((s, K256_ORDER - s))
    forms = [r.to_bytes(32, "big") + each.to_bytes(32, "big") for each in (low, high)]
    assert {normalized(form_of(private.public_key()), form) for form in forms} == {forms[0]}
    for form in forms:
        verify(private.public_key(), digest, Scheme("ecdsa", "sha256"), form)
