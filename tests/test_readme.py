"""What README.md shows is what happens."""

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import ClientSession

from minikms.plugin.registry import AlgorithmRegistry
from minikms.testing import AlgorithmContract
from minikms.web.routes import ROUTES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
URL = "http://127.0.0.1:8080"

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


# What a person does around the blocks: stop the service before it starts again, and wait for it.
SHELL = """
set -euo pipefail
service=
stop() { if [ -n "$service" ]; then kill -TERM $service; wait $service; service=; fi; }
serve() {
    stop
    "$@" >>service.log 2>&1 &
    service=$!
    until curl -sf --max-time 5 URL/readyz >/dev/null; do kill -0 $service; sleep 0.05; done
}
trap stop EXIT
"""
# The packages are installed here by now; CI runs the run command as it stands.
INSTALLED = (
    "python3 -m venv .venv && .venv/bin/pip install . && ",
    ".venv/bin/pip install '.[postgres]'\n",
)
DOCKER = next(text for _, text in BLOCKS if "docker build" in text)


def environment(**variables):
    """This process's environment with these options of the service alone."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("MINIKMS_")}
    return inherited | variables


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_blocks_in_the_order_of_the_page_in_one_shell(tmp_path, own_postgres):
    """From the run command to PostgreSQL, as they stand, but for port and database."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    steps, shown = [], []
    for (language, text), (following, answer) in pairwise(BLOCKS):
        if text == DOCKER:
            break
        if language == "sh":
            steps.append(text)
        elif language == "sql":
            psql = shlex.join(map(str, own_postgres.psql("postgres")))
            steps.append(f"{psql} <<'SQL'\n{text}SQL\n")
        if "curl" in text:
            assert following == "json"
            shown.append(stable(answer))
            steps.append("printf '\\0'\n")
    assert len(shown) == 10
    blocks = "".join(steps)
    for part in INSTALLED:
        assert blocks.count(part) == 1
        blocks = blocks.replace(part, "")
    blocks, served = re.subn(r"^(?=\.venv/bin/minikms serve)", "serve ", blocks, flags=re.MULTILINE)
    assert served == 3
    script = SHELL.replace("URL", URL) + blocks
    script = script.replace(URL, f"http://127.0.0.1:{port}")
    script = script.replace("127.0.0.1:5432", f"127.0.0.1:{own_postgres.port}")
    done = subprocess.run(
        ("bash", "-c", script),
        cwd=tmp_path,
        env=environment(MINIKMS_PORT=str(port)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    log = tmp_path / "service.log"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    *answers, rest = done.stdout.split("\0")
    assert not rest
    # What a command before it has printed is above the answer.
    assert [stable(text.splitlines()[-1]) for text in answers] == shown
    # Nothing of what they leave in a checkout comes into a commit.
    ignored = [name.rstrip("/") for name in (ROOT / ".gitignore").read_text().split()]
    left = {path.name for path in tmp_path.iterdir()} - {log.name}
    assert {"keys.db", "store.key", "admin.token"} <= left
    assert [name for name in left if not any(fnmatch(name, form) for form in ignored)] == []


def in_containers(block):
    """For each `docker run` of a block the variables and the arguments that the service gets."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    words = shlex.split(re.search(r"^ENV (.*)$", dockerfile, re.MULTILINE)[1])
    image = dict(word.split("=", 1) for word in words)
    (folder,) = re.findall(r"^WORKDIR (/data)$", dockerfile, re.MULTILINE)
    assert f"VOLUME {folder}" in dockerfile
    for line in block.replace("\\\n", "").splitlines():
        if not line.startswith("docker run"):
            continue
        options, _, arguments = line.partition(" mini-kms")
        words = shlex.split(options)
        given = {after for name, after in pairwise(words) if name == "-e"}
        assert {after for name, after in pairwise(words) if name == "-v"} <= {f"kms-data:{folder}"}
        # From this machine alone, unless somebody means it.
        for name, after in pairwise(words):
            assert name != "-p" or after == f"127.0.0.1:8080:{image['MINIKMS_PORT']}"
        variables = image | dict(word.split("=", 1) for word in given)
        yield (
            {name: value for name, value in variables.items() if name.startswith("MINIKMS_")},
            shlex.split(arguments) or ["serve"],
        )


async def test_containers_serve_as_shown(tmp_path):
    """What the blocks of Docker run, in a folder that stands in for the volume."""
    keep = next(text for _, text in BLOCKS if "docker volume create" in text)
    program = Path(sys.executable).with_name("minikms")
    ((memory, serve),) = in_containers(DOCKER)
    assert serve == ["serve"]
    assert memory.keys() == {"MINIKMS_HOST", "MINIKMS_PORT"}

    init, (variables, arguments) = in_containers(keep)
    subprocess.run(
        (program, *init[1]), cwd=tmp_path, env=environment(**init[0]), check=True, timeout=60
    )
    (shown,) = re.findall(r"^docker exec kms cat (\S+)$", keep, re.MULTILINE)
    token = (tmp_path / shown).read_text().strip()
    free = variables | {"MINIKMS_PORT": "0"}
    with subprocess.Popen(
        (program, *arguments),
        cwd=tmp_path,
        env=environment(**free),
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        try:
            # The image listens on every address of the container; the log says what that means.
            port = re.search(
                r"listening on http://0\.0\.0\.0:(\d+), documentation on http://127\.0\.0\.1:\1/docs",
                service.stderr.readline(),
            )[1]
            assert "published" in service.stderr.readline()
            async with ClientSession(f"http://127.0.0.1:{port}") as session:
                for headers, status in (({}, 401), ({"Authorization": f"Bearer {token}"}, 200)):
                    async with session.get("/keys", headers=headers) as response:
                        assert response.status == status
        finally:
            service.terminate()
            service.communicate(timeout=60)
    assert service.returncode == 0


def test_original_has_what_is_said_to_be_not_there():
    """The one path of the original that no route here has."""
    assert re.search(r"^\| not there \| `/vc-holder/\*`", README, re.MULTILINE)
    assert not any(route.path.startswith("/vc-holder") for route in ROUTES)


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
