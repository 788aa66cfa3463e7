"""Completion of `minikms` in shells, by the scripts that it prints."""

import os
import subprocess

import pytest
from click.testing import CliRunner
from minikms_processes import MINIKMS, environment

from minikms.cli.main import main


@pytest.mark.process
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("minikms sto", ["store"]),
        ("minikms store ver", ["verify"]),
        ("minikms token create --all", ["--all-scopes", "--all-profiles"]),
        ("minikms serve --vault", ["--vault-port", "--vault-host"]),
        ("minikms serve --log-format j", ["json"]),
    ],
)
def test_bash_completes_commands_and_options(line, expected):
    words = line.split()
    script = "source <(minikms completion bash)" + (
        f"; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}"
        "; _minikms_completion minikms; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{os.path.dirname(MINIKMS[0])}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment() | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell):
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_MINIKMS_COMPLETE={shell}_complete" in done.stdout
