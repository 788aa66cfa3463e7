"""secp256k1 with and without coincurve, which has no wheel for Python 3.14."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from minikms.algorithms import secp256k1
from minikms.plugin import HASHES, SignatureOptions

ROOT = Path(__file__).parents[2]
# Runs tests as if coincurve were not installed.
BLOCKED = "import pytest, sys; sys.modules['coincurve'] = None; sys.exit(pytest.main(sys.argv[1:]))"
OPENSSL = secp256k1.K256()
MESSAGES = [hashlib.sha256(bytes([number])).digest() for number in range(64)]


@pytest.mark.process
@pytest.mark.timeout(120)  # 100 tests in a process of their own
def test_without_coincurve_the_tests_of_k256_pass():
    """The contract, Wycheproof's vectors, Askar and OpenSSL as the other side."""
    files = (
        *("algorithms/test_contract.py", "algorithms/test_askar_agrees.py"),
        *("algorithms/test_signing_hashes.py", "algorithms/test_stored_forms.py"),
        *("web/operations/test_wycheproof.py", "web/operations/test_operations.py"),
        *("web/operations/test_interop.py", "web/certificates/test_csr.py"),
        *("web/keys/test_short_coordinates.py", "web/keys/test_import_export.py"),
    )
    options = ("-q", "-m", "", "-k", "k256", "-p", "no:cacheprovider")
    run = subprocess.run(
        (sys.executable, "-c", BLOCKED, *options, *(f"tests/{file}" for file in files)),
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert "no tests ran" not in run.stdout


@pytest.mark.parametrize("name", [None, *HASHES])
@pytest.mark.skipif(not find_spec("coincurve"), reason="coincurve has no wheel for this Python")
def test_both_libraries_make_the_same_signatures(name):
    from minikms.algorithms import libsecp256k1

    other, key = libsecp256k1.K256(), OPENSSL.generate()
    same = other.import_secret(OPENSSL.secret_bytes(key))
    options = SignatureOptions(hash=name)
    for message in MESSAGES:
        signature = OPENSSL.sign(key, message, options)
        assert signature == other.sign(same, message, options)
        assert OPENSSL.verify(key.public_key(), message, signature, options)
        assert other.verify(same.public_key, message, signature, options)


def test_openssl_takes_a_high_s_and_makes_a_low_one():
    key, options = OPENSSL.generate(), SignatureOptions()
    for message in MESSAGES:
        signature = OPENSSL.sign(key, message, options)
        _, s = OPENSSL.split(signature)
        assert s <= OPENSSL.order // 2
        high = signature[:32] + (OPENSSL.order - s).to_bytes(32, "big")
        assert OPENSSL.verify(key.public_key(), message, high, options)
        for wrong in (bytes(32) + signature[32:], signature[:32] + bytes(32)):
            assert not OPENSSL.verify(key.public_key(), message, wrong, options)


# Vectors of RFC 6979 on secp256k1 that Bitcoin's libraries share: secret, message, r‖s, low s.
@pytest.mark.parametrize(
    ("secret", "message", "signature"),
    [
        (
            "01",
            "Satoshi Nakamoto",
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
            "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        ),
        (
            "01",
            "All those moments will be lost in time, like tears in rain. Time to die...",
            "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b"
            "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
        ),
    ],
)
def test_the_vectors_of_rfc_6979_on_secp256k1(secret, message, signature):
    key = OPENSSL.import_secret(bytes.fromhex(secret.rjust(64, "0")))
    assert OPENSSL.sign(key, message.encode(), SignatureOptions()).hex() == signature
