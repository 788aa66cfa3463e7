"""Fixtures of tests of approvals: ask for one, and approve it."""

import pytest
from problems import refused


@pytest.fixture
def asks(client):
    """Send a call that must ask for an approval, and give the approval."""

    async def call(path="/sign", body=None, method="POST", **options):
        answer = await client.request(method, path, json=body, **options)
        return (await refused(answer, 403, "approval-required"))["approval"]

    return call


@pytest.fixture
def approves(client):
    """Approve by a proof, and give the approval."""

    async def call(approval, approver, **options):
        answer = await client.post(f"/approvals/{approval['id']}", json=approver.proof(approval))
        assert answer.status == 200, await answer.text()
        return await answer.json()

    return call
