from minikms_bp256 import BP256

from minikms.encodings import jose_b64url
from minikms.testing import AlgorithmContract


class TestBP256(AlgorithmContract):
    algorithm = BP256()


def test_rfc_7027_appendix_a_1():
    dA, x_qA, y_qA, dB, x_qB, y_qB, x_Z = map(  # noqa: N806 - the RFC's names
        bytes.fromhex,
        (
            "81db1ee100150ff2ea338d708271be38300cb54241d79950f77b063039804f1d",
            "44106e913f92bc02a1705d9953a8414db95e1aaa49e81d9e85f929a8e3100be5",
            "8ab4846f11caccb73ce49cbdd120f5a900a69fd32c272223f789ef10eb089bdc",
            "55e40bc41e37e3e2ad25c3c6654511ffa8474a91a0032087593852d3e7d76bd3",
            "8d2d688c6cf93e1160ad04cc4429117dc2c41825e1e9fca0addd34e6f1b39f7b",
            "990c57520812be512641e47034832106bc7d3e8dd0e4c7f1136d7006547cec6a",
            "89afc39d41d3b327814b80940b042590f96556ec91e6ae7939bce31f3a18bf2b",
        ),
    )
    bp256 = BP256()
    for secret, x, y, peer in ((dA, x_qA, y_qA, dB), (dB, x_qB, y_qB, dA)):
        key, other = bp256.import_secret(secret), bp256.import_secret(peer)
        jwk = bp256.public_jwk(key)
        assert (jwk["x"], jwk["y"]) == (jose_b64url(x), jose_b64url(y))
        assert bp256.derive(other, bp256.load_public(jwk)) == x_Z
