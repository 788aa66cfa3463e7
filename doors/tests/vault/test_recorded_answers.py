"""The door answers the calls of vault_calls as OpenBao did when its answers were recorded."""

import asyncio

import pytest
import vault
from vault_calls import GROUPS
from vault_calls.asking import disagreements
from vault_calls.recording import recorded


@pytest.mark.parametrize("group", GROUPS)
async def test_the_door_answers_as_openbao_did(start_vault, admin, group):
    service = await start_vault(auth="token", admin_token_file=admin[1])
    door = vault.Vault(service.url, admin[0])
    calls = GROUPS[group]
    # In a thread: the client waits for the service, which runs in this event loop.
    found = await asyncio.to_thread(disagreements, calls, recorded(group, calls), door)
    assert not found, found
