"""Examples print what their READMEs show, if run as their READMEs say, against a real service."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from document_blocks import ROOT, Block, blocks, environment
from ports import free_port

from minikms_client.pytest_plugin import serve

FOLDER = ROOT / "examples"
# The folders of this repository that examples use.
USED = ("clients", "examples", "integrations")

pytestmark = [
    pytest.mark.parametrize(
        "name", sorted(path.parent.name for path in FOLDER.glob("*/README.md"))
    ),
    pytest.mark.timeout(600),  # examples install packages from registries
]


def files(*folders):
    """The paths in the repository of the files that a clone would have."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders)
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for path in done.stdout.split("\0") if (ROOT / path).is_file()]


def readme(name):
    return (FOLDER / name / "README.md").read_text("utf-8")


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A copy of the repository without installed packages and build output."""
    folder = tmp_path_factory.mktemp("clone")
    for path in files(*USED):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


@pytest.fixture
def path(name):
    """PATH with the programs that the README names after `Needs:`, and with `mkms`."""
    found = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    [needs] = re.findall(r"^Needs: ([^.]*)\.", readme(name), re.MULTILINE)
    programs = re.findall(r"`(\S+)`", needs)
    if missing := [each for each in programs if shutil.which(each, path=found) is None]:
        is_required = os.environ.get("MINIKMS_TEST_REQUIRE_PROGRAMS") == "1"
        (pytest.fail if is_required else pytest.skip)(f"missing: {' '.join(missing)}")
    return found


def test_its_commands_print_the_shown_output(name, clone, path):
    steps = [
        (block.text, following.text if following.language == "text" else None)
        for block, following in pairwise([*blocks(readme(name)), Block("end", "")])
        if block.language == "sh"
    ]
    script = "".join(f"{command}printf '\\0'\n" for command, _ in steps)
    vault = f"{free_port()}"
    [options] = re.findall(r"minikms serve([^`]*)`", readme(name))
    with serve(*options.replace("8200", vault).split()) as url:
        done = subprocess.run(
            ("bash", "-euo", "pipefail", "-c", script),
            cwd=clone / "examples" / name,
            env=environment(MINIKMS_URL=url, PATH=path, BAO_ADDR=f"http://127.0.0.1:{vault}"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    *answers, rest = done.stdout.split("\0")
    assert not rest
    shown = [(answer, text) for answer, (_, text) in zip(answers, steps, strict=True) if text]
    assert len(shown) == readme(name).count("```text\n") > 0
    for answer, text in shown:
        assert_ends(answer, text)


def assert_ends(answer, text):
    """The last lines are the shown ones, in which `…` stands for anything.

    Lines of an installation may be above them.
    """
    lines = text.splitlines()
    form = "\n".join(re.escape(line).replace("…", ".*") for line in lines)
    assert re.fullmatch(form, "\n".join(answer.splitlines()[-len(lines) :])), answer


def test_it_is_short(name):
    prose = re.sub(r"^```.*?^```$", "", readme(name), flags=re.MULTILINE | re.DOTALL)
    code = [
        line
        for file in files(f"examples/{name}")
        if not file.endswith((".md", ".json"))
        for line in (ROOT / file).read_text("utf-8").splitlines()
        if not re.match(r"\s*(#|//)", line)
    ]
    assert len([line for line in prose.splitlines() if line.strip()]) <= 15
    assert len([line for line in code if line.strip()]) <= 80


def test_it_is_in_the_table(name):
    table = (FOLDER / "README.md").read_text("utf-8")
    assert f"\n| [{name}]({name}/README.md) |" in table
