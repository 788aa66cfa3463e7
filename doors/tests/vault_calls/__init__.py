"""Calls of Vault's API, which OpenBao and the door answer alike."""

from vault_calls import bodies, clients, encryption, export, keys, macs, signing, system

GROUPS = {
    name: calls
    for table in (keys, signing, encryption, macs, export, system, bodies, clients)
    for name, calls in table.GROUPS.items()
}
