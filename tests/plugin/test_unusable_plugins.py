"""Plugins that cannot be used, each a package on the path, which stop the start."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packages import leave_package

from minikms.plugin import API_VERSION
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.startup_errors import PluginError

GUIDE = Path(__file__).parents[2] / "docs" / "writing-an-algorithm.md"

HEAD = "from minikms.plugin import AskarKeyAlgorithm, KeyAlgorithm, Signer\n"

UNUSABLE = {
    "duplicate name": """
        class Mine(AskarKeyAlgorithm):
            name, kty = "ed25519", "OKP"
    """,
    "name that is an alias": """
        class Mine(AskarKeyAlgorithm):
            name, kty = "secp256r1", "EC"
    """,
    "alias that is a name": """
        class Mine(AskarKeyAlgorithm):
            name, kty, aliases = "mine", "oct", ("A256-GCM",)
    """,
    "alias that is an alias": """
        class Mine(AskarKeyAlgorithm):
            name, kty, aliases = "mine", "oct", ("Prime256_v1",)
    """,
    "JWKs of a curve": """
        class Mine(AskarKeyAlgorithm):
            name, kty, crv = "mine", "EC", "secp256k1"
    """,
    "JWKs of a curve with an alg": """
        class Mine(AskarKeyAlgorithm):
            name, kty, crv, jose_algs = "mine", "EC", "secp256k1", ("BIP340",)
            def owns_jwk(self, jwk):
                return jwk.get("crv") == "secp256k1" and jwk.get("alg") == "BIP340"
    """,
    "JWKs of an alg": """
        class Mine(AskarKeyAlgorithm):
            name, kty = "mine", "AKP"
            def owns_jwk(self, jwk):
                return jwk.get("alg") == "ML-DSA-65"
    """,
    "JWKs of secrets": """
        class Mine(AskarKeyAlgorithm):
            name, kty = "mine", "oct"
    """,
    "JWKs of a size": """
        class Mine(AskarKeyAlgorithm):
            name, kty = "mine", "RSA"
            def owns_jwk(self, jwk):
                return jwk.get("kty") == "RSA" and len(jwk.get("n", "")) == 512
    """,
    "import error": "import bp256_of_someone",
    "error while it is imported": """
        raise RuntimeError("of two\\nlines")
    """,
    "syntax error": "class Mine(:",
    "no such class": "class Other(AskarKeyAlgorithm): pass",
    "missing method": """
        class Mine(KeyAlgorithm):
            name, kty = "mine", "oct"
            def generate(self): ...
            def pack(self, key): ...
    """,
    "half a capability": """
        class Mine(AskarKeyAlgorithm, Signer):
            name, kty, signing_algs = "mine", "OKP", ("EdDSA",)
            def public_jwk(self, key): ...
            def public_bytes(self, key): ...
            def load_public(self, jwk): ...
            def sign(self, key, message, alg, prehashed): ...
    """,
    "no name": """
        class Mine(AskarKeyAlgorithm):
            kty = "oct"
    """,
    "no kty": """
        class Mine(AskarKeyAlgorithm):
            name = "mine"
    """,
    "no signing_algs": """
        class Mine(AskarKeyAlgorithm, Signer):
            name, kty = "mine", "OKP"
            def public_jwk(self, key): ...
            def public_bytes(self, key): ...
            def load_public(self, jwk): ...
            def sign(self, key, message, alg, prehashed): ...
            def verify(self, public, message, signature, alg, prehashed): ...
    """,
    "name in upper case": """
        class Mine(AskarKeyAlgorithm):
            name, kty = "Mine", "oct"
    """,
    "name that is no text": """
        class Mine(AskarKeyAlgorithm):
            name, kty = 256, "oct"
    """,
    "aliases without a comma": """
        class Mine(AskarKeyAlgorithm):
            name, kty, aliases = "mine", "oct", ("my-own")
    """,
    "constructor that fails": """
        class Mine(AskarKeyAlgorithm):
            name, kty = "mine", "oct"
            def __init__(self, size): ...
    """,
    "newer API": """
        class Mine(AskarKeyAlgorithm):
            name, kty, api_version = "mine", "oct", 999
    """,
    "a class of another kind": "class Mine: pass",
    "a function": "def Mine(): return None",
}


@pytest.fixture
def unusable(request, tmp_path):
    """A directory with one package, whose entry point `bp256` is not an algorithm."""
    source = HEAD + "\n".join(line.removeprefix(" " * 8) for line in request.param.splitlines())
    (tmp_path / "broken_bp256.py").write_text(source)
    leave_package(tmp_path, "minikms-bp256", GROUP, bp256="broken_bp256:Mine")
    return tmp_path


def refusal(directory, monkeypatch):
    """The one sentence that says why a plugin cannot be used."""
    monkeypatch.syspath_prepend(directory)
    monkeypatch.delitem(sys.modules, "broken_bp256", raising=False)  # left by another test
    with pytest.raises(PluginError) as caught:
        AlgorithmRegistry.from_installed()
    [sentence] = str(caught.value).splitlines()
    assert re.fullmatch(r"The .*[^.]\.", sentence)
    return sentence


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE, indirect=True)
def test_a_plugin_that_cannot_be_used_is_named(unusable, monkeypatch):
    sentence = refusal(unusable, monkeypatch)
    assert "'bp256'" in sentence
    assert "'minikms-bp256'" in sentence
    assert "--without-algorithm minikms-bp256:bp256" in sentence


@pytest.mark.parametrize(
    ("unusable", "says"),
    [
        (UNUSABLE["duplicate name"], "has the name 'ed25519', as does the entry point"),
        (
            UNUSABLE["JWKs of a curve"],
            "owns the JWKs kty 'EC', crv 'secp256k1', as does the entry point 'k256'",
        ),
        (UNUSABLE["import error"], "cannot be imported: ModuleNotFoundError: No module named"),
        (UNUSABLE["missing method"], "lacks: unpack"),
        (UNUSABLE["no kty"], "does not state: kty"),
        (UNUSABLE["newer API"], f"and this service has version {API_VERSION}: update Mini KMS"),
    ],
    ids=["duplicate name", "JWKs of a curve", "import error", "missing method", "no kty", "newer"],
    indirect=["unusable"],
)
def test_the_sentence_says_why(unusable, says, monkeypatch):
    assert says in refusal(unusable, monkeypatch)


@pytest.mark.parametrize(
    "unusable",
    [UNUSABLE["duplicate name"], UNUSABLE["missing method"]],
    ids=["duplicate name", "missing method"],
    indirect=True,
)
def test_the_guide_shows_sentences_as_they_are(unusable, monkeypatch):
    assert f"minikms: {refusal(unusable, monkeypatch)}" in GUIDE.read_text().splitlines()


@pytest.mark.process
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["algorithms"]], ids=str)
@pytest.mark.parametrize(
    "unusable",
    [UNUSABLE["JWKs of a size"], UNUSABLE["error while it is imported"]],
    ids=["JWKs of a size", "error while it is imported"],
    indirect=True,
)
def test_an_unusable_plugin_stops_the_start(unusable, command, monkeypatch):
    done = subprocess.run(
        [sys.executable, "-m", "minikms", *command],
        cwd=unusable,
        env={**os.environ, "PYTHONPATH": str(unusable)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"minikms: {refusal(unusable, monkeypatch)}\n"
