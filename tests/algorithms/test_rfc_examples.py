"""Examples of RFC 6979, whose nonces no package of vectors has."""

import pytest

from minikms.plugin import SignatureOptions
from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()


@pytest.mark.parametrize(
    ("name", "secret", "message", "r", "s"),
    [
        pytest.param(
            "p256",
            "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
            b"sample",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
            id="A.2.5",
        ),
        pytest.param(
            "p384",
            "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8"
            "96d5724e4c70a825f872c9ea60d2edf5",
            b"sample",
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c"
            "81a648152e44acf96e36dd1e80fabe46",
            "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f"
            "a329c145786e679e7b82c71a38628ac8",
            id="A.2.6",
        ),
        pytest.param(
            "p521",
            "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75c"
            "aa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
            b"sample",
            "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f1"
            "74e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa",
            "00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af2"
            "82623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a",
            id="A.2.7",
        ),
    ],
)
def test_deterministic_ecdsa_of_rfc_6979(name, secret, message, r, s):
    algorithm = REGISTRY.get(name)
    key = algorithm.import_secret(bytes.fromhex(secret))
    signature = algorithm.sign(key, message, SignatureOptions(algorithm.signing_algs[0]))
    assert signature.hex() == r + s
