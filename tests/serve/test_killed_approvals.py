"""Approvals where services are killed: each is used once at most, and never without its proof."""

import asyncio
import json
import random
import signal

import pytest
from aiohttp import ClientError
from base64url import b64
from web.approvals.approvers import Signer, rule

pytestmark = [pytest.mark.kill, pytest.mark.timeout(180)]

CALLERS, KILLS = 8, 4


class Caller:
    """Asks, approves and uses, again and again, at services that may be killed meanwhile."""

    def __init__(self, number, kid, ann):
        self.body = {"kid": kid, "data": b64(bytes([number]))}
        self.ann = ann
        self.approved = self.signed = self.broken = 0

    async def run(self, sessions, ended):
        chance = random.Random(self.body["data"])
        while not ended.is_set():
            try:
                await self.turn(chance.choice(sessions), chance.choice(sessions))
            except (ClientError, OSError, TimeoutError):
                self.broken += 1
                await asyncio.sleep(0.05)

    async def turn(self, one, other):
        async with one.post("/sign", json=self.body) as answer:
            found = await answer.json()
        if answer.status == 200:
            self.signed += 1
        elif answer.status == 403 and found["approval"]["state"] == "pending":
            path = f"/approvals/{found['approval']['id']}"
            async with other.post(path, json=self.ann.proof(found["approval"])) as answer:
                self.approved += answer.status == 200
                assert answer.status in (200, 404, 503), await answer.text()
        else:
            assert answer.status in (403, 503), found


async def test_each_approval_is_used_once(answering, run, persistent, tmp_path):
    ann, ended, files = Signer(), asyncio.Event(), []

    async def started():
        files.append(tmp_path / f"audit.{len(files)}.log")
        return await answering({**persistent, "audit_log": str(files[-1])})

    services = [await started(), await started()]
    sessions = [session for _, session in services]
    opened = [*sessions]
    async with sessions[0].post(
        "/key/generate", json={"alg": "ed25519", "rules": rule(ann)}
    ) as answer:
        kid = (await answer.json())["kid"]
    callers = [Caller(number, kid, ann) for number in range(CALLERS)]
    tasks = [asyncio.create_task(each.run(sessions, ended)) for each in callers]
    chance = random.Random(1)
    for number in range(KILLS):
        signed = sum(each.signed for each in callers)
        async with asyncio.timeout(60):
            while sum(each.signed for each in callers) < signed + 2 * CALLERS:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.03 * chance.random())
        place = number % 2
        services[place][0].process.send_signal(signal.SIGKILL)
        services[place][0].end()
        services[place] = await started()
        sessions[place] = services[place][1]
        opened.append(sessions[place])
    ended.set()
    await asyncio.gather(*tasks)
    for session in opened:
        await session.close()
    for service, _ in services:
        service.stop()

    lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    uses = [each for each in lines if "threshold" in each.get("approval", ())]
    approved = [each for each in lines if each.get("operation") == "approve"]
    approved = [each for each in approved if each["outcome"] == "success"]
    signed = sum(each.signed for each in callers)
    assert signed <= len(uses) <= len(approved)
    assert signed >= 2 * CALLERS * KILLS
    assert sum(each.approved for each in callers) <= len(approved)
    # A killed process may have written a line of a use, and not done it.
    *again, summary = run("audit", "approvals", *map(str, files)).stdout.splitlines()
    assert all("was used before" in line for line in again), again
    assert len(again) <= KILLS
    assert summary == f"{len(uses) - len(again)} uses are proven: {len(again) or 'nothing'} wrong."
    assert signed <= len(uses) - len(again)
    assert run("store", "verify", **persistent).returncode == 0
