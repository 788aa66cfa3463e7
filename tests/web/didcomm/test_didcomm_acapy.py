"""DIDComm v1 messages, both ways with acapy-agent's own pack_message and unpack_message.

acapy-agent needs Python 3.13 and marshmallow 3. So it has its own environment, with only the
packages that these two functions import.
"""

import asyncio
import base64
import json
import shutil
from pathlib import Path

import pytest
from base64url import b64
from environments import environment

# The first installs ACA-Py.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PACKAGES = (
    *("acapy-agent==1.7.0", "aries-askar==0.5.0", "base58==2.1.1", "marshmallow==3.26.2"),
    *("pynacl==1.6.2", "cffi", "pycparser"),
    *("packaging", "requests", "certifi", "idna", "urllib3"),
)
MESSAGES = [b"", b'{"@type": "https://didcomm.org/trust_ping/1.0/ping"}', bytes(range(256)) * 100]
KEY = {"alg": "ed25519", "operations": ["sign", "verify", "box", "box-open"]}


async def run(*command):
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    return process.returncode, output


async def find_python():
    """A Python 3.13 that can make an environment."""
    for name in ("python3.13", "/usr/bin/python3"):
        if path := shutil.which(name):
            check = "import ensurepip, sys; assert sys.version_info[:2] == (3, 13)"
            if (await run(path, "-c", check))[0] == 0:
                return path
    return pytest.skip("needs Python 3.13 with its ensurepip: apt-get install python3-venv")


class Agent:
    """A process of acapy-agent's code."""

    def __init__(self, process):
        self._process = process

    async def ask(self, do, **more):
        self._process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "it has ended"
        return json.loads(line)


@pytest.fixture
async def agent(tmp_path):
    python = environment(tmp_path / "acapy", "--no-deps", *PACKAGES, python=await find_python())
    process = await asyncio.create_subprocess_exec(
        *(python, "-W", "ignore", Path(__file__).with_name("acapy_didcomm.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    yield Agent(process)
    process.stdin.close()
    await process.wait()


async def test_messages_agree_both_ways(agent, post):
    ours, theirs = await post("/key/generate", KEY), await agent.ask("make")
    other = await agent.ask("make")
    verkey = ours["b58"]
    for message in MESSAGES:
        for sender in (None, theirs):
            for to in ([verkey], [other, verkey]):
                text = base64.b64encode(message).decode()
                packed = await agent.ask("pack", to=to, message=text, **{"from": sender})
                assert await post("/didcomm/unpack", {"packed": packed}) == {
                    "message": b64(message),
                    "to": verkey,
                    "from": sender,
                    "kid": ours["kid"],
                }
        for sender in ({}, {"from": ours["kid"]}):
            for to in ([theirs], [verkey, theirs]):
                body = {"to": to, "message": b64(message), **sender}
                packed = (await post("/didcomm/pack", body))["packed"]
                assert await agent.ask("unpack", packed=packed) == {
                    "message": base64.b64encode(message).decode(),
                    "to": theirs,
                    "from": verkey if sender else None,
                }
