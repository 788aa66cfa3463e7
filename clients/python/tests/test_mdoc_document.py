"""docs/mdoc.md: its commands print the shown output; another library verifies mdocs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from document_blocks import ROOT, blocks, paste
from mdocs import COSE, MDL, NAMESPACE, VALIDITY, iaca, signer
from node import install

from minikms_client.mdoc import MdocIssuer
from minikms_client.wire import encode

DOCUMENT = (ROOT / "docs/mdoc.md").read_text("utf-8")
READER = Path(__file__).with_name("mdoc_reader.mjs")
MISSING = [name for name in ("openssl", "curl") if shutil.which(name) is None]
DATA = {"family_name": "Mustermann", "birth_date": "1964-08-12", "issuing_country": "UT"}

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.mark.skipif(bool(MISSING), reason=f"missing: apt-get install {' '.join(MISSING)}")
def test_the_pasted_commands_print_the_shown_output(tmp_path):
    pasted = [block for block in blocks(DOCUMENT) if block.language in ("sh", "text")]
    done = paste(pasted, tmp_path)
    assert done.answered == done.shown
    assert len(done.shown) == 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with @auth0/mdl and the program that reads."""
    folder = install(tmp_path_factory.mktemp("mdoc"), "@auth0/mdl@3.0.1")
    shutil.copy(READER, folder)
    return folder


def read(folder):
    """Run the wallet and the verifier, and return their output, also if they fail."""
    command = ["node", READER.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else done.stdout


@pytest.mark.parametrize(("alg", "cb_ades"), [*((alg, False) for alg in COSE), ("p256", True)])
def test_the_verifier_reads_every_algorithm_and_trusts_only_the_iaca(minikms, folder, alg, cb_ades):
    root = iaca(minikms)
    signer(minikms, alg)
    device = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    x, y, d = (
        number.to_bytes(32, "big")
        for number in (device.public_numbers.x, device.public_numbers.y, device.private_value)
    )
    jwk = {"kty": "EC", "crv": "P-256"}
    jwk |= {name: encode(value).rstrip("=") for name, value in (("x", x), ("y", y), ("d", d))}
    (folder / "device.json").write_text(json.dumps(jwk))
    issuer = MdocIssuer(minikms, alias="signer", cb_ades=cb_ades)
    device_key = {"KTY": "EC2", "CURVE": "P_256", "X": x, "Y": y}
    issuer.new({NAMESPACE: DATA}, MDL, VALIDITY, device_key)
    (folder / "mdl.cbor").write_bytes(issuer.dump())
    trusted = folder / "iaca.pem"
    trusted.write_bytes(iaca(minikms).public_bytes(Encoding.PEM))
    assert "No valid certificate paths found" in read(folder)
    trusted.write_bytes(root.public_bytes(Encoding.PEM))
    assert read(folder) == "Mustermann 1964-08-12 UT\nC=UT, CN=signer\n"
