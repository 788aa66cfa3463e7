"""What a store needs to know of the services that use it, to tell whether an approval is valid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from minikms.approval_rule import ApprovalRule

Proof: TypeAlias = Mapping[str, Any]
"""A signature of an approver: a JWS in the member `jws`, or an assertion in `webauthn`."""

# Returns the names of the approvers in a rule who have signed a document with one of the proofs.
Proven: TypeAlias = Callable[[ApprovalRule, bytes, Sequence[Proof]], list[str]]


def _nobody(*_: object) -> list[str]:
    return []


@dataclass(slots=True)
class ApprovalChecks:
    """The identity of a store, which its backups do not have, and the check of proofs.

    Until a service sets `proven`, no proof is valid.
    """

    store: str
    proven: Proven = _nobody
