"""Every operation has a command, and every command has a description and examples that run."""

import ast
import json
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
from api_document import operations, snake
from approving import private_jwk, rules
from click.testing import CliRunner
from commands import environment

import minikms_client.cli
from minikms_client import ApprovalRequired, Client
from minikms_client.cli.main import mkms
from minikms_client.pytest_plugin import serve

CLI = Path(minikms_client.cli.__file__).parent
# The operations without a command of their own, and the reason.
WITHOUT_COMMAND = {
    "list_audit_events": "mkms audit calls it for every page, by `audit_events`",
    "delete_key_by_alias": "mkms key delete finds the key first, and asks with its aliases",
    "healthz": "mkms doctor reads the headers of its answer",
}
WAITING = "LW5qE2rUu0v7qj3mWmcO1g"  # the approval that the examples name
# The keys that the examples name, by alias.
KEYS = {
    "signer": {"alg": "p256", "labels": {"use": "login"}},
    "provider": {"alg": "p256"},
    "iaca": {"alg": "p256"},
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
    """The commands that are not groups, by path."""
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


def test_help_fits_eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for path in ("mkms", "mkms key", *COMMANDS):
        shown = CliRunner().invoke(mkms, [*path.split()[1:], "--help"]).output
        assert "--help" in shown
        assert [line for line in shown.splitlines() if len(line) > 80] == [], path


def test_every_command_has_examples():
    assert len(COMMANDS) > 50
    for path, command in COMMANDS.items():
        assert re.search(rf"^(.* |\$\()?{path}\b", command.examples, re.MULTILINE), path


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The URL of a service with an audit log."""
    with serve("--audit-log", str(tmp_path_factory.mktemp("audit") / "audit.log")) as url:
        yield url


@pytest.fixture
def kms(audited):
    """A client of a new profile there."""
    with Client(audited, token="", profile=f"examples-{uuid.uuid4().hex}") as client:
        client.create_profile(client.profile)
        yield client
        client.delete_profile(client.profile)


@pytest.fixture
def prepared(kms, tmp_path):
    """A profile with the keys that examples name, and the files in the folder of the test."""
    for alias, options in KEYS.items():
        kms.generate_key(alias=alias, **options)
    for alias in ("reader", "kem"):
        (tmp_path / f"{alias}.jwk").write_text(json.dumps(dict(kms.find_key(alias).jwk)))
    private = kms.export_key(kms.find_key("backup").kid)
    kms.delete_key_by_alias("backup")
    kms.generate_key("p256", alias="backup", exportable=True)
    (tmp_path / "private.jwk").write_text(json.dumps(dict(private)))
    (tmp_path / "keys.ndjson").write_text(json.dumps(dict(private)) + "\n")
    for name in ("seed.bin", "secret.bin", "message.bin"):
        (tmp_path / name).write_bytes(bytes(range(32)))
    (tmp_path / "messages").write_text("one\ntwo\n")
    (tmp_path / "revoked.txt").write_text("3A:1F 2026-01-30T08:15:00Z\n")
    kms.set_certificates(
        kms.find_key("iaca").kid,
        [kms.issue_certificate("self-signed", 30, alias="iaca", subject="CN=iaca")],
    )
    for name in ("ann", "bob"):
        (tmp_path / f"{name}.jwk").write_text(json.dumps(private_jwk()))
    (tmp_path / "token").write_text("mkms_token\n")
    config = Path(os.environ["MINIKMS_CONFIG"])
    config.parent.mkdir()
    config.touch(mode=0o600)
    contexts = {"production": {"url": kms.url, "token": "mkms_token"}}
    config.write_text(json.dumps({"current": "production", "contexts": contexts}))
    return tmp_path


def approval(kms, file):
    """The id of a signature that waits for an approval by the private JWK in a file."""
    key = kms.generate_key("p256", rules=rules(ann=json.loads(file.read_text())))
    with pytest.raises(ApprovalRequired) as error:
        kms.sign(b"hello", kid=key.kid)
    return error.value.approval["id"]


@pytest.mark.parametrize("path", COMMANDS)
def test_the_examples_of_a_command_run(path, kms, prepared):
    if path != "mkms profile create":
        kms.create_profile("alice")
    variables = {**environment(kms), "HOME": str(prepared)}
    script = COMMANDS[path].examples.replace("https://kms.example", kms.url)
    if WAITING in script:
        script = script.replace(WAITING, approval(kms, prepared / "ann.jwk"))
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
        kms.delete_profile("alice")
    assert done.returncode == 0, done.stderr


def test_help_shows_the_examples(command):
    shown = command("mkms sign --help")
    assert "Examples:\n  mkms sign signer hello\n" in shown
