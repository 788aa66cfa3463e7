"""Refusals of backup and restore, which only commands can do."""

from typing import Final

from minikms_vault.body import Body
from minikms_vault.description import typed
from minikms_vault.errors import invalid
from minikms_vault.operation import Answer, VaultCall, operation

_BACKUP: Final = (
    "keys have no backup of their own here: `minikms store backup` copies a whole store, and "
    "`minikms store restore` brings it back"
)


@operation("backupKey", "keys:export", "GET backup/{name}")
async def backup_key(call: VaultCall, body: Body) -> Answer:
    """Refuse, and name the command for backups."""
    await typed(call, body.text("name"))
    raise invalid(_BACKUP)


@operation("restoreKey", "keys:write", "POST restore", "POST restore/{name}")
async def restore_key(call: VaultCall, body: Body) -> Answer:
    """Refuse, and name the command to restore."""
    raise invalid(_BACKUP)
