"""Approvals by the clients: a call asks, somebody signs, and the call is repeated."""

import pickle
import threading

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from minikms_client import ApprovalNotFound, ApprovalRequired, InvalidApproval

ANN = ECKey.generate_key("P-256")


def signed(approval):
    header = {"alg": "ES256", "typ": "approval+jwt"}
    return jws.serialize_compact(header, approval.document, ANN, ["ES256"])


@pytest.fixture
def asked(minikms):
    """A key whose uses Ann approves, and the approval that a signature waits for."""
    public = ANN.as_dict(private=False)
    jwk = {name: public[name] for name in ("kty", "crv", "x", "y")}
    rules = {"approval": {"approvers": [{"name": "ann", "jwk": jwk}]}}
    key = minikms.generate_key("p256", rules=rules)
    with pytest.raises(ApprovalRequired) as error:
        minikms.sign(b"hello", kid=key.kid)
    return key, error.value.approval


def test_a_call_is_repeated_after_its_approval(minikms, asked):
    key, approval = asked
    found = minikms.get_approval(approval["id"])
    assert (found.kid, found.state, found.data) == (key.kid, "pending", (b"hello",))
    assert minikms.list_approvals(kid=key.kid) == (found,)
    with pytest.raises(TimeoutError):
        minikms.wait_for_approval(found.id, timeout=0.1)
    with pytest.raises(InvalidApproval):
        minikms.approve(found.id, jws=signed(found)[:-4] + "AAAA")
    approving = threading.Timer(0.2, minikms.approve, (found.id,), {"jws": signed(found)})
    approving.start()
    assert minikms.wait_for_approval(found.id, timeout=30).approved_by == ("ann",)
    approving.join()
    signature = minikms.sign(b"hello", kid=key.kid)
    assert minikms.verify(b"hello", signature.sig, kid=key.kid)


def test_a_withdrawn_approval_is_not_found(minikms, asked):
    _, approval = asked
    assert minikms.withdraw_approval(approval["id"]).state == "pending"
    with pytest.raises(ApprovalNotFound):
        minikms.wait_for_approval(approval["id"])


def test_the_error_keeps_its_approval_between_processes(minikms, asked):
    key, approval = asked
    with pytest.raises(ApprovalRequired) as error:
        minikms.sign(b"hello", kid=key.kid)
    copied = pickle.loads(pickle.dumps(error.value))
    assert copied.approval == approval
    assert approval["id"] in str(copied)
