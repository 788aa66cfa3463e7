"""A bounded run of schemathesis: all its checks, on the service as a whole."""

import asyncio
import sys
from pathlib import Path

from minikms.web.app import CONFIG
from minikms.web.routes import ROUTES

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("schemathesis")


async def test_schemathesis_finds_nothing(client):
    # What a store can change, less finds; the rest of the service is the same.
    examples = "100" if client.app[CONFIG].store == "memory" else "15"
    document = str(client.make_url("/openapi.json"))
    run = await asyncio.create_subprocess_exec(
        *(PROGRAM, "run", document, "--checks", "all", "--max-examples", examples, "--seed", "1"),
        *("--generation-database", "none", "--no-color"),
        cwd=ROOT,  # where schemathesis.toml is
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await run.communicate())[0].decode()
    assert run.returncode == 0, output
    # All but the call that gives the document itself, which schemathesis makes once.
    assert f"Tested: {len(ROUTES) - 1}" in output
