# /// script
# requires-python = ">=3.11"
# dependencies = ["cryptography", "minikms-client[mdoc]"]
# [tool.uv.sources]
# minikms-client = { path = "../../clients/python" }
# ///
"""Issue an mdoc below an IACA, have a verifier check it, and revoke the document signer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pymdoccbor.mdoc.verifier import MdocCbor

from minikms_client import Client
from minikms_client.mdoc import MdocIssuer

MDL, NAMESPACE = "org.iso.18013.5.1.mDL", "org.iso.18013.5.1"
OF_IACA = {
    "issuer_alternative_names": ["URI:https://issuer.example"],
    "crl": "https://issuer.example/iaca.crl",
}


def certify(kms, name, profile, days, **options):
    """Make a key with a certificate by the IACA, and return the certificate."""
    key = kms.generate_key("p256", alias=name)
    pem = kms.issue_certificate(
        profile, days, alias="iaca", key=name, subject=f"CN=Utopia {name},C=UT", **options
    )
    kms.set_certificates(key.kid, [pem])
    Path(f"{name}.pem").write_text(pem)
    return x509.load_pem_x509_certificate(pem.encode())


def issue(kms, claims, device):
    """Return an mdoc for the device with this public key."""
    issuer = MdocIssuer(kms, alias="signer")
    today = datetime.now(UTC).date()
    issuer.new(
        doctype=MDL,
        data={NAMESPACE: claims},
        validity={"issuance_date": f"{today}", "expiry_date": f"{today + timedelta(days=14)}"},
        devicekeyinfo={
            "KTY": "EC2",
            "CURVE": "P_256",
            "X": device.x.to_bytes(32, "big"),
            "Y": device.y.to_bytes(32, "big"),
        },
    )
    return issuer.dump()


def verify(mdoc, root):
    """Return the claims, if the root's document signer has signed them."""
    verifier = MdocCbor()
    verifier.loads(mdoc)
    if not verifier.verify([root]):
        raise ValueError("not a valid mdoc")
    return verifier.disclosure_map[NAMESPACE]


with Client() as kms:
    root = certify(kms, "iaca", "iaca", 3650, **OF_IACA)
    signer = certify(kms, "signer", "document-signer", 90)
    device = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    mdoc = issue(kms, {"family_name": "Mustermann", "issuing_country": "UT"}, device)
    claims = verify(mdoc, root)
    print("The verifier reads", claims["family_name"], claims["issuing_country"])

    # A list for each day, with a larger number each; on the second day the signer is revoked.
    for number, revoked in (1, {}), (2, {signer.serial_number: datetime.now(UTC)}):
        crl = kms.make_crl(number, days=7, revoked=revoked, alias="iaca")
        Path(f"crl-{number}.pem").write_text(crl)
