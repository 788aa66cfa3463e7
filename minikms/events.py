"""The act of a caller: one for each call, which the audit log and the metrics tell of.

Whoever learns what the call concerns says it here, however deep below the route: a context
variable has the act of the call that is under way.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from minikms.errors import AuditUnavailable

SUCCESS: Final = "success"


@dataclass(slots=True)
class Act:
    """What one call does, as far as it is known by now.

    `operation` is the operationId of the route; `who` names the caller, `subject` is that of its
    certificate; `kid`, `alg`, `profile` and `token` are what it does it to. `outcome` is what has
    become of it, by now.
    """

    operation: str
    witness: "Witness | None" = field(repr=False)
    request_id: str = ""
    who: str = ""
    address: str = ""
    subject: str | None = None
    profile: str | None = None
    kid: str | None = None
    alg: str | None = None
    token: str | None = None
    told: str | None = None
    outcome: str = SUCCESS

    def tell(self, outcome: str = SUCCESS) -> None:
        """Have it written down, once for each outcome; raises AuditUnavailable."""
        if self.told != outcome:
            if self.witness is not None:
                self.outcome = AuditUnavailable.slug  # unless it can be told
                self.witness((self,), outcome)
            self.told = self.outcome = outcome


def tell_together(acts: Sequence[Act]) -> None:
    """Have acts of one witness written down as done, all or none; raises AuditUnavailable."""
    if acts and (witness := acts[0].witness) is not None:
        witness(acts, SUCCESS)
    for act in acts:
        act.told = SUCCESS


# Writes down acts with what has become of them, all or none; raises AuditUnavailable.
Witness: TypeAlias = Callable[[Sequence[Act], str], None]

CURRENT: Final[ContextVar[Act | None]] = ContextVar("act", default=None)


def concerns_key(kid: str, alg: str | None = None) -> None:
    """Say which key the call that is under way concerns."""
    act = CURRENT.get()
    if act is not None:
        act.kid, act.alg = kid, alg


def found_key(kid: str, alg: str) -> None:
    """Say what a key is that was found, where it is the one that the call concerns."""
    act = CURRENT.get()
    if act is not None and act.kid == kid:
        act.alg = alg


def concerns_token(token_id: str) -> None:
    """Say which token the call that is under way concerns."""
    act = CURRENT.get()
    if act is not None:
        act.token = token_id


def about_to_commit() -> None:
    """Have the act of the call written down before what it changes is; raises AuditUnavailable."""
    act = CURRENT.get()
    if act is not None:
        act.tell()
