"""mdocs that pymdoccbor issues with a key of the service."""

import hashlib
import time

import cbor2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from mdocs import COSE, MDL, NAMESPACE, VALIDITY, iaca, signer
from pymdoccbor.mdoc.verifier import MdocCbor

from minikms_client import AliasNotFound, KeyNotUsable, UnsupportedOption
from minikms_client.mdoc import MdocIssuer

DEVICE_KEY = {"KTY": "EC2", "CURVE": "P_256", "X": b"\x01" * 32, "Y": b"\x02" * 32}
DATA = {NAMESPACE: {"family_name": "Mustermann", "issuing_country": "UT"}}

# pymdoccbor uses datetime.utcnow.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


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


def test_an_mdoc_is_cb_ades_of_the_level_b_b(minikms):
    """test_mdoc_document.py has another library that reads it: pymdoccbor's verifier does not."""
    iaca(minikms)
    certificate = signer(minikms)
    issuer = MdocIssuer(minikms, alias="signer", cb_ades=True)
    (document,) = issue(issuer)["documents"]
    message = document["issuerSigned"]["issuerAuth"]
    assert minikms.verify_cose(cbor2.dumps(message), alias="signer").valid
    protected, unprotected, *_ = message
    der = certificate.public_bytes(Encoding.DER)
    header = cbor2.loads(protected)
    assert abs(header.pop(15).pop(6) - time.time()) < 600
    assert header == {1: -7, 34: [-16, hashlib.sha256(der).digest()]}
    assert unprotected == {33: der}


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


def test_an_alias_names_the_key_and_its_certificate_at_each_mdoc(minikms):
    iaca(minikms)
    signer(minikms)
    issuer = MdocIssuer(minikms, alias="signer")
    certificate = signer(minikms).public_bytes(Encoding.DER)
    (document,) = issue(issuer)["documents"]
    assert document["issuerSigned"]["issuerAuth"][1] == {33: certificate}
    minikms.rotate_key(minikms.find_key("signer").kid)
    with pytest.raises(UnsupportedOption):
        issue(issuer)


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
