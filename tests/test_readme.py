"""The README: its commands print the shown output."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp import ClientSession
from document_blocks import ROOT, Block, blocks, environment, paste, section
from environments import environment as environment_of_packages
from report import README_LINES, title_in_production
from rows import IN_PRODUCTION

from minikms.doors.registry import installed_doors
from minikms.plugin.registry import AlgorithmRegistry

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks(README)
STORES = (ROOT / "docs/operations/stores.md").read_text("utf-8")
POSTGRES = blocks(section(STORES, "### PostgreSQL"))
(MEMORY,) = (text for _, text in BLOCKS if "docker build" in text)


@pytest.fixture(scope="module")
def mkms(tmp_path_factory):
    """A folder with the command `mkms`, in which no other command is the service's."""
    folder = tmp_path_factory.mktemp("client")
    environment_of_packages(folder, f"{ROOT}/clients/python[cli]")
    return folder / "bin"


@pytest.mark.process
@pytest.mark.timeout(120)  # installs a package
def test_blocks_in_the_order_of_the_page_in_one_shell(tmp_path, own_postgres, mkms):
    """Run the blocks up to PostgreSQL unchanged, except for port and database."""
    own = [block for block in BLOCKS[: BLOCKS.index(("sh", MEMORY))] if block.language != "sql"]
    psql = shlex.join(map(str, own_postgres.psql("postgres")))
    moved = [
        Block("sh", f"{psql} <<'SQL'\n{text}SQL\n") if language == "sql" else Block("sh", text)
        for language, text in POSTGRES
    ]
    # The key that was in the file is in PostgreSQL.
    before = Block("sh", "mkms key show demo --pem >before.pem\n")
    after = Block("sh", "mkms key show demo --pem | diff - before.pem && echo 'the same key'\n")
    done = paste(
        [*own, before, *moved, after, Block("text", "the same key\n")],
        tmp_path,
        {"127.0.0.1:5432": f"127.0.0.1:{own_postgres.port}"},
        whole=True,
        PATH=f"{mkms}:{os.environ['PATH']}",
    )
    assert done.answered == done.shown
    assert len(done.shown) == 2
    assert done.commands.count("minikms serve") == 3
    assert "pip install" not in done.commands
    # The files that they leave in a checkout are ignored by git.
    ignored = [name.rstrip("/") for name in (ROOT / ".gitignore").read_text().split()]
    left = {path.name for path in tmp_path.iterdir()} - {"service.log", "before.pem"}
    assert {"keys.db", "store.key", "admin.token", "app.token"} <= left
    assert [name for name in left if not any(fnmatch(name, form) for form in ignored)] == []


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_a_persistent_store_and_its_backup_as_operations_shows_them(tmp_path):
    """In a new terminal in the README's folder, as any user."""
    stores = blocks(STORES.partition("## Stores")[2].partition("### PostgreSQL")[0])
    backup = (ROOT / "docs/operations/backup.md").read_text("utf-8")
    backups = blocks(section(backup, "## Backup and restore"))
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    begin = Block("sh", f"export HOME={home}\n")
    make, *restore = backups
    end = Block("sh", "stop\necho 'all done'\n"), Block("text", "all done\n")
    paste([begin, *stores, make, Block("sh", "stop\n"), *restore, *end], folder)
    assert {path.name for path in home.iterdir()} == {
        "minikms",
        "minikms-backup",
        "minikms-secrets",
    }
    assert {path.name for path in folder.iterdir()} == {".venv", "service.log"}


def in_containers(block):
    """For each `docker run` of a block the variables and the arguments that the service gets."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    words = shlex.split(" ".join(re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE)))
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


@pytest.mark.process
async def test_containers_serve_as_shown(tmp_path):
    """Run the blocks for Docker in a folder in place of the volume."""
    deployment = (ROOT / "docs/operations/deployment.md").read_text("utf-8")
    docker = blocks(section(deployment, "## Docker"))
    keep = next(text for _, text in docker if "docker volume create" in text)
    program = Path(sys.executable).with_name("minikms")
    ((memory, serve),) = in_containers(MEMORY)
    assert serve == ["serve"]
    doors = [name.upper() for name in installed_doors()]
    hosts = {f"MINIKMS_{name}_HOST" for name in doors}
    assert memory.keys() == {"MINIKMS_PORT", "MINIKMS_HOST", *hosts}

    init, (variables, arguments) = in_containers(keep)
    subprocess.run(
        (program, *init[1]), cwd=tmp_path, env=environment(**init[0]), check=True, timeout=60
    )
    (shown,) = re.findall(r"^docker cp kms:/data/(\S+) - \| tar -xO$", keep, re.MULTILINE)
    token = (tmp_path / shown).read_text().strip()
    free = variables | {"MINIKMS_PORT": "0"} | {f"MINIKMS_{name}_PORT": "0" for name in doors}
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
            for door in installed_doors().values():
                assert f"{door.title} on http://0.0.0.0:" in service.stderr.readline()
            async with ClientSession(f"http://127.0.0.1:{port}") as session:
                for headers, status in (({}, 401), ({"Authorization": f"Bearer {token}"}, 200)):
                    async with session.get("/keys", headers=headers) as response:
                        assert response.status == status
        finally:
            service.terminate()
            service.communicate(timeout=60)
    assert service.returncode == 0


def test_the_figures_of_the_readme_were_measured():
    """If it fails, bench/run.py has measured again. A row that it had no time for says so."""
    measured = (ROOT / "docs/performance.md").read_text("utf-8")
    for shown, row in README_LINES.items():
        line = re.search(
            rf"^\| {re.escape(title_in_production(row))} \|(.*)", measured, re.MULTILINE
        )
        cells = line[1].split("|")[: len(IN_PRODUCTION)]
        rates = (cell.strip().partition(" ")[0] for cell in cells)
        assert f"| {shown} | {' | '.join(rates)} |" in README


def test_algorithms_that_are_built_in_are_counted():
    built_in = [
        entry for entry in AlgorithmRegistry.from_installed() if entry.source == "minikms-server"
    ]
    assert f"{len(built_in)} are built in" in README


def test_every_document_is_listed():
    documents = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert documents - set(re.findall(r"\]\(([^)#]+)[)#]", README)) == set()


def test_commands_that_ci_takes_from_here():
    """.ci/run runs the first and the second line that begin so."""
    run, test = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert run.endswith(" && .venv/bin/minikms serve")
    # Not in the service's environment, whose files an installation replaces.
    assert " && .venv-test/bin/pytest" in test
    assert ".venv/" not in test


def test_picture_is_well_formed():
    """A browser does not show a diagram with an error."""
    picture = ElementTree.parse(ROOT / "docs/overview.svg").getroot()
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Callers", "HTTP API", "Askar", "memory", "SQLite file", "PostgreSQL"} <= words


def test_the_readme_fits_two_screens():
    assert len(README.splitlines()) <= 140
