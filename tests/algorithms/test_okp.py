import pytest

from minikms.algorithms.okp import X25519
from minikms.encodings import jose_b64url
from minikms.plugin import InvalidKey

# The points whose order divides eight, and their forms that are not reduced modulo 2^255 - 19.
LOW_ORDER = {
    "0": bytes(32),
    "1": (1).to_bytes(32, "little"),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "order 8 too": bytes.fromhex(
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"
    ),
    "p - 1": (2**255 - 20).to_bytes(32, "little"),
    "p": (2**255 - 19).to_bytes(32, "little"),
    "p + 1": (2**255 - 18).to_bytes(32, "little"),
}


@pytest.mark.parametrize("u", LOW_ORDER.values(), ids=LOW_ORDER)
def test_x25519_refuses_a_point_of_low_order(u):
    x25519 = X25519()
    peer = x25519.load_public({"kty": "OKP", "crv": "X25519", "x": jose_b64url(u)})
    with pytest.raises(InvalidKey):
        x25519.derive(x25519.generate(), peer)
