"""What README.md shows is what happens."""

import asyncio
import configparser
import json
import re
import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import ClientSession

from minikms.registry import AlgorithmRegistry
from minikms.testing import AlgorithmContract

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
URL = "http://127.0.0.1:8080"
POSTGRES = "postgres://kms:secret@127.0.0.1:5432/kms"

# What is another value each time, and what of it stays.
VOLATILE = {
    "kid": r"[A-Za-z0-9_-]{43}",
    "x": r"[A-Za-z0-9_-]{43}",
    "b58": r"[1-9A-HJ-NP-Za-km-z]{40,44}",
    "multikey": r"z6Mk[1-9A-HJ-NP-Za-km-z]{44}",
    "did": r"did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}",
    "jws": r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}",
    "sig": r"[A-Za-z0-9_-]{86}==",
    "created": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
}


def stable(text):
    """JSON of an answer with its volatile values replaced by their form."""

    def replace(answer):
        for name, form in VOLATILE.items():
            if name in answer and re.fullmatch(form, answer[name]):
                answer[name] = form
        return answer

    return json.loads(text, object_hook=replace)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_blocks_answer_as_shown(client):
    """Every block that speaks to the service, pasted in order into one shell."""
    steps, shown = [], []
    for number, (language, text) in enumerate(BLOCKS):
        if language == "sh" and ("curl" in text or "kms=" in text):
            steps.append(text)
            following, answer = BLOCKS[number + 1]
            shown.append(answer if following == "json" else "")
    assert sum("curl" in step for step in steps) == 8

    script = "printf '\\0'\n".join(steps).replace(URL, str(client.make_url("/")).rstrip("/"))
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await shell.communicate()
    assert shell.returncode == 0
    got = output.decode().split("\0")
    assert [stable(text) for text in got if text] == [stable(text) for text in shown if text]


async def test_from_memory_to_a_file_to_postgresql(tmp_path, own_postgres):
    """The commands as they stand, but for the program's place, its port and the database."""
    kept = [text for language, text in BLOCKS if language == "sh" and "minikms store" in text]
    lines = "".join(kept).replace(POSTGRES, own_postgres.url("kms")).splitlines()
    lines = [line.replace(".venv/bin/", f"{Path(sys.executable).parent}/") for line in lines]
    (export, init, serve_file, copy, serve_postgres) = lines

    async def run(*commands):
        script = "; ".join([export, *commands])
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", script), cwd=tmp_path, stderr=asyncio.subprocess.PIPE
        )
        return process, process.stderr

    async def done(command):
        process, written = await run(command)
        assert await process.wait() == 0, (await written.read()).decode()

    async def served(command, work):
        process, written = await run("export MINIKMS_PORT=0", f"exec {command}")
        found = None
        while not found:
            line = (await written.readline()).decode()
            assert line
            found = re.search(r"listening on (\S+),", line)
        drain = asyncio.create_task(written.read())
        token = (tmp_path / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with ClientSession(found[1], headers=headers) as session:
            answer = await work(session)
        process.terminate()
        assert await process.wait() == 0
        await drain
        return answer

    async def generate(session):
        body = {"alg": "ed25519", "alias": "did:example:123#key-1"}
        async with session.post("/key/generate", json=body) as response:
            return await response.json()

    async def keys(session):
        async with session.get("/keys") as response:
            return await response.json()

    await done(init)
    made = await served(serve_file, generate)
    await done(copy)
    # `exec` takes no assignments before it.
    assert await served(f"env {serve_postgres}", keys) == [made]


def test_table_of_algorithms():
    """On a failure, the table to paste is the one that was expected."""
    registry = [entry for entry in AlgorithmRegistry.from_installed() if entry.source == "minikms"]
    assert f"{len(registry)} are built in" in README
    rows = [("Name", "Also", "Key type", "JOSE", "Operations"), ("---",) * 5]
    for entry in registry:
        alg = entry.algorithm
        columns = ((alg.name,), alg.aliases, (alg.kty,), entry.jose_algs, alg.operations)
        rows.append([" ".join(f"`{word}`" for word in words) for words in columns])
    expected = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    table = README.partition("<!-- algorithms -->")[2].partition("<!-- /algorithms -->")[0]
    assert table.strip() == expected.replace("|  |", "| |").strip()


def block(wanted):
    """The one block of this language."""
    (text,) = [text for language, text in BLOCKS if language == wanted]
    return text


def entry_point():
    """The entry point that the section about plugins declares."""
    setup = configparser.ConfigParser()
    setup.read_string(block("ini"))
    name, _, value = setup["options.entry_points"]["minikms.algorithms"].strip().partition(" = ")
    return EntryPoint(name, value, "minikms.algorithms")


PACKAGE = ModuleType(entry_point().module)
exec(block("python"), PACKAGE.__dict__)


class TestPlugin(AlgorithmContract):
    """The class in the section about plugins passes what every algorithm passes."""

    algorithm = getattr(PACKAGE, entry_point().attr)()

    @pytest.fixture(autouse=True)
    def _importable(self, monkeypatch):
        monkeypatch.setitem(sys.modules, PACKAGE.__name__, PACKAGE)

    def test_is_ten_lines(self):
        assert len([line for line in block("python").splitlines() if line]) <= 10

    def test_entry_point_has_its_name(self):
        assert entry_point().name == self.algorithm.name
