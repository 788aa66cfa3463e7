"""Deletions of a key that is deleted only with an approval, at each door that deletes keys."""

import json
import re

import pytest
from base64url import raw
from web.approvals.approvers import Signer, rule

AWS = {"Content-Type": "application/x-amz-json-1.1"}


@pytest.fixture
async def calls(start_with_doors):
    """Call a door; give the status and the text of its answer."""
    client, urls = await start_with_doors("aws", "vault")
    urls = {"rest": str(client.make_url("")).rstrip("/"), **urls}

    async def call(door, method, path, body=None, target=""):
        headers = {"X-Amz-Target": f"TrentService.{target}", **AWS} if target else {}
        headers.setdefault("Content-Type", "application/json")
        data = None if body is None else json.dumps(body)
        url = urls[door] + path
        async with client.session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, await answer.text()

    return call


async def made(call, ann, alias):
    body = {"alg": "p256", "alias": alias, "rules": rule(ann, delete=True)}
    status, text = await call("rest", "POST", "/key/generate", body)
    assert status == 200, text
    return json.loads(text)["kid"]


async def approved(call, ann, text, after):
    """Approve what an answer asks for, which must be a deletion."""
    named = re.search(r"Approval ([\w-]{22}) waits", text)[1]
    status, text = await call("rest", "GET", f"/approvals/{named}")
    approval = json.loads(text)
    document = json.loads(raw(approval["document"]))
    assert (document["operation"], document["what"]) == ("delete", [{"after": after}])
    status, text = await call("rest", "POST", f"/approvals/{named}", ann.proof(approval))
    assert status == 200, text


async def test_aws_schedules_the_deletion_after_the_approval(calls):
    ann = Signer()
    kid = await made(calls, ann, "alias/kept")
    body = {"KeyId": kid, "PendingWindowInDays": 7}
    status, text = await calls("aws", "POST", "/", body, "ScheduleKeyDeletion")
    assert (status, "AccessDeniedException" in text) == (400, True), text
    await approved(calls, ann, text, 7 * 86_400)
    status, text = await calls("aws", "POST", "/", body, "ScheduleKeyDeletion")
    assert status == 200, text


async def test_vault_deletes_a_name_after_the_approval(calls):
    ann = Signer()
    await made(calls, ann, "kept")
    path = "/v1/transit/keys/kept"
    status, text = await calls("vault", "POST", f"{path}/config", {"deletion_allowed": True})
    assert status in (200, 204), text
    status, text = await calls("vault", "DELETE", path)
    assert status == 403, text
    await approved(calls, ann, text, 0)
    status, text = await calls("vault", "DELETE", path)
    assert status == 204, text
    assert (await calls("rest", "GET", "/key?alias=kept"))[0] == 404


async def test_vault_trims_versions_after_the_approval(calls):
    ann = Signer()
    await made(calls, ann, "kept")
    path = "/v1/transit/keys/kept"
    assert (await calls("vault", "POST", f"{path}/rotate", {}))[0] in (200, 204)
    body = {"min_decryption_version": 2, "min_encryption_version": 2}
    assert (await calls("vault", "POST", f"{path}/config", body))[0] in (200, 204)
    trim = {"min_available_version": 2}
    status, text = await calls("vault", "POST", f"{path}/trim", trim)
    assert status == 403, text
    await approved(calls, ann, text, 0)
    status, text = await calls("vault", "POST", f"{path}/trim", trim)
    assert status in (200, 204), text
