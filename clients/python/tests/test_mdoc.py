"""mdocs that pymdoccbor issues with a key of the service."""

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pymdoccbor.mdoc.verifier import MdocCbor

from minikms_client import AliasNotFound, KeyNotUsable
from minikms_client.mdoc import MdocIssuer

MDL, NAMESPACE = "org.iso.18013.5.1.mDL", "org.iso.18013.5.1"
VALIDITY = {"issuance_date": "2026-01-01", "expiry_date": "2099-12-31"}
DEVICE_KEY = {"KTY": "EC2", "CURVE": "P_256", "X": b"\x01" * 32, "Y": b"\x02" * 32}
DATA = {NAMESPACE: {"family_name": "Mustermann", "issuing_country": "UT"}}
# The COSE number of each algorithm that a document signer may have.
COSE = {"p256": -7, "p384": -35, "p521": -36, "ed25519": -8}

# pymdoccbor uses datetime.utcnow.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


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


def issue(issuer):
    return issuer.new(DATA, MDL, VALIDITY, DEVICE_KEY)


def verified(issuer, root):
    """The data of the mdoc if pymdoccbor verifies it and its chain, else None."""
    mdoc = MdocCbor()
    mdoc.loads(issuer.dump())
    return mdoc.disclosure_map if mdoc.verify([root]) else None


def test_an_mdoc_is_issued(minikms):
    root, certificate = iaca(minikms), signer(minikms)
    issuer = MdocIssuer(minikms, alias="signer")
    (document,) = issue(issuer)["documents"]
    assert verified(issuer, root) == DATA
    assert verified(issuer, iaca(minikms, "another")) is None
    protected, unprotected, mso, _ = document["issuerSigned"]["issuerAuth"]
    assert cbor2.loads(protected) == {1: -7}
    assert unprotected == {33: certificate.public_bytes(Encoding.DER)}
    device_key = cbor2.loads(cbor2.loads(mso).value)["deviceKeyInfo"]["deviceKey"]
    assert device_key == {1: 2, -1: 1, -2: b"\x01" * 32, -3: b"\x02" * 32}


@pytest.mark.parametrize("alg", COSE)
def test_every_algorithm_of_a_document_signer(minikms, alg):
    iaca(minikms)
    signer(minikms, alg)
    issuer = MdocIssuer(minikms, kid=minikms.find_key("signer").kid)
    (document,) = issue(issuer)["documents"]
    message = document["issuerSigned"]["issuerAuth"]
    assert cbor2.loads(message[0]) == {1: COSE[alg]}
    result = minikms.verify_cose(cbor2.dumps(cbor2.CBORTag(18, message)), alias="signer")
    assert result.valid
    assert cbor2.loads(cbor2.loads(result.payload).value)["digestAlgorithm"] == "SHA-256"


def test_nothing_is_issued_if_the_service_does_not_sign(minikms):
    iaca(minikms)
    signer(minikms)
    issuer = MdocIssuer(minikms, alias="signer")
    issue(issuer)
    minikms.update_key(minikms.find_key("signer").kid, state="disabled")
    with pytest.raises(KeyNotUsable):
        issue(issuer)
    assert issuer.signed == {}


def test_keys_that_issue_nothing(minikms):
    minikms.generate_key("p256", alias="signer")
    with pytest.raises(ValueError, match="no certificate"):
        MdocIssuer(minikms, alias="signer")
    with pytest.raises(AliasNotFound):
        MdocIssuer(minikms, alias="nobody")
    with pytest.raises(TypeError):
        MdocIssuer(minikms)
