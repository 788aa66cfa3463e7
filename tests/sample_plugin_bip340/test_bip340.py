"""The contract, and the test vectors of BIP-340.

test-vectors.csv is https://github.com/bitcoin/bips/blob/master/bip-0340/test-vectors.csv of commit
200f9b26fe0a2f235a2af8b30c4be9f12f6bc9cb, as it is.
"""

import csv
from pathlib import Path

import pytest
from minikms_bip340 import Bip340

from minikms.encodings import jose_b64url
from minikms.errors import InvalidKey, ValidationFailed
from minikms.plugin import SignatureOptions
from minikms.testing import AlgorithmContract

BIP340 = Bip340()
DIGEST = SignatureOptions(prehashed=True)


class TestBip340(AlgorithmContract):
    algorithm = BIP340


def vectors():
    with Path(__file__).with_name("test-vectors.csv").open() as file:
        for row in csv.DictReader(file):
            parts = [bytes.fromhex(row[name]) for name in list(row)[1:6]]
            yield pytest.param(*parts, row["verification result"] == "TRUE", id=row["index"])


VECTORS = list(vectors())


def jwk_of(public):
    return {"kty": "OKP", "crv": "BIP340", "x": jose_b64url(public)}


@pytest.mark.parametrize(("secret", "public", "aux", "message", "signature", "good"), VECTORS)
def test_the_vectors_of_bip_340_hold(secret, public, aux, message, signature, good):
    if len(message) != 32:  # coincurve signs only messages of 32 bytes
        key = BIP340.import_secret(secret)
        assert BIP340.public_bytes(key) == public
        with pytest.raises(ValidationFailed):
            BIP340.verify(BIP340.load_public(jwk_of(public)), message, signature, DIGEST)
        return
    try:
        loaded = BIP340.load_public(jwk_of(public))
    except InvalidKey:
        assert not good
        return
    assert BIP340.verify(loaded, message, signature, DIGEST) is good
    if secret:
        key = BIP340.import_secret(secret)
        assert BIP340.public_bytes(key) == public
        assert key.sign_schnorr(message, aux) == signature
        assert BIP340.verify(loaded, message, BIP340.sign(key, message, DIGEST), DIGEST) is True


def test_there_are_all_the_vectors():
    assert len(VECTORS) == 19
