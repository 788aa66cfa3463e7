"""A bounded run of schemathesis: all its checks, on the service as a whole."""

import asyncio
import sys
from pathlib import Path

import pytest

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.routes import ROUTES

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("schemathesis")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROGRAM.exists(), reason="schemathesis is missing: pip install -e '.[test-all]'"
    ),
]


# The coverage phase makes the same requests each time, and takes most of a run: it is part of one.
WITHOUT_COVERAGE = ("--phases", "examples,fuzzing,stateful")


async def test_schemathesis_finds_nothing(start):
    await run(await start(create_service(Config())), "10", *WITHOUT_COVERAGE)


@pytest.mark.parametrize("with_token", [True, False])
async def test_schemathesis_finds_nothing_where_a_token_is_asked_for(start, admin, with_token):
    token, file = admin
    config = Config(auth="token", admin_token_file=file, max_wrong_tokens=10**6)
    client = await start(create_service(config))
    sent = ("--header", f"Authorization: Bearer {token}")
    await run(client, "5", *(sent if with_token else WITHOUT_COVERAGE))


async def run(client, examples, *options):
    document = str(client.make_url("/openapi.json"))
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "run", document, "--checks", "all", "--max-examples", examples, "--seed", "1"),
        *("--generation-database", "none", "--no-color", *options),
        cwd=ROOT,  # where schemathesis.toml is
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    # All but the call that gives the document itself, which schemathesis makes once.
    assert f"Tested: {len(ROUTES) - 1}" in output
