"""A bounded run of schemathesis: all its checks, on the service as a whole."""

import asyncio
import sys
import time
from pathlib import Path

import pytest
from access.jwt_issuer import SigningKey
from access.role_files import ROLES_OF_SCOPES, name_of, write_roles

from minikms.access.callers import SCOPES
from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.routes import ROUTES

ROOT = Path(__file__).parents[3]
PROGRAM = Path(sys.executable).with_name("schemathesis")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # it calls every route many times
    pytest.mark.skipif(
        not PROGRAM.exists(), reason="schemathesis is missing: pip install -e '.[test-all]'"
    ),
]


@pytest.mark.parametrize("kind", ["token", "roles"])
async def test_schemathesis_finds_no_fault_in_the_api(start, admin, tmp_path, kind):
    """With a token, without which nobody gets further, as `test_access.py` has it of each route.

    The JWT has a role for each scope. The two callers share the examples of a run, by other seeds.
    """
    (token, file), key = admin, SigningKey()
    roles = write_roles(tmp_path, key, ROLES_OF_SCOPES)
    if kind == "roles":
        end = int(time.time()) + 7200
        token = key.token({"roles": [*map(name_of, SCOPES)], "exp": end})
    config = Config(auth="token", admin_token_file=file, roles=roles, max_wrong_tokens=10**6)
    document = str((await start(create_service(config))).make_url("/openapi.json"))
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "run", document, "--header", f"Authorization: Bearer {token}"),
        *("--checks", "all", "--max-examples", "5", "--seed", str(len(kind))),
        *("--generation-database", "none", "--no-color"),
        cwd=ROOT,  # where schemathesis.toml is
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    # All but the call that gives the document itself, which schemathesis makes once.
    assert f"Tested: {len(ROUTES) - 1}" in output
