"""docs/mdoc.md: its commands print the shown output, and its verifier reads other mdocs."""

import base64
import json
import os
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from mdocs import COSE, MDL, NAMESPACE, VALIDITY, iaca, signer
from pasted import ROOT, Block, blocks, paste

from minikms_client.mdoc import MdocIssuer

DOCUMENT = (ROOT / "docs/mdoc.md").read_text("utf-8")
MISSING = [name for name in ("node", "npm", "openssl", "curl") if shutil.which(name) is None]
DATA = {"family_name": "Mustermann", "birth_date": "1964-08-12", "issuing_country": "UT"}

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


def pasted(block):
    """A block of a program as a person runs or saves it."""
    to = {"python": "python", "js": "cat >read.mjs"}.get(block.language)
    return Block("sh", f"{to} <<'END'\n{block.text}END\n") if to else block


@pytest.fixture(scope="module")
def pasted_in(tmp_path_factory):
    """The output of all commands, and the folder where they ran."""
    if MISSING:
        missing = f"missing: {' '.join(MISSING)}"
        if os.environ.get("MINIKMS_TEST_REQUIRE_NODE") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("mdoc")
    return paste(map(pasted, blocks(DOCUMENT)), folder), folder


def read(folder):
    """Run the wallet and the verifier, and return their output, also if they fail."""
    command = ["node", "read.mjs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else done.stdout


def test_the_pasted_commands_print_the_shown_output(pasted_in):
    done, _ = pasted_in
    assert done.answered == done.shown
    assert len(done.shown) == 4


@pytest.mark.parametrize(("alg", "cb_ades"), [*((alg, False) for alg in COSE), ("p256", True)])
def test_the_verifier_reads_every_algorithm_and_trusts_only_the_iaca(
    minikms, pasted_in, alg, cb_ades
):
    _, folder = pasted_in
    root = iaca(minikms)
    signer(minikms, alg)
    device = json.loads((folder / "device.json").read_text())
    x, y = (base64.urlsafe_b64decode(device[name] + "=") for name in "xy")
    issuer = MdocIssuer(minikms, alias="signer", cb_ades=cb_ades)
    device_key = {"KTY": "EC2", "CURVE": "P_256", "X": x, "Y": y}
    issuer.new({NAMESPACE: DATA}, MDL, VALIDITY, device_key)
    (folder / "mdl.cbor").write_bytes(issuer.dump())
    trusted = folder / "iaca.pem"
    trusted.write_bytes(iaca(minikms).public_bytes(Encoding.PEM))
    assert "No valid certificate paths found" in read(folder)
    trusted.write_bytes(root.public_bytes(Encoding.PEM))
    assert read(folder) == "Mustermann 1964-08-12 UT\nC=UT, CN=signer\n"
