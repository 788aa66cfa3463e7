"""docs/pkcs11.md: its commands, pasted into a shell, and its tables."""

import re
import subprocess
import sys

from commands import need, need_provider
from document_blocks import ROOT, blocks, paste

from minikms_p11 import constants
from minikms_p11.algorithms import ALGORITHMS
from minikms_p11.mechanisms import mechanism_infos
from minikms_p11.refusal import Problem

DOCUMENT = (ROOT / "docs/pkcs11.md").read_text("utf-8")
# The end of the command that holds a second terminal.
SIDECAR = "--socket $PWD/p11.socket\n"
BACKGROUND = f"""{SIDECAR.strip()} 2>>service.log &
trap 'kill '$!'; stop' EXIT
until [ -S p11.socket ]; do sleep 0.05; done
"""
REPLACED = {
    SIDECAR: BACKGROUND,
    # The packages are installed here by now.
    ".venv/bin/pip install ./integrations/p11\n": "",
    "sudo apt-get install --yes p11-kit-modules opensc\n": "",
    "sudo apt-get install --yes pkcs11-provider\n": "",
}


def table(name):
    """The cells of a table's rows."""
    text = DOCUMENT.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    return [line.strip("| ").split(" | ") for line in text.strip().splitlines()[2:]]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_pasted_commands_print_the_shown_output(tmp_path, module):
    for program, package in (
        ("pkcs11-tool", "opensc"),
        ("ssh-keygen", "openssh-client"),
        ("keytool", "default-jdk-headless"),
    ):
        need(program, package)
    need_provider()
    found = blocks(DOCUMENT)
    text = "".join(block.text for block in found)
    assert all(line in text for line in REPLACED)
    done = paste(found, tmp_path, REPLACED)
    assert done.answered == done.shown
    assert len(done.shown) == 7


def test_the_table_of_errors():
    for problems, value in table("errors"):
        for slug in names(problems):
            (name,) = names(value)
            assert Problem(slug).value == getattr(constants, name)
    assert Problem("over-rate").value == constants.CKR_FUNCTION_FAILED


def test_the_table_of_mechanisms():
    numbers = mechanism_infos(list(ALGORITHMS.values()))
    listed = [getattr(constants, name) for _, cell in table("mechanisms") for name in names(cell)]
    assert sorted(listed) == sorted(numbers)


def test_the_table_of_options():
    command = sys.executable, "-m", "minikms_p11", "--help"
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    options = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", said, re.MULTILINE)) - {"--help"}
    assert {names(option)[0].split()[0] for option, _ in table("options")} == options
