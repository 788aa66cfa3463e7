"""A type checker holds an author's class to the types of its keys."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="needs mypy: pip install -e '.[test-all]'")
# mypy reads the package and its libraries.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
ED448 = (ROOT / "tests/algorithms/without_a_base.py").read_text()

# Changes to the guide's class; each gives a key the wrong type.
WRONG = {
    "a private key of another type": ("sign(self, key: Ed448PrivateKey", "sign(self, key: bytes"),
    "a public key of another type": ("self, public: Ed448PublicKey", "self, public: bytes"),
    "a private key where the public one is read": (") -> Ed448PublicKey:", ") -> Ed448PrivateKey:"),
    "another key unpacked": ("stored: Stored) -> Ed448PrivateKey:", "stored: Stored) -> bytes:"),
    "another key made": ("generate(self) -> Ed448PrivateKey:", "generate(self) -> str:"),
    "only private keys where either may come": (
        "public_bytes(self, key: Ed448PrivateKey | Ed448PublicKey)",
        "public_bytes(self, key: Ed448PrivateKey)",
    ),
    "parameters in the wrong order": (
        "class Ed448(Signer[Ed448PrivateKey, Ed448PublicKey]):",
        "class Ed448(Signer[Ed448PublicKey, Ed448PrivateKey]):",
    ),
    "a capability of another key": (
        "class Ed448(Signer[Ed448PrivateKey, Ed448PublicKey]):",
        "class Ed448(Signer[Ed448PrivateKey, Ed448PublicKey], SeedImporter[Ed448PrivateKey]):\n"
        "    def import_seed(self, seed: bytes) -> Ed448PublicKey:\n"
        "        return Ed448PrivateKey.from_private_bytes(seed).public_key()\n",
    ),
}


def changed(right, wrong):
    assert ED448.count(right) == 1
    imports = "from minikms.plugin import (\n"
    return ED448.replace(right, wrong).replace(imports, f"{imports}    SeedImporter,\n")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The codes of mypy's errors in the guide's class, and in each change of it, by file."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "right.py").write_text(ED448)
    for number, change in enumerate(WRONG.values()):
        (folder / f"wrong{number}.py").write_text(changed(*change))
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary",
            # As for an installed package, mypy reports no errors in the author's imports.
            "--follow-imports=silent", "--hide-error-context", "--no-color-output", ".",
        ],
        cwd=folder,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    errors = re.findall(r"^(\w+)\.py:\d+: error: .* \[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert done.stdout.count(": error:") == len(errors) > 0, done.stdout + done.stderr
    files = [path.stem for path in folder.glob("*.py")]
    return {file: {code for name, code in errors if name == file} for file in files}


def test_the_guides_class_has_no_error(found):
    assert found["right"] == set()


@pytest.mark.parametrize("number", range(len(WRONG)), ids=list(WRONG))
def test_a_key_of_the_wrong_type_is_an_error(found, number):
    assert "override" in found[f"wrong{number}"]
