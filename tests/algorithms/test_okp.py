import pytest

from minikms.algorithms.okp import X448, X25519
from minikms.encodings import jose_b64url
from minikms.plugin import InvalidKey

P = {X25519: 2**255 - 19, X448: 2**448 - 2**224 - 1}

# The points whose order divides the cofactor, and their forms that are not reduced modulo p.
LOW_ORDER = {
    X25519: {
        "0": 0,
        "1": 1,
        "order 8": 0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        "order 8 too": 0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        "p - 1": P[X25519] - 1,
        "p": P[X25519],
        "p + 1": P[X25519] + 1,
    },
    X448: {"0": 0, "1": 1, "p - 1": P[X448] - 1, "p": P[X448], "p + 1": P[X448] + 1},
}


@pytest.mark.parametrize(
    ("cls", "u"),
    [
        pytest.param(cls, u, id=f"{cls.name} {name}")
        for cls, points in LOW_ORDER.items()
        for name, u in points.items()
    ],
)
def test_a_point_of_low_order_is_refused(cls, u):
    algorithm = cls()
    x = jose_b64url(u.to_bytes(algorithm.size, "little"))
    peer = algorithm.load_public({"kty": "OKP", "crv": algorithm.crv, "x": x})
    with pytest.raises(InvalidKey):
        algorithm.derive(algorithm.generate(), peer)
