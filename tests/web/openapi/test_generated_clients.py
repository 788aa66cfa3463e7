"""Generators make clients from the OpenAPI document; these clients call the service."""

import asyncio
import importlib
import inspect
import json
import pkgutil
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from app_servers import KmsTestServer
from node import install

from minikms.config import Config
from minikms.serve.assembly import create_service

# The tests run generators, and compile their clients.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DATA = "aGVsbG8="

GENERATOR = Path(sys.executable).with_name("openapi-python-client")

# npm installs them in a folder of the test alone. orval 8 needs a newer Node.js than Debian's.
TYPESCRIPT = "typescript@5.9.3"
OPENAPI_TYPESCRIPT = "openapi-typescript@7.13.0"
ORVAL = "orval@7.13.2"


@pytest.fixture
async def client(start):
    """A client of a new service; which store it has is nothing to the document."""
    return await start(create_service(Config()))


async def run(*command, cwd):
    """Run a command that must succeed, and return its output."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
async def package(tmp_path_factory):
    """Import the client made by openapi-python-client."""
    if not GENERATOR.exists():
        pytest.skip("openapi-python-client is missing: pip install -e '.[test-all]'")
    folder = tmp_path_factory.mktemp("package")
    (folder / "config.yml").write_text("post_hooks: []\n")  # nobody reads it: no formatter
    async with KmsTestServer(create_service(Config())) as server:
        await run(
            *(GENERATOR, "generate"),
            *("--url", str(server.make_url("/openapi.json")), "--config", "config.yml"),
            *("--meta", "none", "--output-path", "generated_kms_client", "--fail-on-warning"),
            cwd=folder,
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("generated_kms_client")
    for name in [name for name in sys.modules if name.startswith("generated_kms_client")]:
        del sys.modules[name]


def modules(package):
    """The module of each operation, by its name."""
    api = importlib.import_module(f"{package.__name__}.api")
    found = pkgutil.walk_packages(api.__path__, f"{api.__name__}.")
    return {
        info.name.rpartition(".")[2]: importlib.import_module(info.name)
        for info in found
        if not info.ispkg
    }


async def test_a_client_of_openapi_python_client(client, package):
    models = importlib.import_module(f"{package.__name__}.models")
    call = modules(package)
    async with package.Client(str(client.make_url("")), raise_on_unexpected_status=True) as kms:

        async def ask(name, body):
            return await call[name].asyncio(client=kms, body=body)

        generate = models.GenerateKey(alg=models.AlgorithmName.ED25519, alias="a")
        key = await ask("generate_key", generate)
        assert isinstance(key, models.Key)
        assert await call["list_keys"].asyncio(client=kms) == [key]

        signed = await ask("sign", models.SignRequestWithAlias(alias="a", data=DATA))
        assert signed.kid == key.kid
        for by in (
            models.VerifyRequestWithJwk(jwk=key.jwk, data=DATA, sig=signed.sig),
            models.VerifyRequestWithKid(kid=key.kid, data=DATA, sig=signed.sig),
        ):
            assert (await ask("verify", by)).valid is True

        # A field that is left out is not sent, so that nothing refuses it.
        token = await ask("create_token", models.CreateToken("issuer", [models.Scope.SIGN]))
        assert token.record.profiles is None

        missing = await ask("sign", models.SignRequestWithKid(kid="nobody", data=DATA))
        assert isinstance(missing, models.Problem)
        assert missing.type_ == "urn:minikms:problem:key-not-found"


async def test_types_of_openapi_python_client(package):
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary")
    folder = Path(package.__file__).parent
    assert await run(*mypy, folder.name, cwd=folder.parent) == ""


async def test_every_body_and_answer_has_a_type(client, package):
    document = await (await client.get("/openapi.json")).json()
    with_body = {
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if "requestBody" in operation
    }
    found = 0
    for name, module in modules(package).items():
        body = inspect.signature(module._get_kwargs).parameters.get("body")
        if body is not None:
            assert body.annotation is not Any, name
            found += 1
        assert inspect.signature(module.sync).return_annotation is not Any, name
    assert found == len(with_body)


async def run_typescript(programs, source, url, *, cwd):
    """Compile a program of this folder, whose types must fit, and give the lines that it writes."""
    shutil.copy(Path(__file__).with_name(source), cwd / "main.mts")
    await run(
        *(programs / "tsc", "--strict", "--skipLibCheck", "--noEmitOnError"),
        *("--target", "es2022", "--module", "nodenext", "main.mts"),
        cwd=cwd,
    )
    return (await run("node", "main.mjs", url, cwd=cwd)).split()


async def test_types_of_openapi_typescript(client, tmp_path):
    """The types compile, also in a program that uses them, and the program works."""
    url = str(client.make_url("/"))
    programs = install(tmp_path, TYPESCRIPT, OPENAPI_TYPESCRIPT) / "node_modules/.bin"
    # Not as `kms.d.ts`: --skipLibCheck, which spares TypeScript's own types, would pass over it.
    await run(programs / "openapi-typescript", f"{url}openapi.json", "-o", "kms.ts", cwd=tmp_path)
    output = await run_typescript(programs, "generated_client.ts", url, cwd=tmp_path)
    assert output == ["urn:minikms:problem:unsupported-operation", "true"]


async def test_a_client_of_orval(client, tmp_path):
    """The client compiles, and a program makes ten calls with it."""
    url = str(client.make_url("")).rstrip("/")
    made = {"target": "./kms.ts", "client": "fetch", "baseUrl": url}
    config = json.dumps({"kms": {"input": f"{url}/openapi.json", "output": made}})
    (tmp_path / "orval.config.mjs").write_text(f"export default {config}")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    programs = install(tmp_path, TYPESCRIPT, ORVAL) / "node_modules/.bin"
    await run(programs / "orval", cwd=tmp_path)
    output = await run_typescript(programs, "generated_client_of_orval.ts", url, cwd=tmp_path)
    assert output == ["true", "hello", "hello", "urn:minikms:problem:key-not-found"]
