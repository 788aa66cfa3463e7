"""Examples that RFCs print, for what no package of vectors has."""

import pytest

from minikms.plugin import Sealed, SignatureOptions

KERCKHOFFS = (
    b"A cipher system must not be required to be secret, and it must be able to fall into the"
    b" hands of the enemy without inconvenience"
)
SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future,"
    b" sunscreen would be it."
)


@pytest.mark.parametrize(
    ("name", "key", "sealed"),
    [
        pytest.param(
            "a128cbchs256",
            bytes(range(32)),
            (
                "c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9"
                "a94ac9b47ad2655c5f10f9aef71427e2fc6f9b3f399a221489f16362c7032336"
                "09d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b"
                "384c486f3a54c51078158ee5d79de59fbd34d848b3d69550a67646344427ade5"
                "4b8851ffb598f7f80074b9473c82e2db",
                "652c3fa36b0a7c5b3219fab3a30bc1c4",
            ),
            id="B.1",
        ),
        pytest.param(
            "a256cbchs512",
            bytes(range(64)),
            (
                "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd"
                "822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b"
                "36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3"
                "a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950b"
                "be2638d09dd7a4930930806d0703b1f6",
                "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5",
            ),
            id="B.3",
        ),
    ],
)
def test_aes_cbc_hmac_of_rfc_7518(registry, name, key, sealed):
    algorithm = registry.get(name)
    ciphertext, tag = map(bytes.fromhex, sealed)
    nonce = bytes.fromhex("1af38c2dc2b96ffdd86694092341bc04")
    aad = b"The second principle of Auguste Kerckhoffs"
    opened = algorithm.decrypt(algorithm.import_secret(key), Sealed(ciphertext, nonce, tag), aad)
    assert opened == KERCKHOFFS


def test_xchacha20_poly1305_of_its_draft(registry):
    """draft-irtf-cfrg-xchacha, appendix A.3.1."""
    xc20p = registry.get("xc20p")
    sealed = Sealed(
        bytes.fromhex(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
            "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
            "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
            "21f9664c97637da9768812f615c68b13b52e"
        ),
        bytes(range(0x40, 0x58)),
        bytes.fromhex("c0875924c1c7987947deafd8780acf49"),
    )
    key = xc20p.import_secret(bytes(range(0x80, 0xA0)))
    assert xc20p.decrypt(key, sealed, bytes.fromhex("50515253c0c1c2c3c4c5c6c7")) == SUNSCREEN


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
def test_deterministic_ecdsa_of_rfc_6979(registry, name, secret, message, r, s):
    algorithm = registry.get(name)
    key = algorithm.import_secret(bytes.fromhex(secret))
    signature = algorithm.sign(key, message, SignatureOptions(algorithm.signing_algs[0]))
    assert signature.hex() == r + s
