"""The calls on approvals: list, find, approve and withdraw them."""

from collections.abc import Sequence
from typing import Any

from minikms.approval_rule import ApprovalRule
from minikms.credentials.approval_proofs import check_jws, check_webauthn, names_in, proof_of
from minikms.encodings import jose_b64url
from minikms.events import set_approval
from minikms.keys.operations import KeyOperations
from minikms.store import Checked, Proof


class ApprovalCalls:
    """Lists, finds, approves and withdraws approvals; it verifies their proofs for the store."""

    def __init__(self, keys: KeyOperations) -> None:
        self._registry = keys.registry
        self._approvals = keys.store.approvals
        keys.store.database.approval_checks.proven = self._proven

    async def waiting(self, profile: str, kid: str | None = None) -> list[dict[str, Any]]:
        """List the approvals of a profile, or of one of its keys, the first to expire first."""
        return [each.document() for each in await self._approvals.waiting(profile, kid)]

    async def get(self, profile: str, named: str) -> dict[str, Any]:
        """Find an approval; raises ApprovalNotFound."""
        set_approval(None, {"id": named})
        return (await self._approvals.get(profile, named)).document()

    async def approve(self, profile: str, named: str, proof: Proof) -> dict[str, Any]:
        """Add the proof of an approver to an approval.

        It has the member `jws` or `webauthn`. Raises ApprovalNotFound and InvalidApproval.
        """
        set_approval(None, {"id": named})

        def check(rule: ApprovalRule, document: bytes) -> Checked:
            return self._checked(rule, document, proof)

        return (await self._approvals.add_proof(profile, named, check)).document()

    async def withdraw(self, profile: str, named: str) -> dict[str, Any]:
        """Let a use wait no longer; raises ApprovalNotFound."""
        set_approval(None, {"id": named})
        return (await self._approvals.withdraw(profile, named)).document()

    def _checked(self, rule: ApprovalRule, document: bytes, proof: Proof) -> Checked:
        """Verify a proof; the audit log has enough of it to verify it again."""
        if "jws" in proof:
            approver = check_jws(self._registry, rule.approvers, proof["jws"], document)
            facts = {"by": approver.name, "proof": proof["jws"], "jwk": approver.jwk}
            return Checked(proof, facts)
        assertion = proof["webauthn"]
        approver = check_webauthn(self._registry, rule.approvers, assertion, document)
        passkey, response = approver.passkey, proof_of(assertion)
        kept = {"id": assertion["id"], "type": assertion["type"], "response": response}
        facts = {
            "by": approver.name,
            "proof": response,
            "jwk": approver.jwk,
            "rp_id": passkey and passkey.rp_id,
            "origins": passkey and passkey.origins,
            "document": jose_b64url(document),
        }
        return Checked({"webauthn": kept}, facts)

    def _proven(self, rule: ApprovalRule, document: bytes, proofs: Sequence[Proof]) -> list[str]:
        return names_in(self._registry, rule.approvers, document, proofs)
