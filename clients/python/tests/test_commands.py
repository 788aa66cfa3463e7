"""Every operation has a command, and every command has a description and examples that run."""

import ast
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from api_document import operations, snake
from commands import environment

import minikms_client.cli
from minikms_client.cli.main import mkms

CLI = Path(minikms_client.cli.__file__).parent
# The operations without a command of their own, and the reason.
WITHOUT_COMMAND = {
    "openapi": "a document for programs, which mkms --version and completion read",
    "list_keys": "mkms key list calls it for every page, by `keys`",
    "delete_key_by_alias": "mkms key delete finds the key first, and asks with its aliases",
    "healthz": "mkms status asks whether the service is ready, which needs a living process",
}
# The keys that the examples name, by alias.
KEYS = {
    "signer": {"alg": "p256", "labels": {"use": "login"}},
    "provider": {"alg": "p256"},
    "backup": {"alg": "p256", "exportable": True},
    "box": {"alg": "a256gcm"},
    "wrapper": {"alg": "a256kw"},
    "checker": {"alg": "hs256"},
    "reader": {"alg": "x25519"},
    "writer": {"alg": "x25519"},
    "kem": {"alg": "mlkem768"},
    "agent": {
        "alg": "ed25519",
        "operations": ["sign", "verify", "box", "box-open"],
    },
}


def commands(group=mkms, path="mkms"):
    """The commands that are no groups, by path."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands())


def called():
    """The methods of the client that commands call."""
    for file in set(CLI.glob("*.py")) - {CLI / "completion.py", CLI / "main.py"}:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("client"):
                yield node.attr


def test_every_operation_has_a_command(document):
    names = {snake(operation["operationId"]) for operation, _ in operations(document)}
    assert names - set(called()) == WITHOUT_COMMAND.keys()


def test_every_command_has_examples():
    assert len(COMMANDS) > 50
    for path, command in COMMANDS.items():
        assert re.search(rf"^(.* |\$\()?{path}\b", command.examples, re.MULTILINE), path


@pytest.fixture
def prepared(minikms, tmp_path):
    """A profile with the keys that examples name, and the files in the folder of the test."""
    for alias, options in KEYS.items():
        minikms.generate_key(alias=alias, **options)
    for alias in ("reader", "kem"):
        (tmp_path / f"{alias}.jwk").write_text(json.dumps(dict(minikms.find_key(alias).jwk)))
    private = minikms.export_key(minikms.find_key("backup").kid)
    minikms.delete_key_by_alias("backup")
    minikms.generate_key("p256", alias="backup", exportable=True)
    (tmp_path / "private.jwk").write_text(json.dumps(dict(private)))
    (tmp_path / "keys.ndjson").write_text(json.dumps(dict(private)) + "\n")
    for name in ("seed.bin", "secret.bin", "message.bin"):
        (tmp_path / name).write_bytes(bytes(range(32)))
    (tmp_path / "messages").write_text("one\ntwo\n")
    (tmp_path / "token").write_text("mkms_token\n")
    config = Path(os.environ["MINIKMS_CONFIG"])
    config.parent.mkdir()
    config.touch(mode=0o600)
    contexts = {"production": {"url": minikms.url, "token": "mkms_token"}}
    config.write_text(json.dumps({"current": "production", "contexts": contexts}))
    return tmp_path


@pytest.mark.parametrize("path", COMMANDS)
def test_the_examples_of_a_command_run(path, minikms, prepared):
    if path != "mkms profile create":
        minikms.create_profile("alice")
    variables = {**environment(minikms), "HOME": str(prepared)}
    script = COMMANDS[path].examples.replace("https://kms.example", minikms.url)
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            cwd=prepared,
            env=variables,
            timeout=120,
        )
    finally:
        minikms.delete_profile("alice")
    assert done.returncode == 0, done.stderr


def test_help_shows_the_examples(command):
    shown = command("mkms sign --help")
    assert "Examples:\n  mkms sign signer hello\n" in shown
