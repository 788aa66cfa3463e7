import pytest

from minikms.algorithms.rsa import Rsa2048


@pytest.mark.parametrize("alg", Rsa2048.signing_algs)
def test_the_zeros_in_front_of_a_signature_count(alg):
    """RFC 8017 sections 8.1.2 and 8.2.2: a signature is as long as the modulus."""
    rsa = Rsa2048()
    key = rsa.generate()
    messages = (str(number).encode() for number in range(100_000))
    signed = ((message, rsa.sign(key, message, alg, False)) for message in messages)
    # One in 256 or so.
    message, signature = next(pair for pair in signed if pair[1].startswith(b"\0"))
    public = key.public_key()
    assert rsa.verify(public, message, signature, alg, False)
    assert not rsa.verify(public, message, signature[1:], alg, False)
    assert not rsa.verify(public, message, b"\0" + signature, alg, False)
