from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from minikms_ed448 import Ed448

from minikms.testing import AlgorithmContract


class TestEd448(AlgorithmContract):
    algorithm = Ed448()


def test_rfc_8032_section_7_4_blank():
    secret = bytes.fromhex(
        "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3"
        "528c8a3fcc2f044e39a3fc5b94492f8f032e7549a20098f95b"
    )
    signature = bytes.fromhex(
        "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f"
        "2b233f034f628281f2fd7a22ddd47d7828c59bd0a21bfd3980ff0d2028d4b18a"
        "9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4db"
        "b61149f05a7363268c71d95808ff2e652600"
    )
    key = Ed448PrivateKey.from_private_bytes(secret)
    assert Ed448().sign(key, b"", "EdDSA", False) == signature
