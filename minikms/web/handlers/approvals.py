"""Handlers of approvals: list, get, approve, withdraw."""

from minikms.http.answers import Answer
from minikms.http.gate import GatedCall
from minikms.web.messages import credentials, load, no_body
from minikms.web.schemas import approval_bodies as schemas

_APPROVE = schemas.Approve()
_APPROVAL = schemas.Approval()


async def list_approvals(call: GatedCall, kid: str | None = None) -> Answer:
    """List the uses of keys that wait for approvals, or have them."""
    found = await credentials(call).approvals.waiting(call.profile, kid)
    return _APPROVAL.encode(found, many=True)


async def get(call: GatedCall, id: str) -> Answer:
    """Get what an approval is for, and who has signed it."""
    return _APPROVAL.encode(await credentials(call).approvals.get(call.profile, id))


async def approve(call: GatedCall, id: str) -> Answer:
    """Approve a use of a key by a signature of an approver."""
    proof = load(call, _APPROVE)
    return _APPROVAL.encode(await credentials(call).approvals.approve(call.profile, id, proof))


async def withdraw(call: GatedCall, id: str) -> Answer:
    """Withdraw an approval: the use waits no longer."""
    no_body(call)
    return _APPROVAL.encode(await credentials(call).approvals.withdraw(call.profile, id))
