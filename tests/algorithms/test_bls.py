import pytest

from minikms.algorithms.bls import Bls12381G1, Bls12381G2
from minikms.encodings import b64url_decode, jose_b64url
from minikms.plugin import InvalidKey

# Secrets whose public `x` ends in a zero; the `d` of each does too.
ENDS_IN_ZERO = [pytest.param(Bls12381G1(), 49, id="g1"), pytest.param(Bls12381G2(), 327, id="g2")]


@pytest.mark.parametrize("member", ["x", "d"])
@pytest.mark.parametrize(("algorithm", "secret"), ENDS_IN_ZERO)
def test_a_member_without_its_last_zero_is_refused(algorithm, secret, member):
    jwk = algorithm.export_jwk(algorithm.import_secret(secret.to_bytes(32, "big")))
    data = b64url_decode(jwk[member])
    assert data.endswith(b"\0")
    short = {**jwk, member: jose_b64url(data[:-1])}
    with pytest.raises(InvalidKey):
        algorithm.import_jwk(short)
    if member == "x":
        with pytest.raises(InvalidKey):
            algorithm.load_public(short)
