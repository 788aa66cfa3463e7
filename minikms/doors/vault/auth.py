"""Calls under `auth/`: logins, and the facts of a token."""

from typing import Final

from minikms.doors.vault.operation import VaultOperation

OPERATIONS: Final[tuple[VaultOperation, ...]] = ()
