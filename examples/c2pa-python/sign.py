# /// script
# requires-python = ">=3.11"
# dependencies = ["c2pa-python>=0.38,<0.39", "minikms-client"]
# [tool.uv.sources]
# minikms-client = { path = "../../clients/python" }
# ///
"""Sign a picture (C2PA, content credentials) with a key of the service, and validate it."""

import base64
import json
from pathlib import Path

import c2pa

from minikms_client import Client

# One black point.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mNgYGAAAAAEAAHI6uv5AAAAAElFTkSuQmCC"
)
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
CREATED = {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE}]}
MANIFEST = {"title": "Photo", "assertions": [{"label": "c2pa.actions", "data": CREATED}]}


def make_keys(kms):
    """Make a CA and, below it, the key that signs; return both certificates, its own first."""
    ca, signer = (kms.generate_key("p256", alias=alias) for alias in ("ca", "signer"))
    subject = "CN=Example CA,O=Example,C=DE"
    root = kms.issue_certificate("self-signed", 3650, alias="ca", subject=subject)
    kms.set_certificates(ca.kid, [root])
    subject = "CN=issuer.example,O=Example,C=DE"
    options = {"key": "signer", "subject": subject, "document_signing": True}
    own = kms.issue_certificate("document", 365, alias="ca", **options)
    kms.set_certificates(signer.kid, [own, root])
    return own, root


def validate(file, root):
    """Return the state, and the name of the signer, for a reader that trusts the root alone."""
    settings = {"verify": {"verify_trust": True}, "trust": {"trust_anchors": root}}
    with (
        c2pa.Context(settings=c2pa.Settings.from_dict(settings)) as context,
        c2pa.Reader(file, context=context) as reader,
    ):
        manifest = json.loads(reader.json())
        signature = manifest["manifests"][manifest["active_manifest"]]["signature_info"]
        return reader.get_validation_state(), signature["common_name"]


Path("photo.png").write_bytes(PICTURE)
with Client() as kms:
    own, root = make_keys(kms)
    signer = c2pa.Signer.from_callback(
        lambda data: kms.sign(data, alias="signer").sig, c2pa.C2paSigningAlg.ES256, own + root
    )
    c2pa.Builder(MANIFEST).sign_file("photo.png", "signed.png", signer)
state, name = validate("signed.png", root)
print(f"signed.png is by {name}: {state}")
