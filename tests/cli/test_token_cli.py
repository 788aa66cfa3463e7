"""Tokens created, listed and revoked on the command line, and used with a service."""

import json
import logging
import re
import stat
import subprocess
import sys

import document_blocks
import pytest
from deploy.deployment import ROOT
from document_blocks import blocks, section

from minikms.access.callers import SCOPES
from minikms.access.policy import read_admin_token
from minikms.access.token_record import Token
from minikms.config import Config
from minikms.serve.lifecycle import announce
from minikms.startup_errors import AccessError

pytestmark = pytest.mark.process

ACCESS = (ROOT / "docs/operations/access.md").read_text("utf-8")


@pytest.fixture
def store(tmp_path, command):
    """The variables of a new store, and its first token."""
    variables = {
        "store": f"sqlite://{tmp_path}/keys.db",
        "store_key_file": str(tmp_path / "store.key"),
    }
    made = command("store", "init", "--generate-key", **variables)
    assert made.returncode == 0
    token = re.search(r"shown only once: (mkms_\S+)\n", made.stdout)[1]
    return variables, token


def ask(service, method, path, token=None, body=None):
    connection = service.connect()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, body and json.dumps(body), headers)
    with connection.getresponse() as response:
        answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_the_first_token_does_everything(store, serve):
    variables, token = store
    service = serve("--port", "0", **variables)
    assert ask(service, "GET", "/keys")[0] == 401
    status, listed = ask(service, "GET", "/tokens", token)
    assert status == 200
    assert [(record["name"], record["scopes"], record["profiles"]) for record in listed] == [
        ("admin", list(SCOPES), None)
    ]


def test_made_listed_and_revoked_beside_a_service(store, serve, command):
    variables, _ = store
    service = serve("--port", "0", **variables)
    flags = ("issuer", "--scope", "keys:read", "--scope", "sign")
    made = command("token", "create", *flags, "--profile", "alice", "--expires", "90d", **variables)
    token = Token.parse(made.stdout.strip())
    assert ask(service, "GET", "/keys", token.reveal())[0] == 404
    listed = command("token", "list", **variables).stdout
    (row,) = (line for line in listed.splitlines() if line.startswith(token.id))
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"\w{{16}}  issuer +keys:read sign +alice +{form}  {form}", row)
    assert made.stdout.strip() not in listed
    assert command("token", "revoke", token.id, **variables).stdout == f"Revoked {token.id}.\n"
    assert ask(service, "GET", "/keys", token.reveal())[0] == 401
    again = command("token", "revoke", token.id, **variables)
    assert (again.returncode, again.stderr) == (1, "minikms: There is no such token.\n")


def test_the_store_has_no_token(store, tmp_path):
    _, token = store
    secret = Token.parse(token).secret
    for file in tmp_path.glob("keys.db*"):
        content = file.read_bytes()
        assert token.encode() not in content
        assert secret not in content
        assert secret.hex().encode() not in content


def test_the_first_token_goes_into_a_file(tmp_path, command, serve):
    variables = {
        "store": f"sqlite://{tmp_path}/keys.db",
        "store_key_file": str(tmp_path / "store.key"),
        "admin_token_file": str(tmp_path / "admin.token"),
    }
    made = command("store", "init", "--generate-key", **variables)
    assert made.stdout.endswith(f"A token with every scope is in {tmp_path}/admin.token.\n")
    assert "mkms_" not in made.stdout
    assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600
    token = (tmp_path / "admin.token").read_text().strip()
    assert ask(serve("--port", "0", **variables), "GET", "/keys", token) == (200, [])


def test_a_file_that_is_there_is_left_alone(tmp_path, command):
    file = tmp_path / "admin.token"
    file.write_text("mine")
    variables = {"store": f"sqlite://{tmp_path}/keys.db", "admin_token_file": str(file)}
    variables["store_key_file"] = str(tmp_path / "store.key")
    made = command("store", "init", "--generate-key", **variables)
    assert made.returncode == 1
    assert "File exists" in made.stderr
    assert "minikms token create" in made.stderr
    assert file.read_text() == "mine"
    assert [*tmp_path.iterdir()] == [file]  # nothing blocks a second try
    file.unlink()
    assert command("store", "init", "--generate-key", **variables).returncode == 0


def test_a_token_for_a_store_in_memory(tmp_path, command, run, serve):
    token = command("token", "generate").stdout.strip()
    file = tmp_path / "admin.token"
    file.write_text(token)
    flags = ("--port", "0", "--auth", "token", "--admin-token-file", str(file))
    file.chmod(0o644)
    refused = run("serve", *flags)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "open to others" in refused.stderr
    file.chmod(0o600)
    service = serve(*flags)
    assert ask(service, "GET", "/keys", token) == (200, [])
    assert ask(service, "GET", "/keys", Token.new().reveal())[0] == 401


@pytest.mark.parametrize("content", ["", "secret", "mkms_0123456789abcdef_1111", "a\nb"])
def test_a_file_without_a_token_stops_the_start(tmp_path, content):
    file = tmp_path / "admin.token"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(AccessError) as refused:
        read_admin_token(str(file))
    assert not content or content not in str(refused.value)


@pytest.mark.parametrize("flags", [["--scope", "everything"], ["--expires", "tomorrow"], []])
def test_token_create_refuses_bad_options(store, command, flags):
    variables, _ = store
    refused = command("token", "create", "x", "--all-profiles", *flags, **variables)
    assert refused.returncode == 2


@pytest.mark.parametrize("names", [("x",), ("--name", "x")])
def test_the_name_of_a_token_is_an_argument_or_as_before_an_option(store, command, names):
    variables, _ = store
    made = command("token", "create", *names, "--all-scopes", "--all-profiles", **variables)
    token = Token.parse(made.stdout.strip())
    listed = command("token", "list", **variables).stdout
    assert re.search(rf"^{token.id}  x ", listed, re.MULTILINE)


@pytest.mark.parametrize("names", [(), ("x", "--name", "x")])
def test_a_token_has_one_name(store, command, names):
    variables, _ = store
    refused = command("token", "create", *names, "--all-scopes", "--all-profiles", **variables)
    assert refused.returncode == 2
    assert "minikms token create NAME" in refused.stderr


@pytest.mark.parametrize("scopes", [(), ("--all-scopes", "--scope", "sign")])
def test_a_token_has_every_scope_only_if_that_is_said(store, command, scopes):
    variables, _ = store
    refused = command("token", "create", "--name", "x", *scopes, "--all-profiles", **variables)
    assert refused.returncode == 2
    assert "--scope SCOPE, or --all-scopes" in refused.stderr


def test_the_admin_token_is_replaced_by_the_documented_steps(tmp_path, command, serve):
    """And the service asks for the new one, which has every scope."""
    [block] = blocks(section(ACCESS, "### Replace the admin token"))
    secrets = tmp_path / "minikms-secrets"
    secrets.mkdir()
    file = secrets / "admin.token"
    variables = {
        "store": f"sqlite://{tmp_path}/keys.db",
        "store_key_file": str(secrets / "store.key"),
    }
    command("store", "init", "--generate-key", "--admin-token-file", str(file), **variables)
    old = Token.parse(file.read_text().strip())
    service = serve("--port", "0", **variables)
    assert ask(service, "GET", "/keys", old.reveal())[0] == 200
    assert block.text.count("8c1f0a5d92b3e467") == 1
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = document_blocks.environment(
        HOME=str(tmp_path),
        **{f"MINIKMS_{name.upper()}": given for name, given in variables.items()},
    )
    script = "set -euo pipefail\n" + block.text.replace("8c1f0a5d92b3e467", old.id)
    shell = ("bash", "-c", script)
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mkms_" not in done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new = Token.parse(file.read_text().strip())
    assert ask(service, "GET", "/keys", old.reveal())[0] == 401
    status, listed = ask(service, "GET", "/tokens", new.reveal())
    assert status == 200
    assert [(each["id"], each["scopes"], each["profiles"]) for each in listed] == [
        (new.id, list(SCOPES), None)
    ]


def test_a_token_whose_file_cannot_be_made_is_not_left(store, command, tmp_path):
    variables, _ = store
    flags = ("token", "create", "--name", "x", "--all-scopes", "--all-profiles", "--file")
    there = tmp_path / "there"
    there.write_text("mine")
    for file in (there, tmp_path / "missing" / "token", tmp_path / ("n" * 300)):
        refused = command(*flags, str(file), **variables)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "cannot be made" in refused.stderr
    assert there.read_text() == "mine"
    assert len(command("token", "list", **variables).stdout.splitlines()) == 2


@pytest.fixture
def warnings(caplog):
    """Announce a service with these options; gives the warnings."""

    def announced(**options):
        caplog.clear()
        announce(Config(**options), [("127.0.0.1", 8080)])
        return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]

    return announced


def test_an_open_address_is_warned_of_once(serve, warnings):
    assert warnings() == []
    service = serve("--port", "0", HOST="0.0.0.0")
    service.read_until("everyone who reaches")
    assert "everyone who reaches" not in service.stop()[1]


def test_tokens_outlive_a_copy(store, tmp_path, command, serve):
    variables, token = store
    copy = f"sqlite://{tmp_path}/copy.db"
    assert command("store", "copy", "--to", copy, **variables).returncode == 0
    service = serve("--port", "0", **{**variables, "store": copy})
    assert ask(service, "GET", "/keys", token) == (200, [])


def test_a_profile_that_is_not_there_is_warned_of(store, command):
    variables, _ = store
    flags = ("token", "create", "--name", "x", "--scope", "sign")
    made = command(*flags, "--profile", "alice", "--profile", "default", **variables)
    assert made.returncode == 0
    assert Token.parse(made.stdout.strip()).id in command("token", "list", **variables).stdout
    (line,) = made.stderr.splitlines()
    assert line.startswith("minikms: Warning: ")
    assert ("'alice'" in line, "default" in line) == (True, False)
    for quiet in (("--all-profiles",), ("--profile", "default")):
        assert command(*flags, *quiet, **variables).stderr == ""


def test_a_token_is_for_all_profiles_only_if_that_is_said(store, command):
    variables, _ = store
    flags = ("token", "create", "--name", "x", "--scope", "sign")
    for profiles in ((), ("--all-profiles", "--profile", "default")):
        refused = command(*flags, *profiles, PROFILE="default", **variables)
        assert refused.returncode == 2
        assert "--profile NAME, or --all-profiles" in refused.stderr
    made = command(*flags, "--all-profiles", PROFILE="default", **variables).stdout
    listed = command("token", "list", **variables).stdout.splitlines()
    assert len(listed) == 3
    assert f"  {'all':8}  " in next(line for line in listed if line[:16] in made)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_in_memory_that_nobody_has_a_token_for_is_warned_of(serve, workers):
    service = serve("--port", "0", "--auth", "token", "--workers", workers)
    service.process.terminate()
    service.read_until("stopping")
    assert "".join(service.lines).count("a store in memory has none") == 1


def test_callers_who_can_have_a_token_are_not_warned(warnings):
    for options in (
        {},
        {"auth": "token", "admin_token_file": "admin.token"},
        {"auth": "token", "jwt_issuer": "i"},
        {"auth": "token", "store": "sqlite://keys.db"},
    ):
        assert warnings(**options) == []
