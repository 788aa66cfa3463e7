"""Approvals: uses of keys that their approvers have to sign."""

import time
from collections.abc import Mapping
from typing import Any, Final

import time

from minikms_client._sync.transport import Transport
from minikms_client.models import Approval
from minikms_client.shapes import each
from minikms_client.wire import Call, present, segment

# Seconds between two looks at an approval.
_PAUSE: Final = 1.0


class Approvals(Transport):
    """Lists, gives and withdraws approvals, and waits for them."""

    def list_approvals(self, *, kid: str | None = None) -> tuple[Approval, ...]:
        """Return the uses that wait for approvals or have them, of a key if `kid` is given."""
        query = [] if kid is None else [("kid", kid)]
        call = Call("GET", "/approvals", query=query)
        return self._read(call, lambda data: each(Approval.from_json, data))

    def get_approval(self, id: str) -> Approval:
        """Return an approval by its id."""
        return self._read(Call("GET", _path(id)), Approval.from_json)

    def approve(
        self,
        id: str,
        *,
        jws: str | None = None,
        webauthn: Mapping[str, Any] | None = None,
    ) -> Approval:
        """Approve: by `jws`, the document as a compact JWS of type approval+jwt, or by `webauthn`.

        That is the assertion of a passkey, an AuthenticationResponseJSON. Raises InvalidApproval.
        """
        call = Call("POST", _path(id), present(jws=jws, webauthn=webauthn))
        return self._read(call, Approval.from_json)

    def withdraw_approval(self, id: str) -> Approval:
        """Let a use wait no longer, and return what it was."""
        return self._read(Call("DELETE", _path(id)), Approval.from_json)

    def wait_for_approval(self, id: str, *, timeout: float = 300) -> Approval:
        """Wait until an approval is there, and return it; then repeat the call that needed it.

        Raises ApprovalNotFound once it has expired or was withdrawn, and TimeoutError after
        `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while True:
            found = self.get_approval(id)
            if found.state == "approved":
                return found
            if time.monotonic() + _PAUSE > end:
                raise TimeoutError(f"The approval {id} is not there yet.")
            time.sleep(_PAUSE)


def _path(approval: str) -> str:
    return f"/approvals/{segment(approval)}"
