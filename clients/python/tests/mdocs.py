"""Certificates and data for tests of mdocs."""

from cryptography import x509

MDL, NAMESPACE = "org.iso.18013.5.1.mDL", "org.iso.18013.5.1"
VALIDITY = {"issuance_date": "2026-01-01", "expiry_date": "2099-12-31"}
# The COSE number of each algorithm that signs mdocs.
COSE = {"p256": -7, "p384": -35, "p521": -36, "ed25519": -8}


def certified(minikms, alias, issuer, alg, **options):
    """Make a key with a certificate by the issuer; gives the certificate."""
    kid = minikms.generate_key(alg, alias=alias).kid
    subject = f"CN={alias},C=UT"
    pem = minikms.issue_certificate(alias=issuer, subject=subject, **options)
    minikms.set_certificates(kid, [pem])
    return x509.load_pem_x509_certificate(pem.encode())


def iaca(minikms, name="iaca"):
    options = {
        "issuer_alternative_names": ["URI:https://a.example"],
        "crl": "https://a.example/crl",
    }
    return certified(minikms, name, name, "p256", days=60, profile="iaca", **options)


def signer(minikms, alg="p256"):
    options = {"days": 30, "profile": "document-signer", "key": "signer"}
    return certified(minikms, "signer", "iaca", alg, **options)
